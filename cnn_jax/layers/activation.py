"""Elementwise nonlinearities."""

import functools
from collections.abc import Callable
from typing import TypeVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from cnn_jax.layers.base import Fixed, Layer, Shape, Spellings, refuse_taken, register_described
from cnn_jax.registry import Registry

ACTIVATIONS: Registry[Callable[[Array], Array]] = Registry("activation")
F = TypeVar("F", bound=Callable[[Array], Array])


def register_activation(name: str) -> Callable[[F], F]:
    """Registers an elementwise function of an array, which the notation then calls `name`."""

    def add(function: F) -> F:
        refuse_taken(name, ACTIVATIONS)
        return ACTIVATIONS.add(name, function)  # type: ignore[return-value]

    return add


register_activation("relu")(jax.nn.relu)
register_activation("tanh")(jnp.tanh)
register_activation("stanh")(lambda x: 1.7159 * jnp.tanh(x * (2.0 / 3.0)))  # lecun1998gradient, appendix A
register_activation("sigmoid")(jax.nn.sigmoid)
register_activation("gelu")(functools.partial(jax.nn.gelu, approximate=False))  # hendrycks2016gaussian
register_activation("silu")(jax.nn.silu)
register_activation("relu6")(jax.nn.relu6)  # howard2017mobilenets, in its implementation
register_activation("elu")(jax.nn.elu)  # clevert2016fast
register_activation("hardsigmoid")(jax.nn.hard_sigmoid)  # howard2019searching, 5.2
register_activation("hardswish")(jax.nn.hard_swish)
register_activation("mish")(jax.nn.mish)  # misra2020mish
ACTIVATIONS.seal()


@register_described("Activation")
class Activation(Fixed):
    """An elementwise nonlinearity, by its registered name."""

    kind: str  # type: ignore[misc]

    @classmethod
    def spellings(cls) -> Spellings:
        return {name: {"kind": name} for name in ACTIVATIONS}

    @property
    def zero_channels(self) -> bool:  # type: ignore[override]
        return float(ACTIVATIONS[self.kind](jnp.zeros(()))) == 0.0

    def output_shape(self, shape: Shape) -> Shape:
        ACTIVATIONS[self.kind]  # raises RequestError for an unknown name
        return shape

    @nn.compact
    def __call__(self, x: Array) -> Array:
        return ACTIVATIONS[self.kind](x)


@register_described("LeakyReLU")
class LeakyReLU(Fixed):
    """x where it is positive, else `slope` · x (maas2013rectifier)."""

    slope: float

    kind = "leaky"
    zero_channels = True
    words = {"leaky<slope>": {}}

    def output_shape(self, shape: Shape) -> Shape:
        return shape

    @nn.compact
    def __call__(self, x: Array) -> Array:
        return jnp.where(x > 0, x, self.slope * x)


@register_described("PReLU")
class PReLU(Layer):
    """As the leaky ReLU, with a learned slope for each channel, 0.25 at first (he2015delving, 2.1)."""

    kind = "prelu"
    words = {"prelu": {}}

    def output_shape(self, shape: Shape) -> Shape:
        return shape

    def parameters(self, shape: Shape) -> int:
        return shape[-1]

    @nn.compact
    def __call__(self, x: Array) -> Array:
        slope = self.param("slope", nn.initializers.constant(0.25), x.shape[-1:]).astype(x.dtype)
        return jnp.where(x > 0, x, slope[(None,) * (x.ndim - 1)] * x)
