"""Max and average pooling.

A max pool returns a code beside each value: the index of the first tap of the window that holds the maximum. Its
derivative needs nothing else: tangents are read at the codes, gradients are written there. On a CPU the gradient of
XLA's own reduce_window (select-and-scatter) is 30 times slower.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import ad
from jaxtyping import Float

from cnn_jax.ops import canonical
from cnn_jax.ops.choice import chosen
from cnn_jax.ops.products import define, sum_leading
from cnn_jax.ops.window import Window


def max_pool(images: Float[Array, "n h w c"], rows: Window, columns: Window) -> Float[Array, "n oh ow c"]:
    """The maximum of each window; padding never wins. Of equal values the first in row-major order gets the gradient.
    NaN passes through."""
    implementation = chosen(images.dtype, rows.size * columns.size)
    if implementation == "lax":
        return _reduce_window(images, rows, columns, -jnp.inf, lax.max)
    return max_pool_p.bind(images, rows=rows, columns=columns, implementation=implementation)[0]


def average_pool(images: Float[Array, "n h w c"], rows: Window, columns: Window) -> Float[Array, "n oh ow c"]:
    """The mean of each window. Padding counts as zeros; the overhang of a pool that rounds up does not count (as in
    PyTorch)."""
    if chosen(images.dtype) == "lax":
        total = _reduce_window(images, rows, columns, 0.0, lax.add)
    else:
        total = functools.reduce(jnp.add, canonical.slices(images, rows, columns, 0.0))
    counts = rows.covered[:, None] * columns.covered[None, :]
    return total * jnp.asarray(1.0 / counts, images.dtype)[None, :, :, None]


def _reduce_window(images: Array, rows: Window, columns: Window, outside: float, operation) -> Array:
    return lax.reduce_window(
        images,
        np.asarray(outside, images.dtype),
        operation,
        window_dimensions=(1, rows.size, columns.size, 1),
        window_strides=(1, rows.stride, columns.stride, 1),
        padding=[(0, 0), *((axis.low, axis.high + axis.overhang) for axis in (rows, columns)), (0, 0)],
    )


def _numbers(rows: Window, columns: Window) -> np.ndarray:
    """The windows in the form that the native handlers read."""
    pairs = [(rows.size, columns.size), (rows.stride, columns.stride), (rows.low, columns.low)]
    return np.asarray(pairs, np.int64).ravel()


def _pooled_shape(shape: tuple[int, ...], rows: Window, columns: Window) -> tuple[int, ...]:
    return (*shape[:-3], rows.output, columns.output, shape[-1])


def _pick_shape(maps: Any, codes: Any) -> tuple[int, ...]:
    return (*np.broadcast_shapes(maps.shape[:-3], codes.shape[:-3]), *codes.shape[-3:])


def _unpool_shape(pooled: Any, codes: Any, rows: Window, columns: Window) -> tuple[int, ...]:
    leading = np.broadcast_shapes(pooled.shape[:-3], codes.shape[:-3])
    return (*leading, rows.length, columns.length, pooled.shape[-1])


def _max_pool(images: Array, *, rows: Window, columns: Window, implementation: str) -> Sequence[Array]:
    if implementation == "native":
        shape = _pooled_shape(images.shape, rows, columns)
        outputs = [jax.ShapeDtypeStruct(shape, images.dtype), jax.ShapeDtypeStruct(shape, jnp.uint8)]
        return jax.ffi.ffi_call("cnn_max_pool", outputs)(images, geometry=_numbers(rows, columns))
    return canonical.max_pool(images, rows, columns)


def _unpool(pooled: Array, codes: Array, *, rows: Window, columns: Window, implementation: str) -> Array:
    if implementation == "native":
        output = jax.ShapeDtypeStruct(_unpool_shape(pooled, codes, rows, columns), pooled.dtype)
        return jax.ffi.ffi_call("cnn_unpool", output)(pooled, codes, geometry=_numbers(rows, columns))
    return canonical.unpool(pooled, codes, rows, columns)


def _pick(maps: Array, codes: Array, *, rows: Window, columns: Window, implementation: str) -> Array:
    return canonical.pick(maps, codes, rows, columns)


def _max_pool_jvp(primals: tuple[Array], tangents: tuple[Any], **parameters: Any) -> tuple[list[Array], list[Any]]:
    pooled, codes = max_pool_p.bind(*primals, **parameters)
    (tangent,) = tangents
    no_tangent = ad.Zero(jax.typeof(codes).to_tangent_aval())
    if type(tangent) is ad.Zero:
        return [pooled, codes], [ad.Zero(jax.typeof(pooled).to_tangent_aval()), no_tangent]
    return [pooled, codes], [pick_p.bind(tangent, codes, **parameters), no_tangent]


max_pool_p, pick_p, unpool_p = Primitive("max_pool"), Primitive("pick"), Primitive("unpool")
max_pool_p.multiple_results = True


@max_pool_p.def_abstract_eval
def _(images, *, rows, columns, implementation):
    shape = _pooled_shape(images.shape, rows, columns)
    return [ShapedArray(shape, images.dtype), ShapedArray(shape, np.dtype(np.uint8))]


pick_p.def_abstract_eval(lambda maps, codes, **_: ShapedArray(_pick_shape(maps, codes), maps.dtype))
unpool_p.def_abstract_eval(
    lambda pooled, codes, *, rows, columns, implementation: ShapedArray(
        _unpool_shape(pooled, codes, rows, columns), pooled.dtype
    )
)
define(max_pool_p, _max_pool)
define(pick_p, _pick)
define(unpool_p, _unpool)
ad.primitive_jvps[max_pool_p] = _max_pool_jvp


def linear_in_values(primitive: Primitive, transposed: Primitive) -> None:
    """Defines the derivative of a primitive that is linear in its first operand and takes codes as its second."""

    def jvp(primals: tuple[Array, Array], tangents: tuple[Any, Any], **parameters: Any) -> tuple[Array, Any]:
        output = primitive.bind(*primals, **parameters)
        if type(tangents[0]) is ad.Zero:
            return output, ad.Zero(jax.typeof(output).to_tangent_aval())
        return output, primitive.bind(tangents[0], primals[1], **parameters)

    def transpose(cotangent: Any, values: Any, codes: Array, **parameters: Any) -> list[Any]:
        if type(cotangent) is ad.Zero:
            return [ad.Zero(values.aval), None]
        return [sum_leading(transposed.bind(cotangent, codes, **parameters), values), None]

    ad.primitive_jvps[primitive] = jvp
    ad.primitive_transposes[primitive] = transpose


linear_in_values(pick_p, unpool_p)
linear_in_values(unpool_p, pick_p)
