"""Elementwise nonlinearities, and modified backward passes of the ReLU."""

import functools
from collections.abc import Callable
from typing import Literal, TypeVar

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

Backward = Literal["gradient", "guided", "deconvnet", "redirected"]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _relu(backward: Backward, x: Array) -> Array:
    """A ReLU with a modified backward pass.

    'deconvnet' passes the positive part of the signal (zeiler2014visualizing, 2.1, "rectification"). 'guided' passes
    it only where the input was positive (springenberg2015striving, 3.4). 'redirected' passes the signal where it or the
    input is positive, so that an inactive unit can become active (olah2017feature).
    """
    return jax.nn.relu(x)


def _relu_forward(backward: Backward, x: Array) -> tuple[Array, Array]:
    return jax.nn.relu(x), x > 0


def _relu_backward(backward: Backward, active: Array, signal: Array) -> tuple[Array]:
    positive = signal > 0
    mask = {"guided": positive & active, "deconvnet": positive, "redirected": positive | active}[backward]
    return (jnp.where(mask, signal, 0),)


_relu.defvjp(_relu_forward, _relu_backward)


@register_described("Activation")
class Activation(Fixed):
    """An elementwise nonlinearity, by its registered name."""

    kind: str  # type: ignore[misc]

    context = ("backward",)

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
    def __call__(self, x: Array, *, backward: Backward = "gradient") -> Array:
        """`backward` selects the backward pass of a ReLU; it does not affect other nonlinearities."""
        if self.kind == "relu" and backward != "gradient":
            return _relu(backward, x)
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
