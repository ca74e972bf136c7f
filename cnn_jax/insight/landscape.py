"""The loss as a landscape: along the gradient, and on planes through the weights."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from cnn_jax.errors import RequestError
from cnn_jax.losses import Loss
from cnn_jax.network import Network, Variables

Direction = Any  # a tree of arrays like the parameters


def mean_loss(network: Network, loss: Loss, variables: Variables, images: Array, labels: Array) -> Array:
    """The mean loss, without smoothing, over images (n, h, w, c) with labels (n,)."""
    return loss(network.apply(variables, images), labels).mean()


@functools.partial(jax.jit, static_argnames=("network", "loss"))
def along_gradient(
    network: Network, loss: Loss, variables: Variables, images: Array, labels: Array, rates: Array
) -> Array:
    """The loss after one step of gradient descent with each of the learning rates (rates,), on the same images."""

    def at(params: Direction) -> Array:
        return mean_loss(network, loss, {**variables, "params": params}, images, labels)

    params = variables["params"]
    slope = jax.grad(at)(params)
    return lax.map(lambda rate: at(jax.tree.map(lambda w, g: w - rate * g, params, slope)), rates)


def random_direction(variables: Variables, key: Array) -> Direction:
    """A normal direction, normalised filter by filter: each filter (or unit of a dense layer) of it is as long as the
    filter of the weights; biases and batch norm stand still (li2018visualizing, 4)."""
    leaves, tree = jax.tree.flatten(variables["params"])
    keys = jax.random.split(key, max(len(leaves), 1))
    return jax.tree.unflatten(tree, [_like_filters(leaf, key) for leaf, key in zip(leaves, keys, strict=True)])


def _like_filters(leaf: Array, key: Array) -> Array:
    if leaf.ndim < 2:
        return jnp.zeros_like(leaf)
    drawn = jax.random.normal(key, leaf.shape, leaf.dtype)
    axes = tuple(range(leaf.ndim - 1))
    lengths = [jnp.sqrt(jnp.square(x).sum(axes, keepdims=True)) for x in (leaf, drawn)]
    return drawn * lengths[0] / jnp.maximum(lengths[1], 1e-12)


@functools.partial(jax.jit, static_argnames=("network", "loss"))
def on_plane(
    network: Network, loss: Loss, variables: Variables, first: Direction, second: Direction, images: Array,
    labels: Array, xs: Array, ys: Array,
) -> Array:  # fmt: skip
    """The loss at weights + x · first + y · second: (ys, xs)."""
    points = jnp.stack(jnp.meshgrid(xs, ys), -1).reshape(-1, 2)

    def at(point: Array) -> Array:
        params = jax.tree.map(lambda w, a, b: w + point[0] * a + point[1] * b, variables["params"], first, second)
        return mean_loss(network, loss, {**variables, "params": params}, images, labels)

    return lax.map(at, points).reshape(len(ys), len(xs))


@dataclass(frozen=True)
class Trajectory:
    """The plane on which a training's weights spread most: two orthonormal directions, the weights' coordinates on it
    (checkpoints, 2) as seen from the last ones, and the share of their variance that each direction has."""

    first: Direction
    second: Direction
    places: np.ndarray
    shares: tuple[float, float]


def trajectory(params: Sequence[Direction]) -> Trajectory:
    """The principal components of the weights of several checkpoints, in order of training (li2018visualizing, 7):
    those of their differences to the last. RequestError below three checkpoints, which span no plane."""
    if len(params) < 3:
        raise RequestError(f"{len(params)} checkpoints span no plane: at least 3 are needed (train with --keep-all)")
    flat, unravel = jax.flatten_util.ravel_pytree(params[-1])
    last = np.asarray(flat, np.float64)
    ways = np.stack([np.asarray(jax.flatten_util.ravel_pytree(one)[0], np.float64) - last for one in params])
    _, lengths, directions = np.linalg.svd(ways[:-1], full_matrices=False)
    total = max(float(np.square(lengths).sum()), np.finfo(float).tiny)
    first, second = (unravel(jnp.asarray(direction, flat.dtype)) for direction in directions[:2])
    shares = (float(lengths[0] ** 2 / total), float(lengths[1] ** 2 / total))
    return Trajectory(first, second, ways @ directions[:2].T, shares)
