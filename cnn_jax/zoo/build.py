"""Builds the network that a config or a command line names, for the data at hand."""

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
    """The layers of a network given in the notation, by a registered name (as published) or as JSON. Raises
    RequestError for `arguments` to a network that is not registered."""
    if isinstance(network, str) and network in NETWORKS:
        return NETWORKS[network].build_layers(arguments or {}, classes)
    if arguments:
        raise RequestError(f"network_args = {arguments} are for a registered network, e.g. cifar_resnet")
    if not isinstance(network, str):
        return notation.from_json(network)
    try:
        return notation.parse(network.replace(CLASSES, f"-{classes}"))
    except RequestError:
        if len(network.split()) == 1 and not any(mark in network for mark in "-(:/"):
            NETWORKS[network]  # a single word is probably a misspelt name: raise the error that lists the names
        raise


def build(
    network: str | list[dict[str, Any]],
    input_shape: Shape,
    classes: int,
    filters: int | None = None,
    arguments: dict[str, Any] | None = None,
) -> Network:
    """The network for a data set.

    Args:
        network: text in the notation, a registered name or the JSON form.
        input_shape: of the images, (height, width, channels).
        classes: number of classes. The last layer of a registered network is adapted to it; any other network must end
            in so many logits.
        filters: filters of the first convolution; the other convolutions are scaled with it.
        arguments: of a registered network.

    Raises:
        RequestError: the network is invalid for this data.
    """
    if isinstance(network, str) and network in NETWORKS:
        result = NETWORKS[network].for_data(input_shape, classes, arguments or {})
    else:
        result = Network(input_shape, layers_of(network, arguments, classes))
    if filters is not None:
        result = Network(input_shape, with_filters(result.layers, filters))
    if result.outputs != classes:
        last = result.nodes[-1].name
        raise RequestError(
            f"{last}: the network ends in {result.outputs} logits, but the data has {classes} classes: end it in "
            "dense-classes"
        )
    return result
