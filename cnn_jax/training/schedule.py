"""Learning rate schedules by name: built-in, user-defined, and all of optax."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import optax

from cnn_jax.errors import RequestError, quote, reason
from cnn_jax.registry import Registry

F = TypeVar("F", bound=Callable[..., Any])
OPTAX = "optax."
ONE_CYCLE = ((0.3, 1.0), (0.85, 1 / 25), (1.0, 1 / 25e4))  # (share of the steps, factor reached then), from 1/25
ENDINGS = ("_schedule", "exponential_decay")  # suffixes of the names of schedules in optax
PEAKS = ("peak_value", "init_value", "value")  # the parameters of optax schedules that scale the learning rate


@dataclass(frozen=True)
class ScheduleEntry:
    """A registered schedule: a function that returns factors of the learning rate, and the key of its publication."""

    factors: Callable[..., Any]
    source: str | None


SCHEDULES: Registry[ScheduleEntry] = Registry("schedule", ", those of optax (optax.cosine_decay_schedule)")


def register_schedule(name: str, source: str | None = None) -> Callable[[F], F]:
    """Registers a function that returns the factors of the learning rate at n steps, float [n].

    Its parameters get, by name: `step` (the number of each step after the warm-up, from 0, float [n]; negative in the
    warm-up), `steps` (the number of steps after the warm-up), `number` (the number of each step since the start of the
    run), `steps_per_epoch`, and `epochs`, `decay_epochs` and `decay_factor` of the config. All others come from
    `schedule_args`. `source` is the key of its publication.
    """

    def add(factors: F) -> F:
        SCHEDULES.add(name, ScheduleEntry(factors, source))
        return factors

    return add


@register_schedule("constant")
def constant(step: np.ndarray) -> np.ndarray:
    """1."""
    return np.ones(len(step))


@register_schedule("step")
def stepwise(
    number: np.ndarray, steps_per_epoch: int, decay_epochs: tuple[float, ...], decay_factor: float
) -> np.ndarray:
    """Multiplies by `decay_factor` at every milestone, counted from the start of the run including the warm-up."""
    milestones = [round(epoch * steps_per_epoch) for epoch in decay_epochs]
    reached = np.searchsorted(milestones, number, side="right")
    with np.errstate(over="ignore", under="ignore"):  # `check_schedule` reports it
        return np.power(decay_factor, reached.astype(float))


@register_schedule("cosine", "loshchilov2017sgdr")
def cosine(step: np.ndarray, steps: int) -> np.ndarray:
    """½ (1 + cos(π step / steps)): loshchilov2017sgdr, equation 5, without restarts."""
    return 0.5 * (1.0 + np.cos(np.pi * step / max(steps, 1)))


@register_schedule("onecycle", "smith2018super")
def one_cycle(step: np.ndarray, steps: int) -> np.ndarray:
    """Rises from 1/25 to 1 and falls to 1/25e4, piecewise linearly (smith2018super)."""
    shares, values = zip(*ONE_CYCLE, strict=True)
    return np.interp(step, [0, *(int(share * steps) for share in shares)], [1 / 25, *values])


@register_schedule("linear")
def linear(step: np.ndarray, steps: int) -> np.ndarray:
    """1 - step / steps."""
    return 1.0 - step / max(steps, 1)


@register_schedule("trapezoid", "hagele2024scaling")
def trapezoid(step: np.ndarray, steps: int, cooldown: float = 0.2) -> np.ndarray:
    """1, and in the last share `cooldown` of the steps linearly down to 0 (hagele2024scaling, equation 1)."""
    if not 0 < cooldown <= 1:
        raise RequestError(f"cooldown = {cooldown} is a share of the steps, above 0 and at most 1")
    return np.minimum(1.0, (steps - step) / max(cooldown * steps, 1))


SCHEDULES.seal()


def parameters_of(name: str) -> tuple[str, ...]:
    """The names of the parameters of a schedule. Raises RequestError for an unknown schedule."""
    if name.startswith(OPTAX):
        return tuple(inspect.signature(_optax(name)).parameters)
    return tuple(inspect.signature(SCHEDULES[name].factors).parameters)


def learning_rates(config: Any, steps_per_epoch: int, numbers: np.ndarray) -> np.ndarray:
    """The learning rates of the steps with these numbers, counted from 0 at the start of the run: float32 (steps,)."""
    warmup = warmup_steps(config, steps_per_epoch)
    facts = {
        "step": numbers - warmup, "steps": config.epochs * steps_per_epoch - warmup, "number": numbers,
        "steps_per_epoch": steps_per_epoch, "epochs": config.epochs, "decay_epochs": config.decay_epochs,
        "decay_factor": config.decay_factor,
    }  # fmt: skip
    factors = np.where(numbers < warmup, (numbers + 1) / max(warmup, 1), _factors(config, facts))
    with np.errstate(over="ignore", under="ignore"):
        return (config.learning_rate * factors).astype(np.float32)


def _factors(config: Any, facts: dict[str, Any]) -> np.ndarray:
    """The factors of the learning rate. Raises RequestError for an unknown argument, or if the schedule fails."""
    names, given = parameters_of(config.schedule), dict(config.schedule_args)
    if unknown := [name for name in given if name not in names]:
        takes = ", ".join(name for name in names if name not in facts) or "none"
        raise RequestError(f"{config.schedule} has no argument {quote(unknown[0])}; it has {takes}")
    try:
        if config.schedule.startswith(OPTAX):
            schedule = _optax(config.schedule)(**_defaults(_optax(config.schedule), facts["steps"]) | given)
            return np.asarray(jax.vmap(schedule)(jnp.asarray(np.maximum(facts["step"], 0))), float)
        known = {name: value for name, value in facts.items() if name in names}
        return np.asarray(SCHEDULES[config.schedule].factors(**known | given), float)
    except RequestError:
        raise
    except Exception as error:  # of any type: the code is not ours
        raise RequestError(f"schedule {config.schedule} with {given or 'no arguments'}: {reason(error)}") from error


def _optax(name: str) -> Callable[..., Any]:
    make = getattr(optax, name.removeprefix(OPTAX), None)
    if not callable(make) or not name.endswith(ENDINGS):
        names = ", ".join(OPTAX + n for n in dir(optax) if n.endswith(ENDINGS))
        raise RequestError(f"schedule {quote(name)} is not in optax: there are {names}")
    return make


def _defaults(make: Callable[..., Any], steps: int) -> dict[str, Any]:
    """Defaults of required arguments: factors relative to 1, over all steps of the run."""
    needed = [name for name, p in inspect.signature(make).parameters.items() if p.default is p.empty]
    peak = next((name for name in PEAKS if name in needed), None)
    defaults: dict[str, Any] = {name: steps for name in needed if name in ("decay_steps", "transition_steps")}
    return defaults | ({peak: 1.0} if peak else {})


def warmup_steps(config: Any, steps_per_epoch: int) -> int:
    """The number of steps over which the learning rate rises from 0."""
    return round(config.warmup_epochs * steps_per_epoch)


def check_schedule(config: Any, steps_per_epoch: int) -> list[str]:
    """A warning for each part of the schedule that never acts in a run with so many steps per epoch. Raises
    RequestError for a schedule that is impossible in so few steps, or not finite."""
    total, warmup = config.epochs * steps_per_epoch, warmup_steps(config, steps_per_epoch)
    of = f"of {total} steps ({steps_per_epoch} per epoch)"
    if config.schedule == "onecycle" and int(ONE_CYCLE[0][0] * total) < 1:
        raise RequestError(f"schedule 'onecycle' cannot rise and fall in a run {of}: it needs at least 4")
    milestones = [round(epoch * steps_per_epoch) for epoch in config.decay_epochs]
    changes = np.array([step for step in milestones if step < total], int)
    if config.schedule not in ("constant", "step", "cosine", "linear", "onecycle"):  # these may change at any step
        changes = np.unique(np.linspace(0, total - 1, 1000).astype(int))
    rates = learning_rates(config, steps_per_epoch, changes)
    if not np.isfinite(rates).all():
        raise RequestError(f"the learning rate is not finite from step {changes[~np.isfinite(rates)][0]} on, {of}")
    notes = []
    if config.warmup_epochs and warmup < 2:
        notes.append(f"warmup_epochs = {config.warmup_epochs:g} never acts: it is {warmup} {of}")
    if config.schedule in ("cosine", "linear") and total - warmup < 2:
        notes.append(f"schedule {config.schedule!r} never acts: it has {total - warmup} {of}")
    for epoch, step in zip(config.decay_epochs, milestones, strict=True):
        if step >= total:
            notes.append(f"the decay after epoch {epoch:g} never acts: it rounds to the end {of}")
        elif step == total - 1:
            notes.append(f"the decay after epoch {epoch:g} acts on the last step alone, {of}")
        elif step == 0:
            notes.append(f"the decay after epoch {epoch:g} acts from the first step on: it rounds to the start {of}")
    if config.schedule == "step" and (zero := rates < np.finfo(np.float32).tiny).any():
        notes.append(f"from step {changes[zero][0]} on nothing is learned: the learning rate is 0 in float32")
    return notes
