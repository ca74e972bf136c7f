"""Max and average pooling. On a CPU a pool is a reduction of strided slices: there the gradient of XLA's own
reduce_window is 30 times slower (select-and-scatter); elsewhere it is reduce_window."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float

from cnn_jax.ops.window import Window


def max_pool(images: Float[Array, "n h w c"], rows: Window, columns: Window) -> Float[Array, "n oh ow c"]:
    """The largest value under each window; padding never wins. Where values tie, the gradient goes to the first in
    row-major order. NaN passes through."""
    if jax.default_backend() == "cpu":
        return functools.reduce(_first_maximum, _slices(images, rows, columns, -jnp.inf))
    return _reduce_window(images, rows, columns, -jnp.inf, lax.max)


def average_pool(images: Float[Array, "n h w c"], rows: Window, columns: Window) -> Float[Array, "n oh ow c"]:
    """The mean under each window. Padding counts as zeros, the overhang of a rounding-up pool does not count
    (as PyTorch)."""
    if jax.default_backend() == "cpu":
        total = functools.reduce(jnp.add, _slices(images, rows, columns, 0.0))
    else:
        total = _reduce_window(images, rows, columns, 0.0, lax.add)
    counts = _counts(rows)[:, None] * _counts(columns)[None, :]
    return total * jnp.asarray(1.0 / counts, images.dtype)[None, :, :, None]


def _first_maximum(a: Array, b: Array) -> Array:
    # A `where` and not `maximum`, whose gradient would be split between equal values.
    return jnp.where((a >= b) | jnp.isnan(a), a, b)


def _pads(rows: Window, columns: Window) -> list[tuple[int, int]]:
    return [(0, 0), *((axis.low, axis.high + axis.overhang) for axis in (rows, columns)), (0, 0)]


def _slices(images: Array, rows: Window, columns: Window, outside: float) -> list[Array]:
    """For each tap of the window, in row-major order, the values under it at every position of the window."""
    n, _, _, c = images.shape
    pads = _pads(rows, columns)
    if any(map(any, pads)):
        images = jnp.pad(images, pads, constant_values=outside)
    slices = []
    for i in range(rows.size):
        for j in range(columns.size):
            stop = (n, i + (rows.output - 1) * rows.stride + 1, j + (columns.output - 1) * columns.stride + 1, c)
            slices.append(lax.slice(images, (0, i, j, 0), stop, (1, rows.stride, columns.stride, 1)))
    return slices


def _reduce_window(images: Array, rows: Window, columns: Window, outside: float, operation) -> Array:
    return lax.reduce_window(
        images,
        np.asarray(outside, images.dtype),
        operation,
        window_dimensions=(1, rows.size, columns.size, 1),
        window_strides=(1, rows.stride, columns.stride, 1),
        padding=_pads(rows, columns),
    )


def _counts(axis: Window) -> np.ndarray:
    """How many positions of input or declared padding lie under each position of the window."""
    starts = np.arange(axis.output) * axis.stride
    return np.minimum(starts + axis.size, axis.length + axis.low + axis.high) - starts
