"""The built-in optimizers, as functions of the learning rate, and the registry of all."""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.typing import ArrayLike

from cnn_jax.registry import Registry

Make = Callable[..., optax.GradientTransformation]
F = TypeVar("F", bound=Make)


@dataclass(frozen=True)
class OptimizerEntry:
    """A registered optimizer: a function of the learning rate and its arguments, and the key of its publication."""

    make: Make
    source: str | None


OPTIMIZERS: Registry[OptimizerEntry] = Registry("optimizer", ", those of optax (optax.adam)")


def register_optimizer(name: str, source: str | None = None) -> Callable[[F], F]:
    """Registers a function of a learning rate, and any other arguments, that returns an optax `GradientTransformation`.
    Its parameters momentum, nesterov and weight_decay get the config fields of these names; all others come from
    `optimizer_args`. `source` is the key of its publication."""

    def add(make: F) -> F:
        OPTIMIZERS.add(name, OptimizerEntry(make, source))
        return make

    return add


def kernels(params: Any) -> Any:
    """A tree of booleans: True for the arrays that weight decay acts on. These are the kernels, and arrays of other
    names with more than one axis, except biases and the scales and offsets of norms."""
    excluded = ("bias", "scale", "mean", "var", "variance")

    def decays(path: tuple, leaf: Any) -> bool:
        name = getattr(path[-1], "key", None)
        return name == "kernel" or (name not in excluded and len(path) > 2 and leaf.ndim > 1)

    return jax.tree_util.tree_map_with_path(decays, params)


@register_optimizer("sgd", "sutskever2013importance")
def sgd(
    learning_rate: ArrayLike, momentum: ArrayLike, nesterov: bool, weight_decay: ArrayLike
) -> optax.GradientTransformation:
    """v = momentum · v + g (sutskever2013importance, equations 1 and 2)."""
    return optax.chain(_l2(weight_decay), optax.trace(momentum, nesterov), _scaled(learning_rate))


@register_optimizer("signsgd", "bernstein2018signsgd")
def signsgd(
    learning_rate: ArrayLike, momentum: ArrayLike, nesterov: bool, weight_decay: ArrayLike
) -> optax.GradientTransformation:
    """The sign of SGD's v (bernstein2018signsgd, algorithm 2)."""
    sign = optax.stateless(lambda v, _: jax.tree.map(jnp.sign, v))
    return optax.chain(_l2(weight_decay), optax.trace(momentum, nesterov), sign, _scaled(learning_rate))


@register_optimizer("adam", "kingma2015adam")
def adam(
    learning_rate: ArrayLike, momentum: ArrayLike, nesterov: bool, weight_decay: ArrayLike
) -> optax.GradientTransformation:
    """kingma2015adam, algorithm 1 (second-moment decay 0.999, epsilon 1e-8), weight decay in the gradient; with
    `nesterov` dozat2016incorporating, algorithm 8."""
    return optax.chain(_l2(weight_decay), optax.scale_by_adam(momentum, nesterov=nesterov), _scaled(learning_rate))


@register_optimizer("adamw", "loshchilov2019decoupled")
def adamw(
    learning_rate: ArrayLike, momentum: ArrayLike, nesterov: bool, weight_decay: ArrayLike
) -> optax.GradientTransformation:
    """Adam with decoupled weight decay (loshchilov2019decoupled, algorithm 2)."""
    return optax.chain(optax.scale_by_adam(momentum, nesterov=nesterov), _l2(weight_decay), _scaled(learning_rate))


@register_optimizer("muon", "jordan2024muon")
def muon(
    learning_rate: ArrayLike,
    momentum: ArrayLike,
    nesterov: bool,
    weight_decay: ArrayLike,
    sgd_momentum: float = 0.9,
    iterations: int = 5,
    unit_norm: bool = False,
) -> optax.GradientTransformation:
    """SGD whose update of the kernel of a convolution, as a matrix of filters, is made nearly orthogonal
    (jordan2024muon); all other parameters are trained by SGD with `sgd_momentum`.

    Args:
      iterations: of Newton and Schulz; more bring the singular values closer to 1.
      unit_norm: scale each kernel to the norm √filters before its update (jordan2024airbench, airbench94_muon).
    """
    rest = sgd(learning_rate, sgd_momentum, nesterov, weight_decay)
    matrices = optax.stateless(lambda v, _: jax.tree.map(functools.partial(_orthogonal, iterations), v))
    parts = [_l2(weight_decay), optax.trace(momentum, nesterov), matrices, _scaled(learning_rate)]
    filters = optax.chain(*parts, *([optax.stateless(_to_unit_norm)] if unit_norm else []))
    return optax.partition(
        {"filters": filters, "rest": rest},
        lambda params: jax.tree.map(lambda leaf: "filters" if leaf.ndim == 4 else "rest", params),
    )


class LookaheadState(NamedTuple):
    """The state of SGD, the slow weights, and the number of steps since they moved."""

    fast: Any
    slow: Any
    steps: Array


@register_optimizer("lookahead", "zhang2019lookahead")
def lookahead(
    learning_rate: ArrayLike,
    momentum: ArrayLike,
    nesterov: bool,
    weight_decay: ArrayLike,
    period: int = 5,
    slow_rate: float = 0.5,
) -> optax.GradientTransformation:
    """SGD whose weights, every `period` steps, go back to slow weights that have moved a share `slow_rate` of the way
    to them (zhang2019lookahead, algorithm 1); the momentum is kept."""
    inner = sgd(learning_rate, momentum, nesterov, weight_decay)

    def init(params: Any) -> LookaheadState:
        return LookaheadState(inner.init(params), jax.tree.map(jnp.copy, params), jnp.zeros((), jnp.int32))

    def update(gradient: Any, state: LookaheadState, params: Any) -> tuple[Any, LookaheadState]:
        updates, fast = inner.update(gradient, state.fast, params)
        back = state.steps + 1 == period
        towards = lambda slow, p, u: slow + slow_rate * (p + u - slow)  # noqa: E731
        slow = jax.tree.map(lambda s, p, u: jnp.where(back, towards(s, p, u), s), state.slow, params, updates)
        updates = jax.tree.map(lambda s, p, u: jnp.where(back, s - p, u), slow, params, updates)
        return updates, LookaheadState(fast, slow, jnp.where(back, 0, state.steps + 1))

    return optax.GradientTransformation(init, update)


OPTIMIZERS.seal()

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # jordan2024muon: the steepest at 0 that stays near 1


def _orthogonal(iterations: int, kernel: Array) -> Array:
    """The kernel, as a matrix (filters, weights), with singular values near 1 and the same singular vectors."""
    a, b, c = NEWTON_SCHULZ
    matrix = kernel.reshape(-1, kernel.shape[-1])
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / (jnp.linalg.norm(x) + 1e-7)
    for _ in range(iterations):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return (x.T if tall else x).reshape(kernel.shape)


def _to_unit_norm(updates: Any, params: Any) -> Any:
    """`updates` from kernels that are first scaled to a norm of √filters, 1 for each filter on average."""

    def scale(update: Array, kernel: Array) -> Array:
        return update + kernel * (math.sqrt(kernel.shape[-1]) / jnp.maximum(jnp.linalg.norm(kernel), 1e-12) - 1.0)

    return jax.tree.map(scale, updates, params)


def _l2(weight_decay: ArrayLike) -> optax.GradientTransformation:
    return optax.add_decayed_weights(weight_decay, mask=kernels)


def _scaled(learning_rate: ArrayLike) -> optax.GradientTransformation:
    return optax.scale_by_learning_rate(learning_rate)
