"""The loss landscape: along the gradient, and on planes through the weights."""

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
    """The mean loss, without label smoothing, over images (n, h, w, c) with labels int (n,)."""
    return loss(network.apply(variables, images), labels).mean()


@functools.partial(jax.jit, static_argnames=("network", "loss"))
def along_gradient(
    network: Network, loss: Loss, variables: Variables, images: Array, labels: Array, rates: Array
) -> Array:
    """The loss after one step of gradient descent, on the images of that step.

    Args:
        network, loss, variables: the network, its loss and its variables.
        images: (n, h, w, c).
        labels: int (n,).
        rates: (rates,), the learning rates to try.

    Returns:
        (rates,).
    """

    def loss_at(params: Direction) -> Array:
        return mean_loss(network, loss, {**variables, "params": params}, images, labels)

    params = variables["params"]
    gradient = jax.grad(loss_at)(params)
    return lax.map(lambda rate: loss_at(jax.tree.map(lambda w, g: w - rate * g, params, gradient)), rates)


def random_direction(variables: Variables, key: Array) -> Direction:
    """A random normal direction with filter normalisation (li2018visualizing, 4): each of its filters (or units of a
    dense layer) has the norm of the corresponding filter of the weights; zero for biases and batch norm."""
    leaves, tree = jax.tree.flatten(variables["params"])
    keys = jax.random.split(key, max(len(leaves), 1))
    return jax.tree.unflatten(tree, [_like_filters(leaf, key) for leaf, key in zip(leaves, keys, strict=True)])


def _like_filters(leaf: Array, key: Array) -> Array:
    if leaf.ndim < 2:
        return jnp.zeros_like(leaf)
    noise = jax.random.normal(key, leaf.shape, leaf.dtype)
    axes = tuple(range(leaf.ndim - 1))
    norms = [jnp.sqrt(jnp.square(x).sum(axes, keepdims=True)) for x in (leaf, noise)]
    return noise * norms[0] / jnp.maximum(norms[1], 1e-12)


@functools.partial(jax.jit, static_argnames=("network", "loss"))
def on_plane(
    network: Network, loss: Loss, variables: Variables, first: Direction, second: Direction, images: Array,
    labels: Array, xs: Array, ys: Array,
) -> Array:  # fmt: skip
    """The loss at weights + x · first + y · second.

    Args:
        network, loss, variables: the network, its loss and its variables.
        first, second: directions, see `random_direction` and `Trajectory`.
        images: (n, h, w, c).
        labels: int (n,).
        xs, ys: coordinates along the two directions.

    Returns:
        (len(ys), len(xs)).
    """
    points = jnp.stack(jnp.meshgrid(xs, ys), -1).reshape(-1, 2)

    def loss_at(point: Array) -> Array:
        params = jax.tree.map(lambda w, a, b: w + point[0] * a + point[1] * b, variables["params"], first, second)
        return mean_loss(network, loss, {**variables, "params": params}, images, labels)

    return lax.map(loss_at, points).reshape(len(ys), len(xs))


@dataclass(frozen=True)
class Trajectory:
    """The plane through the last weights on which the checkpoints of a run vary most; its directions are
    orthonormal."""

    first: Direction
    second: Direction
    places: np.ndarray  # (checkpoints, 2), coordinates relative to the last checkpoint
    shares: tuple[float, float]  # of the variance along each direction


def trajectory(params: Sequence[Direction]) -> Trajectory:
    """The principal components of the differences between the weights of each checkpoint and the last
    (li2018visualizing, 7). `params` are in order of training; raises RequestError for fewer than three, which span no
    plane."""
    if len(params) < 3:
        raise RequestError(f"{len(params)} checkpoints span no plane: at least 3 are needed (train with --keep-all)")
    flat, unravel = jax.flatten_util.ravel_pytree(params[-1])
    last = np.asarray(flat, np.float64)
    offsets = np.stack([np.asarray(jax.flatten_util.ravel_pytree(tree)[0], np.float64) - last for tree in params])
    _, singular, directions = np.linalg.svd(offsets[:-1], full_matrices=False)
    total = max(float(np.square(singular).sum()), np.finfo(float).tiny)
    first, second = (unravel(jnp.asarray(direction, flat.dtype)) for direction in directions[:2])
    shares = (float(singular[0] ** 2 / total), float(singular[1] ** 2 / total))
    return Trajectory(first, second, offsets @ directions[:2].T, shares)
