"""The three products of a convolution as JAX primitives.

`forward` maps images and a kernel to maps, `data_gradient` maps and a kernel to images, `kernel_gradient` images and
maps to a kernel. Each is linear in both operands, and its transposes are the other two, so derivatives of any order and
mode need only these three. Any number of leading axes, added by vmap, may precede the shapes given here; all operands
have the same number of them, each of full size or of size 1.

The maps may be pooled: `codes` (n, h, w, f) give for each pooled value the position it came from. Then `forward`
returns only the values at those positions, and the gradients treat the maps as zero elsewhere. See pooling.py.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from cnn_jax.ops import canonical
from cnn_jax.ops.window import Geometry

Shape = tuple[int, ...]


def numbers(geometry: Geometry) -> np.ndarray:
    """The geometry in the form that the native handlers read."""
    rows, columns = geometry.rows, geometry.columns
    pairs = [(axis.stride, axis.dilation, axis.low) for axis in (rows, columns)]
    rest = [geometry.groups, geometry.pool, geometry.relu, rows.output, columns.output]
    return np.asarray([*np.transpose(pairs).ravel(), *rest], np.int64)


def _forward_shape(images: Shape, kernel: Shape, geometry: Geometry) -> Shape:
    return (images[0], *geometry.maps, kernel[3])


def _data_shape(maps: Shape, kernel: Shape, geometry: Geometry) -> Shape:
    return (maps[0], geometry.rows.length, geometry.columns.length, kernel[2] * geometry.groups)


def _kernel_shape(images: Shape, maps: Shape, geometry: Geometry) -> Shape:
    return (geometry.rows.size, geometry.columns.size, images[3] // geometry.groups, maps[3])


def _make(name: str, shape: Callable[[Shape, Shape, Geometry], Shape], in_jax: Callable[..., Array]) -> Primitive:
    primitive = Primitive(f"convolution_{name}")

    def result(left: Any, right: Any, *codes: Any, geometry: Geometry) -> tuple[Shape, Any]:
        leading = np.broadcast_shapes(*(x.shape[:-4] for x in (left, right, *codes)))
        return (*leading, *shape(left.shape[-4:], right.shape[-4:], geometry)), left.dtype

    def compute(left: Array, right: Array, *codes: Array, geometry: Geometry) -> Array:
        if geometry.implementation == "native" and not (codes and name == "forward"):
            target = f"cnn_{name}" + ("_pooled" if codes else "")
            output = jax.ShapeDtypeStruct(*result(left, right, *codes, geometry=geometry))
            return jax.ffi.ffi_call(target, output)(left, right, *codes, geometry=numbers(geometry))
        return in_jax(left, right, *codes, geometry=geometry)

    primitive.def_abstract_eval(lambda *x, geometry: ShapedArray(*result(*x, geometry=geometry)))
    define(primitive, compute)
    return primitive


def define(primitive: Primitive, compute: Callable[..., Any]) -> None:
    """Defines the evaluation, lowering and batching rule of a primitive, all by `compute`."""

    @functools.lru_cache(maxsize=256)
    def compiled(**parameters: Any) -> Callable:
        return jax.jit(functools.partial(primitive.bind, **parameters))

    def batch(operands: tuple[Array, ...], axes: tuple[int | None, ...], **parameters: Any) -> Any:
        moved = [
            jnp.expand_dims(x, 0) if axis is None else jnp.moveaxis(x, axis, 0)
            for x, axis in zip(operands, axes, strict=True)
        ]
        output = primitive.bind(*moved, **parameters)
        return (output, [0] * len(output)) if primitive.multiple_results else (output, 0)

    primitive.def_impl(lambda *operands, **parameters: compiled(**parameters)(*operands))
    mlir.register_lowering(primitive, mlir.lower_fun(compute, multiple_results=primitive.multiple_results))
    batching.primitive_batchers[primitive] = batch


forward_p = _make("forward", _forward_shape, canonical.forward)
data_gradient_p = _make("data_gradient", _data_shape, canonical.data_gradient)
kernel_gradient_p = _make("kernel_gradient", _kernel_shape, canonical.kernel_gradient)


def sum_leading(gradient: Array, operand: Any) -> Array:
    """The gradient of an operand that was broadcast along some axes: the sum along them."""
    shared = [axis for axis, size in enumerate(operand.aval.shape) if size < gradient.shape[axis]]
    return gradient.sum(shared, keepdims=True) if shared else gradient


def differentiate(
    primitive: Primitive, left_transpose: Callable[..., Array], right_transpose: Callable[..., Array]
) -> None:
    """Defines the derivatives of a bilinear `primitive` from its transposes, `left_transpose(cotangent, right, *codes)`
    and `right_transpose(cotangent, left, *codes)`."""

    def jvp(primals: tuple[Array, ...], tangents: tuple[Any, ...], **parameters: Any) -> tuple[Array, Any]:
        left, right, *codes = primals
        output = primitive.bind(*primals, **parameters)
        terms = []
        if type(tangents[0]) is not ad.Zero:
            terms.append(primitive.bind(tangents[0], right, *codes, **parameters))
        if type(tangents[1]) is not ad.Zero:
            terms.append(primitive.bind(left, tangents[1], *codes, **parameters))
        return output, functools.reduce(jnp.add, terms) if terms else ad.Zero(jax.typeof(output).to_tangent_aval())

    def transpose(cotangent: Any, left: Any, right: Any, *codes: Any, **parameters: Any) -> list[Any]:
        none = [None] * len(codes)
        if ad.is_undefined_primal(left):
            if type(cotangent) is ad.Zero:
                return [ad.Zero(left.aval), None, *none]
            return [sum_leading(left_transpose(cotangent, right, *codes, **parameters), left), None, *none]
        if type(cotangent) is ad.Zero:
            return [None, ad.Zero(right.aval), *none]
        return [None, sum_leading(right_transpose(cotangent, left, *codes, **parameters), right), *none]

    ad.primitive_jvps[primitive] = jvp
    ad.primitive_transposes[primitive] = transpose


def _bind(primitive: Primitive) -> Callable[..., Array]:
    return lambda left, right, *codes, geometry: primitive.bind(left, right, *codes, geometry=geometry)


def _swapped(primitive: Primitive) -> Callable[..., Array]:
    return lambda left, right, *codes, geometry: primitive.bind(right, left, *codes, geometry=geometry)


differentiate(forward_p, _bind(data_gradient_p), _swapped(kernel_gradient_p))
differentiate(data_gradient_p, _bind(forward_p), _bind(kernel_gradient_p))
differentiate(kernel_gradient_p, _swapped(data_gradient_p), _swapped(forward_p))
