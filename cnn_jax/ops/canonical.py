"""Convolution and pooling in plain JAX, written in the forms that XLA runs fast on a CPU, even inside a loop.

XLA:CPU has a fast path for convolutions with NHWC input and HWIO kernel. It rewrites the gradients of a convolution to
that form in an entry computation but not in a loop body, where they then take 4 to 8 times as long. Here the gradients
are written in that form from the start; the barriers keep XLA from folding the transpositions back in. Trials batched
by vmap are computed one after another: a single grouped convolution would be slower still.
"""

import math
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from cnn_jax.ops.window import Geometry, Window

NOWHERE = 255  # the code of a pooled value that passes no gradient to any position


def forward(images: Array, kernel: Array, *codes: Array, geometry: Geometry) -> Array:
    """The maps (n, oh, ow, f) of images (n, h, w, c) and a kernel (kh, kw, c / groups, f); pooled if given codes."""
    rows, columns = geometry.rows, geometry.columns

    def product(images: Array, kernel: Array) -> Array:
        return _convolve(
            images, kernel, [(rows.low, rows.high), (columns.low, columns.high)],
            strides=(rows.stride, columns.stride), dilation=(rows.dilation, columns.dilation), groups=geometry.groups,
        )  # fmt: skip

    maps = _over_trials(product, images, kernel, fold=True)
    return pick(maps, codes[0], *geometry.pool_windows) if codes else maps


def data_gradient(maps: Array, kernel: Array, *codes: Array, geometry: Geometry) -> Array:
    """The gradient of the images (n, h, w, c), from the gradient of the maps and the kernel."""
    rows, columns, groups = geometry.rows, geometry.columns, geometry.groups
    pads = []
    for axis in (rows, columns):
        low = axis.extent - 1 - axis.low
        pads.append((low, axis.length + axis.extent - 1 - ((axis.output - 1) * axis.stride + 1) - low))

    def product(maps: Array, kernel: Array) -> Array:
        height, width, channels, features = kernel.shape
        flipped = jnp.flip(kernel, (0, 1)).reshape(height, width, channels, groups, features // groups)
        flipped = flipped.transpose(0, 1, 4, 3, 2).reshape(height, width, features // groups, groups * channels)
        return _convolve(
            maps, lax.optimization_barrier(flipped), pads, input_dilation=(rows.stride, columns.stride),
            dilation=(rows.dilation, columns.dilation), groups=groups,
        )  # fmt: skip

    return _over_trials(product, _unpooled(maps, codes, geometry), kernel, fold=True)


def kernel_gradient(images: Array, maps: Array, *codes: Array, geometry: Geometry) -> Array:
    """The gradient of the kernel (kh, kw, c / groups, f), from the images and the gradient of the maps.

    It is a convolution whose batch axis is the channels, whose channel axis is the examples and whose kernel is the
    maps.
    """
    rows, columns = geometry.rows, geometry.columns
    pads = []
    for axis in (rows, columns):
        reach = (axis.size - 1) * axis.dilation + (axis.output - 1) * axis.stride + 1
        pads.append((axis.low, reach - axis.length - axis.low))

    def product(images: Array, maps: Array) -> Array:
        if not images.shape[0]:
            return jnp.zeros((rows.size, columns.size, images.shape[3] // geometry.groups, maps.shape[3]), images.dtype)
        gradient = _convolve(
            lax.optimization_barrier(images.transpose(3, 1, 2, 0)),
            lax.optimization_barrier(maps.transpose(1, 2, 0, 3)),
            pads,
            strides=(rows.dilation, columns.dilation),
            dilation=(rows.stride, columns.stride),
            batch_groups=geometry.groups,
        )  # fmt: skip
        return lax.optimization_barrier(gradient).transpose(1, 2, 0, 3)

    return _over_trials(product, images, _unpooled(maps, codes, geometry), fold=False)


def max_pool(maps: Array, rows: Window, columns: Window) -> tuple[Array, Array]:
    """The maximum of each window and its code: the index of the first tap, in row-major order, that holds it. NaN
    counts as the maximum."""
    best, *others = slices(maps, rows, columns, -jnp.inf)
    codes = jnp.zeros(best.shape, jnp.uint8)
    for tap, value in enumerate(others, start=1):
        wins = ~(best >= value) & ~jnp.isnan(best)
        best, codes = jnp.where(wins, value, best), jnp.where(wins, jnp.uint8(tap), codes)
    return best, codes


def relu(pooled: Array, codes: Array) -> tuple[Array, Array]:
    """A ReLU of pooled values and their codes: values that are not positive become zero and pass no gradient."""
    return jnp.maximum(pooled, 0), jnp.where(pooled > 0, codes, jnp.uint8(NOWHERE))


def pick(maps: Array, codes: Array, rows: Window, columns: Window) -> Array:
    """The values at the positions given by the codes."""
    picked = [jnp.where(codes == tap, value, 0) for tap, value in enumerate(slices(maps, rows, columns, 0.0))]
    return sum(picked[1:], picked[0])


def unpool(pooled: Array, codes: Array, rows: Window, columns: Window) -> Array:
    """The transpose of `pick`: puts every value at the position given by its code, zero elsewhere, and sums where
    windows overlap."""
    leading = jnp.broadcast_shapes(pooled.shape, codes.shape)[:-3]
    if rows.side_by_side and columns.side_by_side:
        height, width, channels = pooled.shape[-3:]
        taps = jnp.arange(rows.size * columns.size, dtype=jnp.uint8).reshape(rows.size, 1, columns.size, 1)
        wide_pooled, wide_codes = (x[..., :, None, :, None, :] for x in (pooled, codes))
        taps = taps.reshape((1,) * (wide_codes.ndim - 5) + (1, rows.size, 1, columns.size, 1))
        maps = jnp.where(wide_codes == taps, wide_pooled, 0).reshape(
            *leading, height * rows.size, width * columns.size, channels
        )
        rest = ((0, rows.length - maps.shape[-3]), (0, columns.length - maps.shape[-2]))
        return jnp.pad(maps, [(0, 0)] * len(leading) + [*rest, (0, 0)])
    total: Array | None = None
    zero = jnp.zeros((), pooled.dtype)
    for tap in range(rows.size * columns.size):
        config = [(0, 0, 0)] * len(leading)
        for axis, at in ((rows, tap // columns.size), (columns, tap % columns.size)):
            config.append(
                (at - axis.low, axis.length - at + axis.low - (axis.output - 1) * axis.stride - 1, axis.stride - 1)
            )
        value = jnp.broadcast_to(jnp.where(codes == tap, pooled, 0), (*leading, *pooled.shape[-3:]))
        part = lax.pad(value, zero, [*config, (0, 0, 0)])
        total = part if total is None else total + part
    assert total is not None
    return total


def slices(images: Array, rows: Window, columns: Window, outside: float) -> list[Array]:
    """For each tap of the window, in row-major order, the values that it sees as the window slides."""
    lead = images.ndim - 3
    pads = [(0, 0)] * lead + [(axis.low, axis.high + axis.overhang) for axis in (rows, columns)] + [(0, 0)]
    if any(map(any, pads)):
        images = jnp.pad(images, pads, constant_values=outside)
    values = []
    for i in range(rows.size):
        for j in range(columns.size):
            stop = (i + (rows.output - 1) * rows.stride + 1, j + (columns.output - 1) * columns.stride + 1)
            values.append(
                lax.slice(
                    images, (*(0,) * lead, i, j, 0), (*images.shape[:lead], *stop, images.shape[-1]),
                    (*(1,) * lead, rows.stride, columns.stride, 1),
                )
            )  # fmt: skip
    return values


def _unpooled(maps: Array, codes: tuple[Array, ...], geometry: Geometry) -> Array:
    return unpool(maps, codes[0], *geometry.pool_windows) if codes else maps


def _convolve(
    images: Array,
    kernel: Array,
    padding: list[tuple[int, int]],
    *,
    strides: tuple[int, int] = (1, 1),
    input_dilation: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1),
    groups: int = 1,
    batch_groups: int = 1,
) -> Array:
    return lax.conv_general_dilated(
        images, kernel, strides, padding, input_dilation, dilation, ("NHWC", "HWIO", "NHWC"), groups, batch_groups
    )


def _over_trials(product: Callable[[Array, Array], Array], left: Array, right: Array, *, fold: bool) -> Array:
    """`product` mapped over the leading axes of its operands. With `fold`, left operands that share a single right
    operand are merged into one batch."""
    leading = left.ndim - 4
    if not leading:
        return product(left, right)
    shape = np.broadcast_shapes(left.shape[:leading], right.shape[:leading])
    if fold and all(size == 1 for size in right.shape[:leading]):
        examples = math.prod(left.shape[: leading + 1])
        output = product(left.reshape(examples, *left.shape[leading + 1 :]), right.reshape(right.shape[leading:]))
        return output.reshape(*left.shape[: leading + 1], *output.shape[1:])
    trials = math.prod(shape)
    pair = [
        jnp.broadcast_to(x, (*shape, *x.shape[leading:])).reshape(trials, *x.shape[leading:]) for x in (left, right)
    ]
    output = lax.map(lambda operands: product(*operands), tuple(pair))
    return output.reshape(*shape, *output.shape[1:])
