"""What batch normalisation is made of: moments per channel, and a scale and an offset per channel with a relu.

Each is one pass over memory forward, and the second one backward, with its sums per channel taken in the same pass. Any
number of leading axes may stand before the shapes given here, see products.py.
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
from cnn_jax.ops.products import define


def moments(x: Float[Array, "n h w c"], mask: Float[Array, " n"]) -> tuple[Float[Array, " c"], Float[Array, " c"]]:
    """Mean and (biased) variance per channel over the examples whose mask is 1; zeros where there are none."""
    if chosen(x.dtype) == "native":
        mean, variance = moments_p.bind(x, mask)
        return mean, variance
    return _moments(x, mask)


def affine(
    x: Float[Array, "n h w c"], factor: Float[Array, " c"], offset: Float[Array, " c"], rectify: bool
) -> Float[Array, "n h w c"]:
    """x · factor + offset per channel, and with `rectify` a relu of it."""
    if chosen(x.dtype) == "native":
        return affine_p.bind(x, factor, offset, rectify=rectify)
    return _affine(x, factor, offset, rectify=rectify)


def _wide(channels: Array) -> Array:
    return channels[..., None, None, None, :]


def _examples(mask: Array) -> Array:
    return mask[..., :, None, None, None]


def _shares(x: Array, mask: Array) -> Array:
    """What each value of an example counts; the sum over all positions is 1."""
    count = mask.sum(-1, keepdims=True) * (x.shape[-3] * x.shape[-2])
    return _examples(mask / jnp.maximum(count, 1.0))


def _moments(x: Array, mask: Array) -> tuple[Array, Array]:
    share = _shares(x, mask)
    mean = (x * share).sum((-4, -3, -2))
    return mean, (jnp.square(x - _wide(mean)) * share).sum((-4, -3, -2))


def _moments_tangent(x: Array, mask: Array, mean: Array, tangent: Array) -> tuple[Array, Array]:
    """Linear in the tangent. (That of the variance by way of the mean is zero.)"""
    tangent = tangent * _shares(x, mask)
    return tangent.sum((-4, -3, -2)), (2.0 * (x - _wide(mean)) * tangent).sum((-4, -3, -2))


def _affine(x: Array, factor: Array, offset: Array, *, rectify: bool) -> Array:
    made = x * _wide(factor) + _wide(offset)
    return jax.nn.relu(made) if rectify else made


def _affine_tangent(
    x: Array, factor: Array, offset: Array, of_x: Array, of_factor: Array, of_offset: Array, *, rectify: bool
) -> Array:
    """Linear in the last three."""
    made = of_x * _wide(factor) + x * _wide(of_factor) + _wide(of_offset)
    return jnp.where(_affine(x, factor, offset, rectify=False) > 0, made, 0) if rectify else made


def _affine_gradient(
    x: Array, factor: Array, offset: Array, gradient: Array, *, rectify: bool
) -> tuple[Array, Array, Array]:
    """The transpose of `_affine_tangent`."""
    if rectify:
        gradient = jnp.where(_affine(x, factor, offset, rectify=False) > 0, gradient, 0)
    sums = (gradient * x).sum((-4, -3, -2)), gradient.sum((-4, -3, -2))
    return gradient * _wide(factor), *sums


def _moments_native(x: Array, mask: Array) -> Sequence[Array]:
    leading = np.broadcast_shapes(x.shape[:-4], mask.shape[:-1])
    made = jax.ShapeDtypeStruct((*leading, x.shape[-1]), x.dtype)
    return jax.ffi.ffi_call("cnn_moments", [made, made])(x, mask)


def _affine_gradient_native(
    x: Array, factor: Array, offset: Array, gradient: Array, *, rectify: bool
) -> Sequence[Array]:
    leading = np.broadcast_shapes(x.shape[:-4], factor.shape[:-1], offset.shape[:-1], gradient.shape[:-4])
    whole = jax.ShapeDtypeStruct((*leading, *x.shape[-4:]), x.dtype)
    channels = jax.ShapeDtypeStruct((*leading, x.shape[-1]), x.dtype)
    call = jax.ffi.ffi_call("cnn_affine_gradient", [whole, channels, channels])
    return call(x, factor, offset, gradient, rectify=np.int64(rectify))


def _primitive(name: str, reference: Callable[..., Any], compute: Callable[..., Any], several: bool) -> Primitive:
    """A primitive whose shapes and derivative are those of `reference`."""
    primitive = Primitive(name)
    primitive.multiple_results = several

    def shapes(*operands: Any, **parameters: Any) -> Any:
        structs = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in operands]
        made = jax.eval_shape(functools.partial(reference, **parameters), *structs)
        return [ShapedArray(x.shape, x.dtype) for x in made] if several else ShapedArray(made.shape, made.dtype)

    def jvp(primals: Sequence[Any], tangents: Sequence[Any], **parameters: Any) -> Any:
        whole = [jnp.zeros_like(x) if type(t) is ad.Zero else t for x, t in zip(primals, tangents, strict=True)]
        return jax.jvp(functools.partial(reference, **parameters), tuple(primals), tuple(whole))

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
        nothing = [ad.Zero(jax.typeof(one).to_tangent_aval()) for one in (mean, variance)]
        return [mean, variance], nothing
    return [mean, variance], list(_moments_tangent(x, mask, mean, tangents[0]))


def _affine_jvp(primals: Sequence[Array], tangents: Sequence[Any], *, rectify: bool) -> tuple[Array, Any]:
    made = affine_p.bind(*primals, rectify=rectify)
    whole = [jnp.zeros_like(x) if type(t) is ad.Zero else t for x, t in zip(primals, tangents, strict=True)]
    return made, tangent_p.bind(*primals, *whole, rectify=rectify)


def _tangent_transpose(cotangent: Any, x: Any, factor: Any, offset: Any, *tangents: Any, rectify: bool) -> list[Any]:
    known: list[Any] = [None, None, None]
    if type(cotangent) is ad.Zero:
        return known + [ad.Zero(t.aval) if ad.is_undefined_primal(t) else None for t in tangents]
    made = gradient_p.bind(x, factor, offset, cotangent, rectify=rectify)
    for one, tangent in zip(made, tangents, strict=True):
        if not ad.is_undefined_primal(tangent):
            known.append(None)
            continue
        shared = [axis for axis, size in enumerate(tangent.aval.shape) if size < one.shape[axis]]
        known.append(one.sum(shared, keepdims=True) if shared else one)
    return known


ad.primitive_jvps[moments_p] = _moments_jvp
ad.primitive_jvps[affine_p] = _affine_jvp
ad.primitive_transposes[tangent_p] = _tangent_transpose
