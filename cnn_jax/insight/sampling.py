"""Attribution by asking a function about many changed images: only expected gradients need its derivative.

Every method takes (function, params, images (n, h, w, c), targets, …). Segments are the features of an image: int
(h, w) for all images or (n, h, w), numbered from 0; `grid` makes squares. Removed pixels have the value of the
baseline, by default zero, the mean image.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from cnn_jax.insight.functions import Function, Targets, selected


def grid(height: int, width: int, size: int) -> np.ndarray:
    """Squares of `size` pixels as segments, int (height, width); those at the far edges may be smaller."""
    rows, columns = np.arange(height) // size, np.arange(width) // size
    return rows[:, None] * (columns[-1] + 1) + columns[None]


def _segments(segments: Array | np.ndarray, images: Array) -> tuple[Array, int]:
    """The segments of each image, int (n, h, w), and their number."""
    count = int(np.max(segments)) + 1
    return jnp.broadcast_to(jnp.asarray(segments), images.shape[:3]), count


def _baseline(baseline: Array | None, images: Array) -> Array:
    return jnp.zeros_like(images) if baseline is None else jnp.broadcast_to(baseline, images.shape)


def feature_ablation(
    function: Function, params: Any, images: Array, targets: Targets, segments: Array | np.ndarray,
    baseline: Array | None = None,
) -> Array:  # fmt: skip
    """How far the output falls when one segment is removed: (n, h, w, 1), the same for all pixels of a segment."""
    own, count = _segments(segments, images)
    return _ablation(function, params, images, targets, own, count, _baseline(baseline, images))


@functools.partial(jax.jit, static_argnames=("function", "count"))
def _ablation(
    function: Function, params: Any, images: Array, targets: Targets, segments: Array, count: int, baseline: Array
) -> Array:
    whole = selected(function(params, images), targets)

    def without(segment: Array) -> Array:
        shown = jnp.where((segments == segment)[..., None], baseline, images)
        return whole - selected(function(params, shown), targets)

    drops = lax.map(without, jnp.arange(count), batch_size=8)  # (segments, n)
    return _painted(drops.T, segments)


def _painted(values: Array, segments: Array) -> Array:
    """Values (n, segments) as maps (n, h, w, 1)."""
    return jnp.take_along_axis(values, segments.reshape(len(segments), -1), axis=1).reshape(*segments.shape, 1)


def shapley_sampling(
    function: Function, params: Any, images: Array, targets: Targets, segments: Array | np.ndarray, key: Array,
    permutations: int = 25, baseline: Array | None = None,
) -> Array:  # fmt: skip
    """Shapley values of the segments (castro2009polynomial, 3): how much a segment adds to the output when it joins
    those before it, in the mean over random orders. They add up to the difference of the output from that of the
    baseline, whatever the number of orders.

    Returns:
        (n, h, w, 1): the value of a pixel's segment.
    """
    own, count = _segments(segments, images)
    return _shapley(function, params, images, targets, own, count, key, permutations, _baseline(baseline, images))


@functools.partial(jax.jit, static_argnames=("function", "count", "permutations"))
def _shapley(
    function: Function, params: Any, images: Array, targets: Targets, segments: Array, count: int, key: Array,
    permutations: int, baseline: Array,
) -> Array:  # fmt: skip
    nothing = selected(function(params, baseline), targets)

    def add(total: Array, key: Array) -> tuple[Array, None]:
        place = jax.random.permutation(key, count)  # of each segment in the order

        def with_first(number: Array) -> Array:
            shown = jnp.where((place[segments] <= number)[..., None], images, baseline)
            return selected(function(params, shown), targets)

        values = lax.map(with_first, jnp.arange(count), batch_size=8)  # (segments, n)
        gains = jnp.diff(jnp.concatenate([nothing[None], values]), axis=0)
        return total + gains[place].T, None

    start = jnp.zeros((len(images), count), images.dtype)
    total, _ = lax.scan(add, start, jax.random.split(key, permutations))
    return _painted(total / permutations, segments)


@functools.partial(jax.jit, static_argnames=("function", "masks", "cells"))
def rise(
    function: Function, params: Any, images: Array, targets: Targets, key: Array, masks: int = 1000, cells: int = 7,
    share: float = 0.5,
) -> Array:  # fmt: skip
    """The mean of random masks, weighted by the output for the image seen through each (petsiuk2018rise, 3.1 and 3.2).
    A mask is a grid of `cells` x `cells` zeros and ones, ones with probability `share`, enlarged bilinearly and shifted
    at random. The paper's output is a probability: give `functions.Probabilities(function)`.

    Returns:
        (n, h, w, 1).
    """
    height, width = images.shape[1:3]
    cell = -(-height // cells), -(-width // cells)

    def add(total: Array, key: Array) -> tuple[Array, None]:
        one, two, three = jax.random.split(key, 3)
        coarse = (jax.random.uniform(one, (cells, cells)) < share).astype(images.dtype)
        large = jax.image.resize(coarse, ((cells + 1) * cell[0], (cells + 1) * cell[1]), "bilinear")
        y, x = jax.random.randint(two, (), 0, cell[0]), jax.random.randint(three, (), 0, cell[1])
        mask = lax.dynamic_slice(large, (y, x), (height, width))
        scores = selected(function(params, images * mask[None, ..., None]), targets)
        return total + scores[:, None, None] * mask[None], None

    total, _ = lax.scan(add, jnp.zeros(images.shape[:3], images.dtype), jax.random.split(key, masks))
    return (total / (masks * share))[..., None]


def lime(
    function: Function, params: Any, images: Array, targets: Targets, segments: Array | np.ndarray, key: Array,
    samples: int = 1000, width: float = 0.25, penalty: float = 1.0, baseline: Array | None = None,
) -> Array:  # fmt: skip
    """LIME (ribeiro2016should, 3.4): the coefficients of a ridge regression of the output on which segments are there,
    over random sets of them; a set at cosine distance d from all segments has the weight exp(-d² / width²). The
    intercept has no penalty.

    Returns:
        (n, h, w, 1): the coefficient of a pixel's segment.
    """
    own, count = _segments(segments, images)
    return _lime(
        function, params, images, targets, own, count, key, samples, width, penalty, _baseline(baseline, images)
    )


@functools.partial(jax.jit, static_argnames=("function", "count", "samples"))
def _lime(
    function: Function, params: Any, images: Array, targets: Targets, segments: Array, count: int, key: Array,
    samples: int, width: float, penalty: float, baseline: Array,
) -> Array:  # fmt: skip
    there = jax.random.bernoulli(key, 0.5, (samples, count)).astype(images.dtype).at[0].set(1.0)

    def of_set(chosen: Array) -> Array:
        shown = jnp.where((chosen[segments] > 0)[..., None], images, baseline)
        return selected(function(params, shown), targets)

    outputs = lax.map(of_set, there, batch_size=8)  # (samples, n)
    distance = 1.0 - jnp.sqrt(there.mean(1))  # of a 0-1 vector from the vector of ones, by the cosine
    weights = jnp.exp(-jnp.square(distance / width))[:, None]
    mean = lambda x: (weights * x).sum(0) / weights.sum()  # noqa: E731
    centred, targets_centred = there - mean(there)[None], outputs - mean(outputs)[None]
    normal = (weights * centred).T @ centred + penalty * jnp.eye(count)
    coefficients = jnp.linalg.solve(normal, (weights * centred).T @ targets_centred)  # (segments, n)
    return _painted(coefficients.T, segments)


@functools.partial(jax.jit, static_argnames=("function", "samples"))
def expected_gradients(
    function: Function, params: Any, images: Array, targets: Targets, baselines: Array, key: Array, samples: int = 100,
    noise: float = 0.0,
) -> Array:  # fmt: skip
    """Expected gradients (erion2021improving, equation 3): the gradient at a random place between the image and a
    random one of the baselines (m, h, w, c), times their difference, in the mean. With `noise`, the standard deviation
    of what is added to the image, it is gradient SHAP (lundberg2017unified).

    Returns:
        (n, h, w, c); the sums go to the difference of the output from its mean over the baselines.
    """

    def add(total: Array, key: Array) -> tuple[Array, None]:
        which, where, what = jax.random.split(key, 3)
        start = baselines[jax.random.randint(which, (len(images),), 0, len(baselines))]
        position = jax.random.uniform(where, (len(images), 1, 1, 1), images.dtype)
        end = images + noise * jax.random.normal(what, images.shape, images.dtype)
        at = start + position * (end - start)
        slope = jax.grad(lambda x: selected(function(params, x), targets).sum())(at)
        return total + slope * (end - start), None

    total, _ = lax.scan(add, jnp.zeros_like(images), jax.random.split(key, samples))
    return total / samples
