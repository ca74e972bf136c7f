"""Receptive fields in three ways: by arithmetic, as the support of a gradient, and the effective receptive field."""

import functools
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from cnn_jax.geometry import Field, rows
from cnn_jax.insight.units import middle
from cnn_jax.network import Network, Variables

Span = tuple[int, int]  # first pixel and the one after the last, along one axis
VISIBLE = 1 - 0.9545  # of the centre's influence: two deviations of a normal profile (luo2016understanding, 3.1)
PROBES = 32  # images over which the support is collected: a max pool has a gradient at one position at a time


@dataclass(frozen=True)
class ReceptiveField:
    """The receptive field of the unit in the middle of a layer's maps, in pixels; pairs are (height, width)."""

    layer: str
    kind: str
    output: tuple[int, ...]
    parameters: int
    size: tuple[int, int]  # by arithmetic, also where it reaches beyond the image
    jump: tuple[int, int]
    closed_form: tuple[Span, Span]  # by arithmetic, inside the image
    support: tuple[Span, Span]  # of the gradient
    effective: float  # side of a square of as many pixels as the effective receptive field has


def receptive_fields(network: Network, variables: Variables, images: Array) -> list[ReceptiveField]:
    """The receptive field of every layer.

    Args:
        network, variables: the network and its variables.
        images: (n, h, w, c), averaged over for the effective receptive field.

    Returns:
        One `ReceptiveField` per layer in order of execution. Behind a dense layer every layer has that layer's field.
    """
    probe = positive(network)
    noise = jax.random.uniform(jax.random.key(0), (PROBES, *network.input_shape))
    fields = []
    for row, one_hot in zip(rows(network), jnp.eye(len(list(network.walk()))), strict=True):
        output = row.node.output
        at = (output[0] // 2, output[1] // 2) if len(output) == 3 else (0, 0)
        support = np.asarray(influence(network, probe, noise, one_hot)).max(0)
        effective = np.asarray(influence(network, variables, images, one_hot)).mean(0)
        fields.append(
            ReceptiveField(
                row.node.name, row.node.layer.kind, output, row.node.parameters,
                tuple(field.size for field in row.fields),  # type: ignore[arg-type]
                tuple(field.jump for field in row.fields),  # type: ignore[arg-type]
                tuple(map(closed_span, row.fields, at, network.input_shape)),  # type: ignore[arg-type]
                spans(support > 0),
                effective_size(effective),
            )
        )  # fmt: skip
    return fields


def closed_span(field: Field, unit: int, length: int) -> Span:
    """By arithmetic, the pixels that the unit at index `unit` sees along an image axis of `length` pixels."""
    start = unit * field.jump - field.padding
    return max(start, 0), min(start + field.size, length)


@functools.partial(jax.jit, static_argnames="network")
def influence(network: Network, variables: Variables, images: Array, layers: Array) -> Array:
    """The influence of each pixel on the units in the middle of a layer's maps.

    Args:
        network, variables: the network and its variables.
        images: (n, h, w, c).
        layers: (layers,), one-hot in order of execution, so that one compiled program serves every layer.

    Returns:
        (n, h, w): magnitude of the derivative of the sum of those units, summed over the image's channels.
    """

    def total(x: Array) -> Array:
        sums = [middle(output).sum() for output in network.activations(variables, x).values()]
        return (jnp.stack(sums) * layers).sum()

    return jnp.abs(jax.grad(total)(images)).sum(-1)


def positive(network: Network) -> Variables:
    """Variables that block no path from a pixel to a unit: every kernel is positive and averages, every bias is zero,
    so that no ReLU is dead, no tanh saturates and nothing cancels."""
    variables = network.init(jax.random.key(0))

    def averaging(path: Any, leaf: Array) -> Array:
        name = path[-1].key
        if name == "kernel":
            weights = jnp.abs(leaf) + 1e-3
            return weights / weights.sum(tuple(range(leaf.ndim - 1)), keepdims=True)
        return jnp.zeros_like(leaf) if name == "bias" else leaf

    return variables | {"params": jax.tree_util.tree_map_with_path(averaging, variables["params"])}


def spans(seen: np.ndarray) -> tuple[Span, Span]:
    """The bounding box of the true elements of an array (h, w); empty spans if there are none."""
    box = []
    for axis in (1, 0):
        indices = np.flatnonzero(seen.any(axis))
        box.append((int(indices[0]), int(indices[-1]) + 1) if indices.size else (0, 0))
    return box[0], box[1]


def effective_size(influence: np.ndarray) -> float:
    """The square root of the number of pixels with more than 4.55 % of the largest influence (luo2016understanding,
    3.1). `influence` (h, w) is a mean over images."""
    largest = influence.max()
    return float(np.sqrt((influence > VISIBLE * largest).sum())) if largest > 0 else 0.0
