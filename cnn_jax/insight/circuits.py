"""How units work together: weights between units of distant layers, and what becomes of an output when units are
silenced or given the values of another image."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from cnn_jax import ops
from cnn_jax.errors import RequestError
from cnn_jax.forward import Variables
from cnn_jax.insight.functions import Ruled, Targets, activations_of, inner, selected
from cnn_jax.insight.rules import Apply
from cnn_jax.layers import Activation, LeakyReLU, LocalResponseNorm, Pool, PReLU
from cnn_jax.network import Network
from cnn_jax.nodes import Node


@dataclass(frozen=True)
class Linear:
    """Without nonlinearities: activations pass everything, a max pool is an average, response norms do nothing."""

    def __call__(self, node: Node, apply: Apply, variables: Variables, x: Array) -> Array:
        if isinstance(node.layer, Activation | LeakyReLU | PReLU | LocalResponseNorm):
            return x
        if isinstance(node.layer, Pool) and node.layer.kind == "max":
            return ops.average_pool(x, *node.layer.windows(x.shape[1:]))
        return apply(variables, x)


@functools.partial(jax.jit, static_argnames=("network", "lower", "upper"))
def expanded_weights(network: Network, variables: Variables, lower: str, upper: str) -> Array:
    """The weights with which the units of a layer see those of one below it, through all layers between as if they were
    linear (voss2021visualizing, "expanded weights").

    Args:
        network, variables: the network and its variables.
        lower, upper: names of layers, the first below the second.

    Returns:
        (upper units, height, width, lower units): what every place of the lower layer adds to each unit in the middle
        of the upper layer's maps; (upper units, lower units) for a lower layer without maps.
    """
    order = [node.name for node in network.walk()]
    if {lower, upper} - set(order) or order.index(lower) >= order.index(upper):
        raise RequestError(f"layer {lower!r} is not below layer {upper!r}; the order is {', '.join(order)}")
    shape = network.node(lower).output
    images = jnp.zeros((1, *network.input_shape))

    def seen(shift: Array) -> Array:
        outputs = Ruled(network, Linear()).activations(variables, images, shifts={lower: shift[None]})[upper]
        return outputs[0, outputs.shape[1] // 2, outputs.shape[2] // 2] if outputs.ndim == 4 else outputs[0]

    return jax.jacrev(seen)(jnp.zeros(shape))


def with_units(
    function: Any, params: Any, images: Array, targets: Targets, layer: str, units: Array, values: Array
) -> Array:
    """The selected outputs (n,) when some units of a layer have other values.

    Args:
        function, params, images, targets: a function with named layers, and what is explained.
        layer: the layer's name.
        units: int (k,), its channels.
        values: their new values, broadcast to (n, h, w, k) or (n, k).
    """
    output = inner(function, params, images, layer)
    before = output[..., units]
    shift = jnp.zeros_like(output).at[..., units].set(jnp.broadcast_to(values, before.shape) - before)
    outputs: Mapping[str, Array] = activations_of(function)(params, images, shifts={layer: shift})
    return selected(list(outputs.values())[-1].reshape(len(images), -1), targets)


@functools.partial(jax.jit, static_argnames=("function", "layer"))
def ablation(
    function: Any, params: Any, images: Array, targets: Targets, layer: str, values: Array | float = 0.0
) -> Array:
    """The fall of the selected output when each unit of a layer alone is silenced: (n, units). `values` replace the
    units', 0 or their means over many images, broadcast to the channels (morcos2018importance, 2.3)."""
    count = inner(function, params, images[:1], layer).shape[-1]
    before = selected(function(params, images), targets)
    values = jnp.broadcast_to(jnp.asarray(values, before.dtype), (count,))

    def without(unit: Array) -> Array:
        return before - with_units(function, params, images, targets, layer, unit[None], values[unit][None])

    return jax.lax.map(without, jnp.arange(count)).T


@functools.partial(jax.jit, static_argnames=("function", "layer"))
def patching(function: Any, params: Any, images: Array, others: Array, targets: Targets, layer: str) -> Array:
    """The change of the selected output when each unit of a layer alone gets the values it has on another image:
    (n, units). `others` (n, h, w, c) are those images (vig2020investigating, 3)."""
    values = inner(function, params, others, layer)
    before = selected(function(params, images), targets)

    def with_unit(unit: Array) -> Array:
        own = jnp.take(values, unit[None], axis=-1)
        return with_units(function, params, images, targets, layer, unit[None], own) - before

    return jax.lax.map(with_unit, jnp.arange(values.shape[-1])).T
