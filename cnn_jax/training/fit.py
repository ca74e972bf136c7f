"""The training loop: a generator of events. It prints nothing, writes no files and stops when it is closed."""

import concurrent.futures
import contextlib
import functools
import math
import threading
import time
from collections.abc import Callable, Collection, Generator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cnn_jax import metrics
from cnn_jax.metrics import EpochMetrics, Evaluation, Totals
from cnn_jax.training.averaged import with_fresh_statistics
from cnn_jax.training.config import Config
from cnn_jax.training.devices import gather, home_device
from cnn_jax.training.epoch import StreamedExamples, steps_of_epoch
from cnn_jax.training.schedule import learning_rates
from cnn_jax.training.state import Examples, Program, TrainState, hparams_of, initial_state, state_shapes
from cnn_jax.training.step import Batch, HParams, batches, evaluate_steps, train_steps
from cnn_jax.training.trials import stack, unstack
from cnn_jax.training.union import alone, narrowed, whole, widened

POLL_SECONDS = 0.2  # target duration of a dispatch, after which a caller can show progress, save or stop
GROWTH = 8.0  # maximum factor by which the number of steps per dispatch grows at a time
_compiling = threading.Lock()  # held to look up a lock below
_locks: dict[tuple, threading.Lock] = {}  # two workers that need the same program wait for each other
_compiled: dict[tuple, float] = {}  # the programs that this process has compiled, and the seconds that took


@dataclass(frozen=True)
class Event:
    """The state of a run between two steps.

    Attributes:
      step: number of steps done.
      epoch: number of epochs done.
      state: computed when asked for, until the next event is requested; None if `nonfinite`.
      evaluation: set at the end of an epoch.
      nonfinite: whether after `step` the loss (of a batch or, at the end of an epoch, of a split) or a parameter was
        not finite.
      paused: whether the event was requested by `pause_at`. Do not resume from a paused state: its epoch may be
        complete but not yet evaluated.
      images: number of images that this loop has trained on so far.
      seconds: this trial's share of the time spent in training steps so far.
    """

    step: int
    epoch: int
    read_state: Callable[[], TrainState] | None
    evaluation: EpochMetrics | None = None
    nonfinite: bool = False
    paused: bool = False
    images: int = 0
    seconds: float = 0.0

    @functools.cached_property
    def state(self) -> TrainState | None:
        return None if self.read_state is None else self.read_state()


class StepsPerDispatch:
    """Chooses the number of steps per dispatch such that they take about POLL_SECONDS."""

    def __init__(self) -> None:
        self.steps = 1

    def update(self, steps: int, seconds: float) -> None:
        """Adapts to the last dispatch, in which `steps` steps took `seconds`."""
        factor = min(GROWTH, POLL_SECONDS / max(seconds, 1e-6))
        self.steps = max(1, int(steps * factor))


class _Evaluator:
    """Evaluates every example of a split once, in one program."""

    def __init__(self, program: Program, trials: int, examples: Examples, batch_size: int):
        self.program, self.examples, self.n = program, examples, examples.labels.shape[0]
        self.batches = program.replicate(batches(np.arange(self.n), batch_size, program.devices))
        self.zero = program.replicate(stack(program.transform, [metrics.zero()] * trials))

    def run(self, state: TrainState, count: int) -> Totals:
        """The totals of the first `count` batches."""
        return evaluate_steps(self.program, state, self.examples, self.batches, 0, count, self.zero)

    def __call__(self, state: TrainState) -> Totals:
        total = jax.device_get(self.run(state, self.batches.mask.shape[0]))
        assert (total.examples == self.n).all(), f"{total.examples} of {self.n} examples were scored"
        return total


def evaluate(program: Program, state: TrainState, examples: Examples, batch_size: int) -> Evaluation:
    """Evaluates every example of a split once, with the averaged weights if the program keeps them."""
    return Evaluation.of(_Evaluator(program, 1, examples, batch_size)(state))


def compile_program(
    configs: Sequence[Config], program: Program, train: Examples | StreamedExamples, validation: Examples
) -> float:
    """Compiles what `fit` will run, side by side and without taking a step. Returns the seconds that took, or 0 if the
    same program has already been compiled for the same shapes."""
    shapes = _shapes(configs, program, train, validation)
    device = jax.config.jax_default_device  # type: ignore[attr-defined]  # of this thread; a program is compiled for one

    def init(config: Config) -> TrainState:
        return initial_state(config, alone(config, program))

    def train_none() -> TrainState:
        with contextlib.closing(steps_of_epoch(configs, program, train, 0, 0)) as epoch:
            return train_steps(program, zeros(), next(epoch)[1], 0, 0, *traced_numbers(configs, program))

    def count_none() -> TrainState | None:
        if (every := _every(configs, program, train)) is None:
            return None
        return with_fresh_statistics(program, zeros(), *every, 0, *traced_numbers(configs, program))

    def score_none() -> Totals:
        return _Evaluator(program, len(configs), validation, configs[0].batch_size).run(zeros(), 0)

    def zeros() -> TrainState:
        """A state like those that training begins with, which takes no program to make."""
        one = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), state_shapes(configs[0], whole(program)))
        return program.replicate(stack(program.transform, [one] * len(configs)))

    def run(function: Callable[[], Any]) -> None:
        with jax.default_device(device):
            jax.block_until_ready(function())

    with _compiling:
        lock = _locks.setdefault(shapes, threading.Lock())
    with lock:
        if shapes in _compiled:
            return 0.0
        started = time.perf_counter()
        inits = {alone(config, program): functools.partial(init, config) for config in configs}
        # Programs over several devices are launched in one order everywhere: else they could wait for each other.
        with concurrent.futures.ThreadPoolExecutor(1 if program.devices > 1 else None) as threads:
            list(threads.map(run, [train_none, score_none, count_none, *inits.values()]))
        _compiled[shapes] = time.perf_counter() - started
        return _compiled[shapes]


def _every(
    configs: Sequence[Config], program: Program, train: Examples | StreamedExamples
) -> tuple[Examples, Batch] | None:
    """The training images and their batches in order, if the program computes statistics over them."""
    if not program.fresh_statistics or not isinstance(train, Examples):
        return None
    whole = np.arange(train.labels.shape[0])
    return train, program.replicate(batches(whole, configs[0].batch_size, program.devices))


def seconds_to_compile(
    configs: Sequence[Config], program: Program, train: Examples | StreamedExamples, validation: Examples
) -> float:
    """The seconds that compiling what `fit` will run takes, or took when it was compiled."""
    compile_program(configs, program, train, validation)
    return _compiled[_shapes(configs, program, train, validation)]


def _shapes(
    configs: Sequence[Config], program: Program, train: Examples | StreamedExamples, validation: Examples
) -> tuple:
    """What a program is compiled for."""
    train_shape = train.images.shape if isinstance(train, Examples) else (len(train.labels), *train.stream.image_shape)
    return (program, len(configs), configs[0].batch_size, train_shape, validation.images.shape, home_device())


def initial_states(configs: Sequence[Config], program: Program) -> TrainState:
    """The initial states of the trials of a program."""
    return together([initial_state(config, alone(config, program)) for config in configs], configs, program)


def together(states: Sequence[TrainState], configs: Sequence[Config], program: Program) -> TrainState:
    """The states of the trials of a program, as the program takes them."""
    wide = [widened(state, config, program) for state, config in zip(states, configs, strict=True)]
    return program.replicate(stack(program.transform, wide))


def traced_numbers(configs: Sequence[Config], program: Program) -> tuple[HParams, jax.Array]:
    """The hparams and keys of the trials of a program."""
    numbers = []
    for config in configs:
        hparams = hparams_of(config)
        if program.contained:
            hparams["contained"] = np.int32(program.contained.index(program.network_of(config)))
        numbers.append((hparams, program.run_key(config.seed)))
    return program.replicate(stack(program.transform, numbers))


def fit(
    configs: Sequence[Config],
    program: Program,
    train: Examples | StreamedExamples,
    validation: Examples,
    state: TrainState,
    pause_at: Collection[int] = (),
) -> Generator[list[Event], None, None]:
    """Trains from `state` to the last epoch. Stops early if all trials have diverged.

    Args:
      configs: one per trial, with the same number of epochs; a single one if the program has no transform.
      state: the initial or a saved state of the trials. It is donated: it and the states in the events are invalid once
        the next events are requested.
      pause_at: numbers of steps after which to yield.

    Yields:
      An event for every trial, at the end of each epoch, after the steps in `pause_at`, and about every POLL_SECONDS in
      between. A trial that has diverged keeps yielding `nonfinite` events.
    """
    examples = train.labels.shape[0]
    batch_size = configs[0].batch_size
    steps_per_epoch = math.ceil(examples / batch_size)
    trials = range(len(configs))
    step = int(np.asarray(state.step).flat[0])
    images, seconds, dispatch = 0, 0.0, StepsPerDispatch()
    unscored = np.full(len(configs), -1)  # the step at which the validation loss of a trial was not finite

    def select(trial: int, tree: Any) -> Any:
        return unstack(program.transform, tree, trial)

    def read_state(trial: int) -> TrainState:
        return narrowed(select(trial, state), configs[trial], program)

    def events(epoch: int, bad: np.ndarray, evaluations: Sequence[EpochMetrics | None], paused: bool) -> list[Event]:
        return [
            Event(int(bad[i]), epoch, None, nonfinite=True) if bad[i] >= 0
            else Event(
                step, epoch, functools.partial(read_state, i), evaluations[i], False, paused, images,
                seconds / len(configs),
            )
            for i in trials
        ]  # fmt: skip

    evaluator = _Evaluator(program, len(configs), validation, batch_size)
    hparams, key = traced_numbers(configs, program)
    every = _every(configs, program, train)
    no_evaluations: list[None] = [None] * len(configs)
    for number in range(step // steps_per_epoch, configs[0].epochs):
        end = (number + 1) * steps_per_epoch
        with contextlib.closing(steps_of_epoch(configs, program, train, number, step)) as epoch:
            for numbers, steps in epoch:
                while step < numbers.stop:
                    (count,) = gather([dispatch.steps], program.hosts)[0]  # the leader's clock decides
                    last = min(step + int(count), numbers.stop, *(pause for pause in pause_at if pause > step))
                    started = time.perf_counter()
                    at, to = step - numbers.start, last - numbers.start
                    state = train_steps(program, state, steps, at, to, hparams, key)
                    bad = np.atleast_1d(jax.device_get(state.diverged_step))
                    bad = np.where(unscored >= 0, unscored, bad)
                    spent = time.perf_counter() - started
                    dispatch.update(last - step, spent)
                    seconds += spent
                    images += (last - step) * batch_size - (steps_per_epoch * batch_size - examples) * (last == end)
                    step = last
                    if (bad >= 0).all():
                        yield events(number, bad, no_evaluations, False)
                        return
                    # At the end of an epoch the event with its evaluation follows, for the same step.
                    if step < end or step in pause_at:
                        yield events(number, bad, no_evaluations, step in pause_at)

        if every is not None:
            state = with_fresh_statistics(program, state, *every, every[1].mask.shape[0], hparams, key)
        train_totals, totals = jax.device_get(state.totals), evaluator(state)
        rates = [float(learning_rates(config, steps_per_epoch, np.array([step - 1]))[0]) for config in configs]
        train_scores, scores = ([Evaluation.of(select(i, tree)) for i in trials] for tree in (train_totals, totals))
        evaluations = [EpochMetrics(number + 1, step, train_scores[i], scores[i], rates[i]) for i in trials]
        finite = np.isfinite([train_scores[i].loss + scores[i].loss for i in trials])
        unscored = np.where((bad < 0) & ~finite, step, unscored)
        bad = np.where(unscored >= 0, unscored, bad)
        state = state._replace(totals=jax.tree.map(jnp.zeros_like, state.totals))
        yield events(number + 1, bad, evaluations, False)
        if (bad >= 0).all():
            return
