"""From what a config or a command line calls a network to the network for the data at hand."""

from typing import Any

from cnn_jax import notation
from cnn_jax.errors import RequestError
from cnn_jax.layers import Shape
from cnn_jax.network import Network
from cnn_jax.variants import with_filters
from cnn_jax.zoo.catalogue import ZOO, get


def layers_of(network: str | list[dict[str, Any]]) -> notation.Layers:
    """The layers of a text in the notation, a name of the zoo (as published) or a JSON form."""
    if not isinstance(network, str):
        return notation.from_json(network)
    if network in ZOO:
        return ZOO[network].layers()
    try:
        return notation.parse(network)
    except RequestError:
        if len(network.split()) == 1 and not any(mark in network for mark in "-(:/"):
            get(network)  # one bare word: the names of the zoo are the better hint
        raise


def build(network: str | list[dict[str, Any]], input_shape: Shape, classes: int, filters: int | None = None) -> Network:
    """The network for images of `input_shape` and a number of classes. A zoo network gets its last layer adapted, a
    hand-written one must end in `classes` logits. `filters` sets the first convolution's and scales the others'."""
    if isinstance(network, str) and network in ZOO:
        built = ZOO[network].for_data(input_shape, classes)
    else:
        built = Network(input_shape, layers_of(network))
    if filters is not None:
        built = Network(input_shape, with_filters(built.layers, filters))
    if built.outputs != classes:
        last = built.nodes[-1].name
        raise RequestError(f"{last}: the network ends in {built.outputs} logits, but the data has {classes} classes")
    return built
