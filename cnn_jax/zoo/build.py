"""From what a config or a command line calls a network to the network for the data at hand."""

from typing import Any

from cnn_jax import notation
from cnn_jax.errors import RequestError
from cnn_jax.layers import Shape
from cnn_jax.network import Network
from cnn_jax.variants import with_filters
from cnn_jax.zoo.catalogue import CLASSES, NETWORKS


def layers_of(
    network: str | list[dict[str, Any]], arguments: dict[str, Any] | None = None, classes: int = 10
) -> notation.Layers:
    """The layers of a text in the notation, a registered name (as published) or a JSON form. Only a registered network
    has arguments."""
    if isinstance(network, str) and network in NETWORKS:
        return NETWORKS[network].made(arguments or {}, classes)
    if arguments:
        raise RequestError(f"network_args = {arguments} are for a registered network, e.g. cifar_resnet")
    if not isinstance(network, str):
        return notation.from_json(network)
    try:
        return notation.parse(network.replace(CLASSES, f"-{classes}"))
    except RequestError:
        if len(network.split()) == 1 and not any(mark in network for mark in "-(:/"):
            NETWORKS[network]  # one bare word: the names of networks are the better hint
        raise


def build(
    network: str | list[dict[str, Any]],
    input_shape: Shape,
    classes: int,
    filters: int | None = None,
    arguments: dict[str, Any] | None = None,
) -> Network:
    """The network for images of `input_shape` and a number of classes. A registered network gets its last layer
    adapted, a hand-written one must end in `classes` logits. `filters` sets the first convolution's and scales the
    others'."""
    if isinstance(network, str) and network in NETWORKS:
        built = NETWORKS[network].for_data(input_shape, classes, arguments or {})
    else:
        built = Network(input_shape, layers_of(network, arguments, classes))
    if filters is not None:
        built = Network(input_shape, with_filters(built.layers, filters))
    if built.outputs != classes:
        last = built.nodes[-1].name
        raise RequestError(
            f"{last}: the network ends in {built.outputs} logits, but the data has {classes} classes: end it in "
            "dense-classes"
        )
    return built
