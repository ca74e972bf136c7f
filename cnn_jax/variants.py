"""Variants of a network: with more or fewer filters, or another number of classes."""

import dataclasses
from collections.abc import Iterator

from cnn_jax.errors import RequestError
from cnn_jax.layers import Block, Concatenate, Conv, Dense, Layer, RadialBasis, Residual

Layers = tuple[Layer, ...]


def with_classes(layers: Layers, classes: int) -> Layers:
    """`layers` with `classes` units in the layer that computes the logits: the last dense layer or convolution, unless
    a block or a fixed output layer comes after it."""
    i = _logit_layer(layers)
    if i is None:
        return layers
    return (*layers[:i], dataclasses.replace(layers[i], features=classes), *layers[i + 1 :])  # type: ignore[call-arg]


def with_filters(layers: Layers, filters: int) -> Layers:
    """`layers` with `filters` filters in the first convolution and all other convolutions scaled by the same factor:
    rounded, at least 1, a multiple of their groups. Dense layers and a convolution that computes the logits keep their
    size. Raises RequestError for a network without convolutions or with a connection table."""
    convolutions = list(_convolutions(layers))
    if not convolutions:
        raise RequestError("this network has no convolution whose filters could be set")
    if filters < 1:
        raise RequestError(f"{filters} filters: at least 1 is needed")
    first = convolutions[0].features
    last = _logit_layer(layers)

    def scale(layer: Layer) -> Layer:
        if isinstance(layer, Residual):
            return dataclasses.replace(layer, body=tuple(map(scale, layer.body)))
        if isinstance(layer, Concatenate):
            return dataclasses.replace(layer, paths=tuple(tuple(map(scale, path)) for path in layer.paths))
        if not isinstance(layer, Conv):
            return layer
        if layer.connections is not None:
            raise RequestError("a convolution with a connection table has the number of filters of its table")
        features = int(layer.features * filters / first / layer.groups + 0.5) * layer.groups
        return dataclasses.replace(layer, features=max(features, layer.groups))

    return tuple(layer if i == last else scale(layer) for i, layer in enumerate(layers))


def first_filters(layers: Layers) -> int | None:
    """The number of filters of the first convolution, if there is one."""
    return next((conv.features for conv in _convolutions(layers)), None)


def _convolutions(layers: Layers) -> Iterator[Conv]:
    for layer in layers:
        for branch in layer.branches():
            yield from _convolutions(branch)
        if isinstance(layer, Conv):
            yield layer


def _logit_layer(layers: Layers) -> int | None:
    for i in reversed(range(len(layers))):
        if isinstance(layers[i], Block | RadialBasis):
            return None
        if isinstance(layers[i], Dense | Conv):
            return i
    return None
