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
        self, variables: Variables, images: Array, *, shifts: Mapping[str, Array] = MappingProxyType({})
    ) -> dict[str, Array]:
        """The output of every layer by name."""
        return self.network.activations(variables, images, rule=self.rule, shifts=shifts)


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
    outputs = _activations(function)(params, images)
    if layer not in outputs:
        raise RequestError(f"layer {quote(layer)} does not exist; there are {', '.join(outputs)}")
    return outputs[layer]


def _activations(function: Any) -> Callable[..., dict[str, Array]]:
    found = getattr(function, "activations", None)
    if found is None:
        raise RequestError(
            "this function has no named layers: give a Network, insight.adapters.linen(module) or "
            "insight.functions.WithActivations"
        )
    return found


def at_layer(function: Any, params: Any, images: Array, targets: Targets, layer: str) -> tuple[Array, Array]:
    """A layer's maps (n, h, w, channels) and the derivative of the selected output with respect to them. Raises
    RequestError for a function without named layers, without this one, or if it has no maps."""
    names: list[str] = []

    def named(params: Any, images: Array) -> dict[str, Array]:
        found = _activations(function)(params, images)
        names.extend(found)  # in order of execution, which a dictionary loses on its way out of a trace
        return found

    outputs = jax.eval_shape(named, params, images)
    with_maps = [name for name in names if outputs[name].ndim == 4]
    if layer not in outputs:
        raise RequestError(f"layer {quote(layer)} does not exist; there are {', '.join(names)}")
    if layer not in with_maps:
        raise RequestError(
            f"layer {quote(layer)} has no maps, its output is {outputs[layer].shape[1:]}; layers with maps: "
            f"{', '.join(with_maps)}"
        )

    def score(shift: Array) -> tuple[Array, Array]:
        found = _activations(function)(params, images, shifts={layer: shift})
        logits = list(found.values())[-1].reshape(len(images), -1)
        return selected(logits, targets).sum(), found[layer]

    shape = outputs[layer]
    gradients, maps = jax.grad(score, has_aux=True)(jnp.zeros(shape.shape, shape.dtype))
    return maps, gradients
