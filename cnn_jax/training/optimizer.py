"""Optimizers by name: built-in, user-defined, and all of optax.

The learning rate and, if optax allows it, all other numbers of an optimizer are arguments of the compiled step, so that
changing them does not recompile it.
"""

import dataclasses
import difflib
import functools
import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.typing import ArrayLike

from cnn_jax.errors import RequestError, quote, reason
from cnn_jax.training.groups import Groups, by_group
from cnn_jax.training.rules import OPTIMIZERS, Make

OPTAX = "optax."
SHARED = {"momentum": 0.9, "nesterov": False, "weight_decay": 0.0}  # defaults of the shared config fields


@dataclass(frozen=True)
class Optimizer:
    """The part of an optimizer that determines the compiled step.

    Attributes:
      make: the function that returns the transformation.
      static: arguments that are not traced.
      traced: names of the arguments that are traced numbers.
      clip: whether the gradient is clipped first.
      rates: the groups of parameters with a factor on the learning rate of their own.
      decays: those with a weight decay of their own.
    """

    make: Make
    static: tuple[tuple[str, Any], ...]
    traced: tuple[str, ...]
    clip: bool
    rates: Groups = ()
    decays: Groups = ()

    def __call__(self, learning_rate: ArrayLike, hparams: Mapping[str, Any]) -> optax.GradientTransformationExtraArgs:
        """The transformation of the gradient into an update, which is added to the parameters. Clipping comes first, so
        that it excludes the weight decay."""
        traced = {name: hparams["optimizer"][name] for name in self.traced}
        parts = [self.make(learning_rate, **dict(self.static), **traced)]
        if self.decays:
            decay = lambda group, g, p: g + hparams["decays"][group] * p  # noqa: E731
            parts.insert(0, optax.stateless(lambda g, params: by_group(self.decays, decay, g, params)))
        if self.clip:
            parts.insert(0, optax.clip_by_global_norm(hparams["clip_norm"]))
        if self.rates:
            scale = lambda group, update: hparams["rates"][group] * update  # noqa: E731
            parts.append(optax.stateless(lambda updates, _: by_group(self.rates, scale, updates)))
        return optax.with_extra_args_support(optax.chain(*parts) if len(parts) > 1 else parts[0])

    @property
    def averages(self) -> bool:
        """Whether the optimizer keeps averaged weights, which are evaluated instead of those that it trains: the
        schedule-free ones (defazio2024road)."""
        return getattr(self.make, "__name__", "").startswith("schedule_free")

    def averaged(self, opt_state: Any, params: Any) -> Any:
        """The averaged weights of an optimizer that `averages`."""
        from optax import contrib  # late: few need it

        kind = contrib.ScheduleFreeState
        states = jax.tree.leaves(opt_state, is_leaf=lambda node: isinstance(node, kind))
        (own,) = (state for state in states if isinstance(state, kind))
        return contrib.schedule_free_eval_params(own, params)

    @functools.cached_property
    def keeps_zeros(self) -> bool:
        """Whether parameters that are zero, with a gradient of zero, stay zero and change no others: found by trying
        arrays of the usual numbers of axes, large enough for optimizers that factor large ones."""
        shapes = {"conv": {"kernel": (3, 3, 2, 3), "bias": (3,)}, "dense": {"kernel": (130, 129), "bias": (129,)}}
        more = {"conv": {"kernel": (3, 3, 4, 5), "bias": (5,)}, "dense": {"kernel": (140, 135), "bias": (135,)}}
        is_shape = lambda shape: isinstance(shape, tuple)  # noqa: E731

        def widened(tree: Any) -> Any:
            def pad(shape: tuple[int, ...], leaf: Array) -> Array:
                return jnp.pad(leaf, [(0, m - n) for m, n in zip(shape, leaf.shape, strict=True)])

            return jax.tree.map(pad, more, tree, is_leaf=is_shape)

        def steps(params: Any, gradients: list[Any]) -> Any:
            hparams = {"clip_norm": 1.0, "optimizer": dict.fromkeys(self.traced, 0.5)}
            transformation = dataclasses.replace(self, rates=(), decays=())(0.1, hparams)
            state = transformation.init(params)
            for gradient in gradients:
                updates, state = transformation.update(gradient, state, params, value=jnp.float32(1.0), grad=gradient)
                params = optax.apply_updates(params, updates)
            return params

        @jax.jit
        def both(params: Any, gradients: list[Any]) -> tuple[Any, Any]:
            return widened(steps(params, gradients)), steps(widened(params), list(map(widened, gradients)))

        trees = [jax.tree.map(functools.partial(_uneven, i), shapes, is_leaf=is_shape) for i in range(4)]
        params, gradients = trees[0], trees[1:]
        narrow, wide = both(params, gradients)
        return all(
            np.allclose(a, b, rtol=1e-5, atol=1e-6) and not np.asarray(b)[np.asarray(a) == 0].any()
            for a, b in zip(jax.tree.leaves(narrow), jax.tree.leaves(wide), strict=True)
        )


def _uneven(number: int, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers of both signs, no two alike, float32 of this shape."""
    return np.cos(np.arange(number, number + math.prod(shape), dtype=np.float32)).reshape(shape)


def optimizer_of(config: Any) -> tuple[Optimizer, dict[str, float]]:
    """The optimizer of a config and its traced numbers. Raises RequestError for an unknown optimizer or argument, and
    for values that it does not accept."""
    make, arguments = _make(config.optimizer), dict(config.optimizer_args)
    parameters = inspect.signature(make).parameters
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    if unknown := [name for name in arguments if name not in parameters and not open_ended]:
        names = ", ".join(name for name in parameters if name != "learning_rate") or "none"
        raise RequestError(f"{config.optimizer} has no argument {quote(unknown[0])}; it has {names}")
    if "learning_rate" in arguments:
        raise RequestError("optimizer_args: the learning rate is a field of its own: learning_rate")
    shared = {"momentum": config.momentum, "nesterov": config.nesterov, "weight_decay": config.weight_decay}
    for name, given in shared.items():
        if config.optimizer.startswith(OPTAX) or name not in parameters:
            if given != SHARED[name]:
                instead = f"give optimizer_args {name}=…" if name in parameters else f"it has no {name}"
                raise RequestError(f"{name} = {given!r} is not for {config.optimizer}: {instead}")
        elif name not in arguments:
            arguments[name] = given
    needed = [n for n, p in parameters.items() if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
    if missing := [name for name in needed if name not in arguments and name != "learning_rate"]:
        raise RequestError(f"{config.optimizer} needs {missing[0]}: optimizer_args {missing[0]}=…")
    traced = _traceable(make, tuple(sorted(arguments.items())))
    static = tuple((name, arguments[name]) for name in sorted(arguments) if name not in traced)
    optimizer = Optimizer(make, static, traced, config.clip_norm is not None)
    return optimizer, {name: float(arguments[name]) for name in traced}


def _make(name: str) -> Make:
    if not name.startswith(OPTAX):
        return OPTIMIZERS[name].make
    make: Any = optax
    for word in name.split(".")[1:]:
        make = getattr(make, word, None)
    if not callable(make) or next(iter(inspect.signature(make).parameters), None) != "learning_rate":
        near = difflib.get_close_matches(name.removeprefix(OPTAX), optax_optimizers(), n=5) or optax_optimizers()
        raise RequestError(f"optimizer {quote(name)} is not in optax: try {', '.join(OPTAX + n for n in near)}")
    return make


@functools.cache
def optax_optimizers() -> list[str]:
    """The names of the functions in optax whose first parameter is the learning rate."""
    functions = {name: value for name, value in vars(optax).items() if inspect.isfunction(value)}
    return [
        name
        for name, function in functions.items()
        if next(iter(inspect.signature(function).parameters), "") == "learning_rate"
        and not name.startswith(("_", "scale_by"))
    ]


@functools.lru_cache(maxsize=256)
def _traceable(make: Make, arguments: tuple[tuple[str, Any], ...]) -> tuple[str, ...]:
    """The names of the numbers that may be traced. Raises RequestError if the optimizer does not accept the arguments
    even as constants."""
    numbers = [name for name, value in arguments if isinstance(value, float)]

    def failure(traced: list[str]) -> Exception | None:
        rest = {name: value for name, value in arguments if name not in traced}

        def step(rate: Array, values: dict[str, Array]) -> Any:
            params = {"layer": {"kernel": jnp.ones((3, 2)), "bias": jnp.ones(2)}}
            transformation = optax.with_extra_args_support(make(rate, **rest, **values))
            return transformation.update(
                params, transformation.init(params), params, value=jnp.float32(1.0), grad=params
            )

        try:
            jax.eval_shape(step, jnp.float32(0.1), {name: jnp.float32(0.5) for name in traced})
        except Exception as error:  # of any type: the code is not ours
            return error
        return None

    if (error := failure([])) is not None:
        raise RequestError(f"the optimizer cannot be used with {dict(arguments)}: {reason(error)}") from error
    if failure(numbers) is None:
        return tuple(numbers)
    return tuple(name for name in numbers if failure([name]) is None)
