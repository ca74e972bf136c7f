"""Elementwise nonlinearities, and modified backward passes of the ReLU."""

import functools
from collections.abc import Callable
from typing import Literal, TypeVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from cnn_jax.layers.base import Fixed, Shape, Spellings, refuse_taken, register_described
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
register_activation("gelu")(jax.nn.gelu)
register_activation("silu")(jax.nn.silu)
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
