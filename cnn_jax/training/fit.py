"""The loop: an iterator of events. It draws no bars, writes no files and stops when its user stops asking."""

import math
import threading
import time
from collections.abc import Collection, Generator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cnn_jax import metrics
from cnn_jax.metrics import EpochMetrics, Evaluation, Totals
from cnn_jax.training.config import Config
from cnn_jax.training.epoch import Streamed, opened, stacked
from cnn_jax.training.state import Examples, Program, TrainState, initial_state
from cnn_jax.training.step import Together, batches, compiled_evaluate_steps, home_device, replicate

POLL_SECONDS = 0.2  # how long the device is left alone, so that a caller can show progress, save or stop
GROWTH = 8.0  # at most, from one number of steps without a word to the next
_compiling = threading.Lock()  # two workers that need the same program wait for each other
_compiled: set[tuple] = set()  # programs with the shapes that this process has compiled them for


@dataclass(frozen=True)
class Event:
    """A run as it stands between two steps. `state` is good until the next event is asked for.

    `evaluation` is set at the end of an epoch. `nonfinite` says that after `step` the loss (of a batch, or at the end
    of an epoch that of a split) or a parameter was not finite; there is no state then. `paused` marks the events that
    were asked for. Do not resume from a paused state: its epoch may be complete but not yet evaluated.
    `images` were trained on so far by this loop, in `seconds` of steps alone.
    """

    step: int
    epoch: int
    state: Any
    evaluation: EpochMetrics | None = None
    nonfinite: bool = False
    paused: bool = False
    images: int = 0
    seconds: float = 0.0


class Stretch:
    """How many steps to take at once, so that they last about POLL_SECONDS."""

    def __init__(self) -> None:
        self.steps = 1

    def took(self, steps: int, seconds: float) -> None:
        """Learns from what `steps` steps have taken."""
        factor = min(GROWTH, POLL_SECONDS / max(seconds, 1e-6))
        self.steps = max(1, int(steps * factor))


class _Score:
    """Scores every example of a split once, in one program."""

    def __init__(self, program: Program, together: Together, trials: int, examples: Examples, batch_size: int):
        self.examples, self.n = examples, examples.labels.shape[0]
        made = batches(np.arange(self.n), batch_size, program.devices)
        self.batches = replicate(program.devices, made)
        self.zero = replicate(program.devices, stacked([metrics.zero()] * trials, together))
        self._run = compiled_evaluate_steps(program, together)

    def run(self, state: TrainState, totals: Totals, first: int, last: int) -> Totals:
        return self._run(state, self.examples, self.batches, first, last, totals)

    def __call__(self, state: TrainState) -> Totals:
        total = jax.device_get(self.run(state, self.zero, 0, self.batches.mask.shape[0]))
        assert (total.examples == self.n).all(), f"{total.examples} of {self.n} examples were scored"
        return total


def evaluate(program: Program, state: TrainState, examples: Examples, batch_size: int) -> Evaluation:
    """Scores every example of a split once: the average weights if the program keeps them, else the current ones."""
    return Evaluation.of(_Score(program, None, 1, examples, batch_size)(state))


def compile_program(
    configs: Sequence[Config], program: Program, together: Together, train: Examples | Streamed, validation: Examples
) -> float:
    """Compiles the steps that `fit` will take and returns the seconds that took, 0 where the same program has been
    compiled for the same shapes before. No step is taken."""
    train_shape = train.images.shape if isinstance(train, Examples) else (len(train.labels), *train.stream.image_shape)
    shapes = (
        program, together, len(configs), configs[0].batch_size, train_shape, validation.images.shape, home_device()
    )  # fmt: skip
    with _compiling:
        if shapes in _compiled:
            return 0.0
        seconds = _compile(configs, program, together, train, validation)
        _compiled.add(shapes)
    return seconds


def _compile(
    configs: Sequence[Config], program: Program, together: Together, train: Examples | Streamed, validation: Examples
) -> float:
    started = time.perf_counter()
    state = initial_states(configs, program, together)
    score = _Score(program, together, len(configs), validation, configs[0].batch_size)
    jax.block_until_ready(score.run(state, score.zero, 0, 0))
    with opened(configs, program, together, train, 0) as epoch:
        epoch.limit(0)
        jax.block_until_ready(epoch.run(state, 0, 0))
    return time.perf_counter() - started


def initial_states(configs: Sequence[Config], program: Program, together: Together) -> TrainState:
    """The states of the trials before the first step, stacked where they are trained together."""
    return replicate(program.devices, stacked([initial_state(config, program) for config in configs], together))


def fit(
    configs: Sequence[Config],
    program: Program,
    together: Together,
    train: Examples | Streamed,
    validation: Examples,
    state: TrainState,
    pause_at: Collection[int] = (),
) -> Generator[list[Event], None, None]:
    """Trains from `state` (the initial one, or one that was saved) to the last epoch, yielding events at the end of
    every epoch, after the steps in `pause_at`, and about every POLL_SECONDS between. Ends when all trials diverged.

    There is one trial, or with `together` several that share a program and a number of epochs, and `state` has a
    leading axis of trials. Each yield has an event for every trial; one that has diverged goes on saying so. `state`
    and those of the events are used up when the next events are asked for.
    """
    examples = train.labels.shape[0]
    batch_size = configs[0].batch_size
    steps_per_epoch = math.ceil(examples / batch_size)
    trials = range(len(configs))
    step = int(np.asarray(state.step).flat[0])
    images, seconds, stretch = 0, 0.0, Stretch()
    unscored = np.full(len(configs), -1)  # the step at which the validation loss of a trial was not finite

    def of(trial: int, tree: Any) -> Any:
        return tree if together is None else jax.tree.map(lambda leaf: leaf[trial], tree)

    def events(epoch: int, bad: np.ndarray, evaluations: Sequence[EpochMetrics | None], paused: bool) -> list[Event]:
        return [
            Event(int(bad[i]), epoch, None, nonfinite=True) if bad[i] >= 0
            else Event(step, epoch, of(i, state), evaluations[i], False, paused, images, seconds / len(configs))
            for i in trials
        ]  # fmt: skip

    score = _Score(program, together, len(configs), validation, batch_size)
    nothing: list[None] = [None] * len(configs)
    for number in range(step // steps_per_epoch, configs[0].epochs):
        with opened(configs, program, together, train, number) as epoch:
            while step < epoch.end:
                last = min(step + stretch.steps, epoch.limit(step), *(pause for pause in pause_at if pause > step))
                started = time.perf_counter()
                state = epoch.run(state, step, last)
                bad = np.atleast_1d(jax.device_get(state.diverged_step))
                bad = np.where(unscored >= 0, unscored, bad)
                spent = time.perf_counter() - started
                stretch.took(last - step, spent)
                seconds += spent
                done = min((last - epoch.first) * batch_size, examples)
                images += done - (step - epoch.first) * batch_size
                step = last
                if (bad >= 0).all():
                    yield events(number, bad, nothing, False)
                    return
                # No other event at the end of an epoch: its evaluation comes next, and belongs to the same step.
                if step < epoch.end or step in pause_at:
                    yield events(number, bad, nothing, step in pause_at)

        trained, scored = jax.device_get(state.totals), score(state)
        rates = [float(epoch.rates[i][-1]) for i in trials]
        train_scores, scores = ([Evaluation.of(of(i, totals)) for i in trials] for totals in (trained, scored))
        evaluations = [EpochMetrics(number + 1, step, train_scores[i], scores[i], rates[i]) for i in trials]
        finite = np.isfinite([train_scores[i].loss + scores[i].loss for i in trials])
        unscored = np.where((bad < 0) & ~finite, step, unscored)
        bad = np.where(unscored >= 0, unscored, bad)
        state = state._replace(totals=jax.tree.map(jnp.zeros_like, state.totals))
        yield events(number + 1, bad, evaluations, False)
        if (bad >= 0).all():
            return
