"""Receptive fields three ways: by arithmetic, as the support of a gradient, and as what units effectively see."""

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
PROBES = 32  # images over which the support is gathered: a max pool shows one position at a time


@dataclass(frozen=True)
class Seen:
    """What the unit in the middle of a layer's maps sees of an image, in pixels.

    `closed_form` and `support` are spans along height and width inside the image; `size` is the closed form's full
    size, image or not. `effective` is the side of the square with as many pixels as the unit sees effectively.
    """

    layer: str
    kind: str
    output: tuple[int, ...]
    parameters: int
    size: tuple[int, int]
    jump: tuple[int, int]
    closed_form: tuple[Span, Span]
    support: tuple[Span, Span]
    effective: float


def receptive_fields(network: Network, variables: Variables, images: Array) -> list[Seen]:
    """A row for every layer in order of execution. `images` (n, h, w, c) are those over which the effective field is
    averaged. Layers behind a dense layer see what it sees."""
    probes, noise = positive(network), jax.random.uniform(jax.random.key(0), (PROBES, *network.input_shape))
    found = []
    for row, one in zip(rows(network), jnp.eye(len(list(network.walk()))), strict=True):
        output = row.node.output
        at = (output[0] // 2, output[1] // 2) if len(output) == 3 else (0, 0)
        support = np.asarray(influence(network, probes, noise, one)).max(0)
        effective = np.asarray(influence(network, variables, images, one)).mean(0)
        found.append(
            Seen(
                row.node.name, row.node.layer.kind, output, row.node.parameters,
                tuple(field.size for field in row.fields),  # type: ignore[arg-type]
                tuple(field.jump for field in row.fields),  # type: ignore[arg-type]
                tuple(map(closed_span, row.fields, at, network.input_shape)),  # type: ignore[arg-type]
                spans(support > 0),
                effective_size(effective),
            )
        )  # fmt: skip
    return found


def closed_span(field: Field, unit: int, length: int) -> Span:
    """The pixels of an image's axis of `length` that the unit of that index sees, by arithmetic."""
    start = unit * field.jump - field.padding
    return max(start, 0), min(start + field.size, length)


@functools.partial(jax.jit, static_argnames="network")
def influence(network: Network, variables: Variables, images: Array, layers: Array) -> Array:
    """The magnitude of the derivative of a layer's channels in the middle of its maps, summed, with respect to each
    pixel, summed over its colours: (n, h, w). `layers` has a 1 at the layer's place in order of execution and zeros
    else, so that one program serves all."""

    def total(x: Array) -> Array:
        found = [middle(one).sum() for one in network.activations(variables, x).values()]
        return (jnp.stack(found) * layers).sum()

    return jnp.abs(jax.grad(total)(images)).sum(-1)


def positive(network: Network) -> Variables:
    """Variables with which no path from a pixel to a unit is lost: every kernel is positive and averages, every bias is
    zero, so that no ReLU is dead, no tanh is saturated and nothing cancels."""
    variables = network.init(jax.random.key(0))

    def averaging(path: Any, leaf: Array) -> Array:
        name = path[-1].key
        if name == "kernel":
            weights = jnp.abs(leaf) + 1e-3
            return weights / weights.sum(tuple(range(leaf.ndim - 1)), keepdims=True)
        return jnp.zeros_like(leaf) if name == "bias" else leaf

    return variables | {"params": jax.tree_util.tree_map_with_path(averaging, variables["params"])}


def spans(seen: np.ndarray) -> tuple[Span, Span]:
    """The smallest box around what is true in an array (h, w); empty spans where nothing is."""
    found = []
    for axis in (1, 0):
        inside = np.flatnonzero(seen.any(axis))
        found.append((int(inside[0]), int(inside[-1]) + 1) if inside.size else (0, 0))
    return found[0], found[1]


def effective_size(influence: np.ndarray) -> float:
    """The square root of the number of pixels whose influence is more than 4.55 % of the largest (luo2016understanding,
    3.1). `influence` (h, w) is a mean over images."""
    largest = influence.max()
    return float(np.sqrt((influence > VISIBLE * largest).sum())) if largest > 0 else 0.0
