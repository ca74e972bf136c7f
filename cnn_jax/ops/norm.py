"""The parts of batch normalisation: moments per channel, and a scale and offset per channel with an optional ReLU.

Each is a single pass over memory. So is the backward pass of the second, which takes the sums per channel as it goes.
Any number of leading axes may precede the shapes given here, see products.py.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import ad
from jaxtyping import Float

from cnn_jax.ops.choice import chosen
from cnn_jax.ops.products import define, sum_leading


def moments(x: Float[Array, "n h w c"], mask: Float[Array, " n"]) -> tuple[Float[Array, " c"], Float[Array, " c"]]:
    """Mean and (biased) variance per channel over the examples whose mask is 1; zeros if there are none."""
    if chosen(x.dtype) == "native":
        mean, variance = moments_p.bind(x, mask)
        return mean, variance
    return _moments(x, mask)


def affine(
    x: Float[Array, "n h w c"], factor: Float[Array, " c"], offset: Float[Array, " c"], relu: bool
) -> Float[Array, "n h w c"]:
    """x · factor + offset per channel, followed by a ReLU if `relu`."""
    if chosen(x.dtype) == "native":
        return affine_p.bind(x, factor, offset, relu=relu)
    return _affine(x, factor, offset, relu=relu)


def _wide(channels: Array) -> Array:
    return channels[..., None, None, None, :]


def _examples(mask: Array) -> Array:
    return mask[..., :, None, None, None]


def _weights(x: Array, mask: Array) -> Array:
    """The weight of each value of an example; the weights over all positions sum to 1."""
    count = mask.sum(-1, keepdims=True) * (x.shape[-3] * x.shape[-2])
    return _examples(mask / jnp.maximum(count, 1.0))


def _moments(x: Array, mask: Array) -> tuple[Array, Array]:
    weight = _weights(x, mask)
    mean = (x * weight).sum((-4, -3, -2))
    return mean, (jnp.square(x - _wide(mean)) * weight).sum((-4, -3, -2))


def _moments_tangent(x: Array, mask: Array, mean: Array, tangent: Array) -> tuple[Array, Array]:
    """Linear in the tangent. (The variance has zero derivative with respect to the mean.)"""
    tangent = tangent * _weights(x, mask)
    return tangent.sum((-4, -3, -2)), (2.0 * (x - _wide(mean)) * tangent).sum((-4, -3, -2))


def _affine(x: Array, factor: Array, offset: Array, *, relu: bool) -> Array:
    output = x * _wide(factor) + _wide(offset)
    return jax.nn.relu(output) if relu else output


def _affine_tangent(
    x: Array, factor: Array, offset: Array, dx: Array, dfactor: Array, doffset: Array, *, relu: bool
) -> Array:
    """Linear in the tangents `dx`, `dfactor` and `doffset`."""
    tangent = dx * _wide(factor) + x * _wide(dfactor) + _wide(doffset)
    return jnp.where(_affine(x, factor, offset, relu=False) > 0, tangent, 0) if relu else tangent


def _affine_gradient(
    x: Array, factor: Array, offset: Array, gradient: Array, *, relu: bool
) -> tuple[Array, Array, Array]:
    """The transpose of `_affine_tangent`."""
    if relu:
        gradient = jnp.where(_affine(x, factor, offset, relu=False) > 0, gradient, 0)
    sums = (gradient * x).sum((-4, -3, -2)), gradient.sum((-4, -3, -2))
    return gradient * _wide(factor), *sums


def _moments_native(x: Array, mask: Array) -> Sequence[Array]:
    leading = np.broadcast_shapes(x.shape[:-4], mask.shape[:-1])
    channels = jax.ShapeDtypeStruct((*leading, x.shape[-1]), x.dtype)
    return jax.ffi.ffi_call("cnn_moments", [channels, channels])(x, mask)


def _affine_gradient_native(x: Array, factor: Array, offset: Array, gradient: Array, *, relu: bool) -> Sequence[Array]:
    leading = np.broadcast_shapes(x.shape[:-4], factor.shape[:-1], offset.shape[:-1], gradient.shape[:-4])
    images = jax.ShapeDtypeStruct((*leading, *x.shape[-4:]), x.dtype)
    channels = jax.ShapeDtypeStruct((*leading, x.shape[-1]), x.dtype)
    call = jax.ffi.ffi_call("cnn_affine_gradient", [images, channels, channels])
    return call(x, factor, offset, gradient, rectify=np.int64(relu))


def _instantiate(primals: Sequence[Any], tangents: Sequence[Any]) -> list[Any]:
    """The tangents with symbolic zeros replaced by arrays of zeros."""
    return [jnp.zeros_like(x) if type(t) is ad.Zero else t for x, t in zip(primals, tangents, strict=True)]


def _primitive(name: str, reference: Callable[..., Any], compute: Callable[..., Any], several: bool) -> Primitive:
    """A primitive with the shapes and the derivative of `reference`."""
    primitive = Primitive(name)
    primitive.multiple_results = several

    def shapes(*operands: Any, **parameters: Any) -> Any:
        structs = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in operands]
        output = jax.eval_shape(functools.partial(reference, **parameters), *structs)
        return [ShapedArray(x.shape, x.dtype) for x in output] if several else ShapedArray(output.shape, output.dtype)

    def jvp(primals: Sequence[Any], tangents: Sequence[Any], **parameters: Any) -> Any:
        return jax.jvp(
            functools.partial(reference, **parameters), tuple(primals), tuple(_instantiate(primals, tangents))
        )

    primitive.def_abstract_eval(shapes)
    ad.primitive_jvps[primitive] = jvp
    define(primitive, compute)
    return primitive


moments_p = _primitive("channel_moments", _moments, _moments_native, True)
affine_p = _primitive("affine", _affine, _affine, False)
tangent_p = _primitive("affine_tangent", _affine_tangent, _affine_tangent, False)
gradient_p = _primitive("affine_gradient", _affine_gradient, _affine_gradient_native, True)


def _moments_jvp(primals: tuple[Array, Array], tangents: tuple[Any, Any]) -> tuple[list[Array], list[Any]]:
    x, mask = primals
    mean, variance = moments_p.bind(x, mask)
    if type(tangents[0]) is ad.Zero:
        return [mean, variance], [ad.Zero(jax.typeof(moment).to_tangent_aval()) for moment in (mean, variance)]
    return [mean, variance], list(_moments_tangent(x, mask, mean, tangents[0]))


def _affine_jvp(primals: Sequence[Array], tangents: Sequence[Any], *, relu: bool) -> tuple[Array, Any]:
    output = affine_p.bind(*primals, relu=relu)
    return output, tangent_p.bind(*primals, *_instantiate(primals, tangents), relu=relu)


def _tangent_transpose(cotangent: Any, x: Any, factor: Any, offset: Any, *tangents: Any, relu: bool) -> list[Any]:
    cotangents: list[Any] = [None, None, None]  # of x, factor and offset, which the operation is not linear in
    if type(cotangent) is ad.Zero:
        return cotangents + [ad.Zero(t.aval) if ad.is_undefined_primal(t) else None for t in tangents]
    gradients = gradient_p.bind(x, factor, offset, cotangent, relu=relu)
    for gradient, tangent in zip(gradients, tangents, strict=True):
        cotangents.append(sum_leading(gradient, tangent) if ad.is_undefined_primal(tangent) else None)
    return cotangents


ad.primitive_jvps[moments_p] = _moments_jvp
ad.primitive_jvps[affine_p] = _affine_jvp
ad.primitive_transposes[tangent_p] = _tangent_transpose
