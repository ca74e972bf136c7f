"""Backward passes of their own: rules that stand for the layers of a network, leave its values as they are and change
its derivative. Guided backpropagation, the deconvnet, DeepLIFT and layer-wise relevance propagation are gradients of a
network under such a rule.

They need to know the layers. Those of a `Network` are known, unless they are user-defined modules; in any other
function the operations that make a layer are found by tracing it (`traced`). DeepLIFT explains a `Network` alone.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from jax import Array
from jax.lax import stop_gradient

from cnn_jax.errors import RequestError
from cnn_jax.forward import Rule, Variables
from cnn_jax.insight.functions import Function, Ruled, Targets, selected
from cnn_jax.insight.traced import Traced
from cnn_jax.layers import (
    Activation,
    BatchNorm,
    Conv,
    Dense,
    GlobalPool,
    GroupNorm,
    LayerNorm,
    LeakyReLU,
    LocalResponseNorm,
    Pool,
    PReLU,
    RadialBasis,
)
from cnn_jax.network import Network
from cnn_jax.nodes import Node

Apply = Callable[[Variables, Array], Array]
Signal = Literal["guided", "deconvnet", "redirected"]
SMALL = 1e-6  # a difference of inputs below which DeepLIFT takes the derivative


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _relu(signal: Signal, x: Array) -> Array:
    return jax.nn.relu(x)


def _relu_forward(signal: Signal, x: Array) -> tuple[Array, Array]:
    return jax.nn.relu(x), x > 0


def _relu_backward(signal: Signal, active: Array, cotangent: Array) -> tuple[Array]:
    positive = cotangent > 0
    passes = {"guided": positive & active, "deconvnet": positive, "redirected": positive | active}[signal]
    return (jnp.where(passes, cotangent, 0),)


_relu.defvjp(_relu_forward, _relu_backward)


@dataclass(frozen=True)
class ReLURule:
    """Another backward pass through ReLUs.

    'deconvnet' passes the positive part of the signal (zeiler2014visualizing, 2.1, "rectification"). 'guided' passes
    it only where the input was positive (springenberg2015striving, 3.4). 'redirected' passes the signal where it or the
    input is positive, so that an inactive unit can become active (olah2017feature).
    """

    signal: Signal

    def __call__(self, node: Node, apply: Apply, variables: Variables, x: Array) -> Array:
        return _relu(self.signal, x) if node.layer == Activation("relu") else apply(variables, x)


@dataclass(frozen=True)
class DeepLift:
    """The rescale rule (shrikumar2017learning, 3.5.1), for a batch whose second half are the baselines of the first.

    Through a nonlinearity the multiplier is the difference of its outputs over that of its inputs; a max pool passes
    the difference of its outputs to where the image has its maximum. Through everything else it is the derivative, so
    that contributions need not add up through norms that divide by what they see.
    """

    def __call__(self, node: Node, apply: Apply, variables: Variables, x: Array) -> Array:
        kind = node.layer
        if isinstance(kind, Activation | LeakyReLU | PReLU):
            y, derivative = jax.jvp(lambda x: apply(variables, x), (x,), (jnp.ones_like(x),))
            difference, change = _difference(x), _difference(y)
            small = jnp.abs(difference) < SMALL
            multiplier = jnp.where(small, derivative, change / jnp.where(small, 1.0, difference))
            return stop_gradient(y) + stop_gradient(multiplier) * (x - stop_gradient(x))
        if isinstance(kind, Pool) and kind.kind == "max":
            return _max_rescaled(lambda x: apply(variables, x), x)
        return apply(variables, x)


def _difference(x: Array) -> Array:
    """The first half minus the second, for both halves."""
    image, baseline = jnp.split(x, 2)
    return jnp.concatenate([image - baseline] * 2)


def _max_rescaled(pool: Callable[[Array], Array], x: Array) -> Array:
    y, back = jax.vjp(pool, stop_gradient(x))
    difference, change = _difference(stop_gradient(x)), _difference(y)
    small = jnp.abs(difference) < SMALL

    @jax.custom_vjp
    def rescaled(x: Array) -> Array:
        return pool(x)

    def forward(x: Array) -> tuple[Array, None]:
        return pool(x), None

    def backward(_: None, cotangent: Array) -> tuple[Array]:
        (plain,) = back(cotangent)
        (placed,) = back(cotangent * change)
        return (jnp.where(small, plain, placed / jnp.where(small, 1.0, difference)),)

    rescaled.defvjp(forward, backward)
    return rescaled(x)


LayerRule = Literal["epsilon", "gamma", "alpha_beta", "z_plus"]
PASSED = (Activation, LeakyReLU, PReLU)
UNKNOWN = (LayerNorm, GroupNorm, LocalResponseNorm, RadialBasis)


@dataclass(frozen=True)
class Relevance:
    """Layer-wise relevance propagation (bach2015pixel; montavon2019layer): the relevance of a layer's output is shared
    among its inputs in proportion to their contributions.

    Attributes:
      convolution, dense: the rule for convolutions, and for dense layers: 'epsilon' (montavon2019layer, 10.2.1),
        'gamma' (10.2.1), 'alpha_beta' (bach2015pixel, equation 60) or 'z_plus', which is alpha_beta with 1 and 0.
      epsilon: added to the size of every sum of contributions.
      gamma: by which positive weights are favoured.
      alpha: the weight of positive contributions; beta, that of negative ones, is alpha - 1.

    Average pools and batch norms have the epsilon rule, max pools give all to the maximum, nonlinearities pass
    relevance on. In a sum each term gets its share. Biases keep what they contribute: the rest adds up to less.
    """

    convolution: LayerRule = "epsilon"
    dense: LayerRule = "epsilon"
    epsilon: float = 1e-6
    gamma: float = 0.25
    alpha: float = 2.0
    strict: ClassVar[str] = "relevance propagation"  # refuses an operation that it does not know

    def __call__(self, node: Node, apply: Apply, variables: Variables, x: Array) -> Array:
        kind = node.layer
        if isinstance(kind, UNKNOWN):
            raise RequestError(f"{node.name}: relevance propagation has no rule for {type(kind).__name__}")
        if isinstance(kind, PASSED):
            y = apply(variables, x)
            return x * stop_gradient(jnp.where(x == 0, 0.0, y / jnp.where(x == 0, 1.0, x))) + stop_gradient(
                jnp.where(x == 0, y, 0.0)
            )
        if isinstance(kind, Conv | Dense):
            return self._weighted(self.convolution if isinstance(kind, Conv) else self.dense, apply, variables, x)
        if isinstance(kind, BatchNorm | GlobalPool) or (isinstance(kind, Pool) and kind.kind == "avg"):
            return self._shared(apply(variables, x), apply(variables, x))
        return apply(variables, x)

    def _shared(self, z: Array, contributions: Array) -> Array:
        """z, with the derivative of `contributions`, which are scaled to add up to it."""
        sign = jnp.where(contributions >= 0, 1.0, -1.0)
        return contributions * stop_gradient(z / (contributions + self.epsilon * sign)) + stop_gradient(
            z - contributions * (z / (contributions + self.epsilon * sign))
        )

    def _weighted(self, rule: LayerRule, apply: Apply, variables: Variables, x: Array) -> Array:
        z = apply(variables, x)
        if rule == "epsilon":
            return self._shared(z, z)
        if rule == "gamma":
            favoured = _with_weights(variables, lambda w: w + self.gamma * jnp.maximum(w, 0))
            return self._shared(z, apply(favoured, x))
        alpha = 1.0 if rule == "z_plus" else self.alpha
        positive, negative = (_with_weights(variables, clip) for clip in (_positive, _negative))
        gains = apply(positive, jnp.maximum(x, 0)) + apply(_without_bias(negative), jnp.minimum(x, 0))
        losses = apply(negative, jnp.maximum(x, 0)) + apply(_without_bias(positive), jnp.minimum(x, 0))
        share = stop_gradient(alpha * z / (gains + self.epsilon))
        found = gains * share
        if alpha > 1:
            found = found + losses * stop_gradient((1.0 - alpha) * z / (losses - self.epsilon))
        return found + stop_gradient(z - found)


def _positive(w: Array) -> Array:
    return jnp.maximum(w, 0)


def _negative(w: Array) -> Array:
    return jnp.minimum(w, 0)


def _with_weights(variables: Variables, function: Callable[[Array], Array]) -> dict[str, Any]:
    return {**variables, "params": jax.tree.map(function, variables["params"])}


def _without_bias(variables: Variables) -> dict[str, Any]:
    params = {name: jnp.zeros_like(w) if name == "bias" else w for name, w in variables["params"].items()}
    return {**variables, "params": params}


def ruled(function: Function, rule: Rule) -> Function:
    """A function in which a rule stands for every layer, or for the operations that are traced."""
    return Ruled(function, rule) if isinstance(function, Network) else Traced(function, rule)


@functools.partial(jax.jit, static_argnames=("network", "rule"))
def ruled_gradient(network: Function, variables: Any, images: Array, targets: Targets, rule: Rule) -> Array:
    """The derivative of the selected output with respect to every pixel under a rule, (n, h, w, c)."""
    f = ruled(network, rule)
    return jax.grad(lambda x: selected(f(variables, x), targets).sum())(images)


def guided_backpropagation(network: Function, variables: Any, images: Array, targets: Targets) -> Array:
    """The gradient with ReLUs that backpropagate a signal only where their input and the signal are both positive
    (springenberg2015striving, 3.4)."""
    return ruled_gradient(network, variables, images, targets, ReLURule("guided"))


def deconvnet(network: Function, variables: Any, images: Array, targets: Targets) -> Array:
    """The deconvnet's projection to the pixels (zeiler2014visualizing, 2.1): max unpooling to the positions of the
    maxima (switches), ReLU applied to the backward signal, transposed filters."""
    return ruled_gradient(network, variables, images, targets, ReLURule("deconvnet"))


@functools.partial(jax.jit, static_argnames=("network",))
def deep_lift(
    network: Network, variables: Variables, images: Array, targets: Targets, baseline: Array | None = None
) -> Array:
    """DeepLIFT with the rescale rule (shrikumar2017learning, 3.5.1): contributions (n, h, w, c) that add up to the
    difference of the logit from that of the baseline, by default zero, the mean image. Raises RequestError for another
    function than a `Network`."""
    if not isinstance(network, Network):
        raise RequestError("DeepLIFT explains networks of this package alone: it compares layers of two images")
    start = jnp.zeros_like(images) if baseline is None else jnp.broadcast_to(baseline, images.shape)
    f = Ruled(network, DeepLift())

    def score(images: Array) -> Array:
        both = f(variables, jnp.concatenate([images, start]))
        return selected(both[: len(images)], targets).sum()

    return jax.grad(score)(images) * (images - start)


def relevance(
    network: Function,
    variables: Any,
    images: Array,
    targets: Targets,
    rule: Relevance = Relevance(),  # noqa: B008
) -> Array:
    """Layer-wise relevance propagation: the share (n, h, w, c) of every pixel in the selected logit, by `rule`."""
    return ruled_gradient(network, variables, images, targets, rule) * images
