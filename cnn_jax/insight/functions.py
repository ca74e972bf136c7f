"""What is explained: any function of (params, images), one of its outputs, or a unit of one of its layers.

A `Network` is such a function; `adapters` make one of a module of Flax, Equinox or Keras, and a plain function of your
own is one already. Functions are compiled for, so they must be hashable, as functions and frozen dataclasses are.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import Array

from cnn_jax.errors import RequestError, quote
from cnn_jax.forward import Rule
from cnn_jax.network import Network, Variables

Function = Callable[[Any, Array], Array]  # of params and images (n, h, w, c); returns outputs (n, outputs)
Targets = Array | tuple[Array, Array]  # int (n,), an output of each image, or two: the first minus the second
Place = Literal["middle", "mean"] | tuple[int, int]


def selected(outputs: Array, targets: Targets) -> Array:
    """The outputs (n,) that `targets` name, or their differences."""
    if isinstance(targets, tuple):
        return selected(outputs, targets[0]) - selected(outputs, targets[1])
    return jnp.take_along_axis(outputs, targets[:, None], axis=1)[:, 0]


@dataclass(frozen=True)
class WithActivations:
    """A function of (params, images) whose inner values have names.

    Attributes:
      inner: maps params, images and `shifts`, arrays to add to the outputs of the layers that they name, to a
        dictionary of outputs by layer, in order of execution; the last is the function's own.
    """

    inner: Callable[[Any, Array, Mapping[str, Array]], dict[str, Array]]

    def __call__(self, params: Any, images: Array) -> Array:
        output = list(self.inner(params, images, {}).values())[-1]
        return output.reshape(len(images), -1)

    def activations(
        self, params: Any, images: Array, *, shifts: Mapping[str, Array] = MappingProxyType({})
    ) -> dict[str, Array]:
        """The output of every layer by name."""
        return self.inner(params, images, shifts)


@dataclass(frozen=True)
class Ruled:
    """A network in which `rule` stands for every layer, see `rules`."""

    network: Network
    rule: Rule

    def __call__(self, variables: Variables, images: Array) -> Array:
        return self.network.apply(variables, images, rule=self.rule)

    def activations(
        self,
        variables: Variables,
        images: Array,
        *,
        shifts: Mapping[str, Array] = MappingProxyType({}),
        until: str | None = None,
    ) -> dict[str, Array]:
        """The output of every layer by name, as those of a network."""
        return self.network.activations(variables, images, rule=self.rule, shifts=shifts, until=until)


@dataclass(frozen=True)
class Probabilities:
    """The softmax of a function's outputs."""

    function: Function

    def __call__(self, params: Any, images: Array) -> Array:
        return jax.nn.softmax(self.function(params, images))


@dataclass(frozen=True)
class Units:
    """The units of a layer as a function: its outputs are the layer's channels, at a place of its maps or in the mean
    over them. Every method then explains a unit in place of a class."""

    function: Any
    layer: str
    place: Place = "middle"

    def __call__(self, params: Any, images: Array) -> Array:
        output = inner(self.function, params, images, self.layer)
        if output.ndim < 4:
            return output.reshape(len(images), -1)
        if self.place == "mean":
            return output.mean((1, 2))
        row, column = (output.shape[1] // 2, output.shape[2] // 2) if self.place == "middle" else self.place
        return output[:, row, column]


def inner(function: Any, params: Any, images: Array, layer: str) -> Array:
    """The output of a layer. Raises RequestError for a function without named layers, or without this one."""
    found = activations_of(function)
    outputs = found(params, images, until=layer) if isinstance(function, Network | Ruled) else found(params, images)
    if layer not in outputs:
        raise RequestError(f"layer {quote(layer)} does not exist; there are {', '.join(outputs)}")
    return outputs[layer]


def activations_of(function: Any) -> Callable[..., dict[str, Array]]:
    """How to get the outputs of a function's layers. Raises RequestError for one without named layers."""
    found = getattr(function, "activations", None)
    if found is None:
        raise RequestError(
            "this function has no named layers: give a Network, insight.adapters.linen(module) or "
            "insight.functions.WithActivations"
        )
    return found


def derivative_at(function: Any, params: Any, images: Array, targets: Targets, layer: str) -> tuple[Array, Array]:
    """A layer's output (n, …) and the derivative of the selected output with respect to it. Raises RequestError for a
    function without named layers, or without this one."""
    shape = jax.eval_shape(lambda x: inner(function, params, x, layer), images)

    def score(shift: Array) -> tuple[Array, Array]:
        found = activations_of(function)(params, images, shifts={layer: shift})
        logits = list(found.values())[-1].reshape(len(images), -1)
        return selected(logits, targets).sum(), found[layer]

    gradients, output = jax.grad(score, has_aux=True)(jnp.zeros(shape.shape, shape.dtype))
    return output, gradients


def at_layer(function: Any, params: Any, images: Array, targets: Targets, layer: str) -> tuple[Array, Array]:
    """As `derivative_at`, of a layer with maps (n, h, w, channels). Raises RequestError if it has none."""
    shapes: dict[str, tuple[int, ...]] = {}

    def named(params: Any, images: Array) -> Array:
        shapes.update({name: x.shape[1:] for name, x in activations_of(function)(params, images).items()})
        return images

    jax.eval_shape(named, params, images)
    if layer in shapes and len(shapes[layer]) != 3:
        with_maps = ", ".join(name for name, shape in shapes.items() if len(shape) == 3)
        raise RequestError(
            f"layer {quote(layer)} has no maps, its output is {shapes[layer]}; layers with maps: {with_maps}"
        )
    return derivative_at(function, params, images, targets, layer)
