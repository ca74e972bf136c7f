"""Convolution as in neural networks: cross-correlation, without flipping the filter."""

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
from cnn_jax.ops.pooling import linear_in_values, max_pool
from cnn_jax.ops.products import define, forward_p, numbers
from cnn_jax.ops.window import Geometry, Window


def convolution(
    images: Float[Array, "n h w c"],
    kernel: Float[Array, "kh kw c_per_group f"],
    rows: Window,
    columns: Window,
    groups: int = 1,
) -> Float[Array, "n oh ow f"]:
    """Slides every filter of `kernel` over `images`: out[n, i, j, f] = sum over (a, b, c) of
    images[n, i·stride + a·dilation - low, j·stride + b·dilation - low, c] · kernel[a, b, c, f], zero outside.

    With `groups` > 1 the channels and filters are split into that many independent parts (krizhevsky2012imagenet, 3.2).
    Each implementation sums in its own order. On a CPU the error of every output and gradient is at most
    γ_n = n·u/(1 - n·u) times the sum of the absolute values of its n products, with u = 2⁻²⁴ in float32
    (higham2002accuracy, 3.1).
    """
    implementation = chosen(images.dtype)
    if implementation != "lax":
        return forward_p.bind(images, kernel, geometry=Geometry(rows, columns, groups, implementation=implementation))
    return lax.conv_general_dilated(
        images,
        kernel,
        window_strides=(rows.stride, columns.stride),
        padding=((rows.low, rows.high), (columns.low, columns.high)),
        rhs_dilation=(rows.dilation, columns.dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


def convolution_pooled(
    images: Float[Array, "n h w c"],
    kernel: Float[Array, "kh kw c_per_group f"],
    bias: Float[Array, " f"],
    rows: Window,
    columns: Window,
    groups: int,
    pool: int,
    relu: bool,
) -> Float[Array, "n ph pw f"]:
    """max_pool(relu(convolution + bias)) in one operation, over non-overlapping windows of `pool` x `pool` positions.

    Gives the same values and gradients as the three operations in sequence. In the native implementation the full maps
    never leave the processor's cache, in the forward or the backward pass.

    Args:
      images, kernel, rows, columns, groups: as for `convolution`.
      bias: one number per filter.
      pool: size of the pooling windows; 1 for no pooling.
      relu: whether to apply the ReLU.
    """
    implementation = chosen(images.dtype, pool**2)
    if implementation != "lax":
        geometry = Geometry(rows, columns, groups, pool, relu, implementation)
        return pooled_p.bind(images, kernel, bias, geometry=geometry)[0]
    maps = convolution(images, kernel, rows, columns, groups) + bias[None, None, None]
    maps = jax.nn.relu(maps) if relu else maps
    return max_pool(maps, *Geometry(rows, columns, pool=pool).pool_windows)


def _shape(images: Any, kernel: Any, bias: Any, geometry: Geometry) -> tuple[int, ...]:
    leading = np.broadcast_shapes(images.shape[:-4], kernel.shape[:-4], bias.shape[:-1])
    return (*leading, images.shape[-4], *geometry.maps, kernel.shape[-1])


def _pooled(images: Array, kernel: Array, bias: Array, *, geometry: Geometry) -> Sequence[Array]:
    if geometry.implementation == "native":
        shape = _shape(images, kernel, bias, geometry)
        outputs = [jax.ShapeDtypeStruct(shape, images.dtype), jax.ShapeDtypeStruct(shape, jnp.uint8)]
        return jax.ffi.ffi_call("cnn_forward_pooled", outputs)(images, kernel, bias, geometry=numbers(geometry))
    maps = canonical.forward(images, kernel, geometry=geometry) + bias[..., None, None, None, :]
    pooled, codes = canonical.max_pool(maps, *geometry.pool_windows)
    return canonical.relu(pooled, codes) if geometry.relu else [pooled, codes]


def _pooled_jvp(
    primals: tuple[Array, Array, Array], tangents: tuple[Any, Any, Any], *, geometry: Geometry
) -> tuple[list[Array], list[Any]]:
    images, kernel, _ = primals
    images_tangent, kernel_tangent, bias_tangent = tangents
    pooled, codes = pooled_p.bind(*primals, geometry=geometry)
    terms = []
    if type(images_tangent) is not ad.Zero:
        terms.append(forward_p.bind(images_tangent, kernel, codes, geometry=geometry))
    if type(kernel_tangent) is not ad.Zero:
        terms.append(forward_p.bind(images, kernel_tangent, codes, geometry=geometry))
    if type(bias_tangent) is not ad.Zero:
        terms.append(broadcast_bias_p.bind(bias_tangent, codes, implementation=geometry.implementation))
    no_tangent = ad.Zero(jax.typeof(codes).to_tangent_aval())
    if not terms:
        return [pooled, codes], [ad.Zero(jax.typeof(pooled).to_tangent_aval()), no_tangent]
    return [pooled, codes], [sum(terms[1:], terms[0]), no_tangent]


def _broadcast_bias(bias: Array, codes: Array, *, implementation: str) -> Array:
    """The bias at every position that passes a gradient, zero elsewhere."""
    return jnp.where(codes != canonical.NOWHERE, bias[..., None, None, None, :], 0)


def _reduce_bias(gradient: Array, codes: Array, *, implementation: str) -> Array:
    """The transpose of `_broadcast_bias`: the sum per channel over the positions that pass a gradient."""
    if implementation == "native":
        output = jax.ShapeDtypeStruct(_reduce_bias_shape(gradient, codes), gradient.dtype)
        return jax.ffi.ffi_call("cnn_bias_gradient", output)(gradient, codes)
    return jnp.where(codes != canonical.NOWHERE, gradient, 0).sum((-2, -3, -4))


def _broadcast_bias_shape(bias: Any, codes: Any) -> tuple[int, ...]:
    return (*np.broadcast_shapes(bias.shape[:-1], codes.shape[:-4]), *codes.shape[-4:])


def _reduce_bias_shape(gradient: Any, codes: Any) -> tuple[int, ...]:
    return (*np.broadcast_shapes(gradient.shape[:-4], codes.shape[:-4]), gradient.shape[-1])


broadcast_bias_p, reduce_bias_p = Primitive("broadcast_bias"), Primitive("reduce_bias")
broadcast_bias_p.def_abstract_eval(lambda bias, codes, **_: ShapedArray(_broadcast_bias_shape(bias, codes), bias.dtype))
reduce_bias_p.def_abstract_eval(lambda maps, codes, **_: ShapedArray(_reduce_bias_shape(maps, codes), maps.dtype))
define(broadcast_bias_p, _broadcast_bias)
define(reduce_bias_p, _reduce_bias)
linear_in_values(broadcast_bias_p, reduce_bias_p)
linear_in_values(reduce_bias_p, broadcast_bias_p)

pooled_p = Primitive("convolution_pooled")
pooled_p.multiple_results = True


@pooled_p.def_abstract_eval
def _(images, kernel, bias, *, geometry):
    shape = _shape(images, kernel, bias, geometry)
    return [ShapedArray(shape, images.dtype), ShapedArray(shape, np.dtype(np.uint8))]


define(pooled_p, _pooled)
ad.primitive_jvps[pooled_p] = _pooled_jvp
