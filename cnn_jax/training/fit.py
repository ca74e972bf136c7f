"""The loop: an iterator of events. It draws no bars, writes no files and stops when its user stops asking."""

import math
import time
from collections.abc import Collection, Generator
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from cnn_jax import losses
from cnn_jax.metrics import Sums
from cnn_jax.training.config import Config
from cnn_jax.training.optimizer import learning_rates
from cnn_jax.training.state import Examples, Program, State, hyper_of, initial_state, run_key, zero_sums
from cnn_jax.training.step import batches, compiled_evaluate_steps, compiled_train_steps, epoch_order, replicate

POLL_SECONDS = 0.2  # how long the device is left alone, so that a caller can show progress, save or stop
GROWTH = 8.0  # at most, from one number of steps without a word to the next
_compiled: set[tuple] = set()  # programs with the shapes that this process has compiled them for


@dataclass(frozen=True)
class Event:
    """The run as it stands between two steps. `state` is good until the next event is asked for.

    `evaluation` is set at the end of an epoch: mean training loss and accuracy over the epoch, validation loss and
    accuracy, the learning rate of its last step, validation examples. `nonfinite` says that after `step` the loss or a
    parameter was not finite; the state is then worthless and the event the last. `paused` marks the events that were
    asked for: such a state may lie before the evaluation of an epoch that is over, and is not one to go on from.
    `images` were trained on so far by this loop, in `seconds` of steps alone.
    """

    step: int
    epoch: int
    state: State
    evaluation: dict[str, Any] | None = None
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


def evaluate(program: Program, state: State, examples: Examples, batch_size: int) -> Sums:
    """Scores every example of a split once: the average weights if the program keeps them, else the current ones."""
    n = examples.labels.shape[0]
    every = replicate(program.devices, batches(np.arange(n), batch_size, program.devices))
    sums = compiled_evaluate_steps(program)(state, examples, every, 0, every.mask.shape[0], zero_sums())
    total = jax.device_get(sums)
    assert int(total.examples) == n, f"{total.examples} of {n} examples were scored"
    return total


def at_chance(config: Config, train: Examples, evaluation: dict[str, Any]) -> bool:
    """Whether an epoch's mean training loss is not below that of the best constant predictor, the class frequencies.

    High learning rates end there more often than in a NaN: all ReLUs are dead and only the last bias learns.
    """
    frequencies = np.bincount(np.asarray(train.labels)) / train.labels.shape[0]
    return not evaluation["train_loss"] < losses.best_constant(config.loss, frequencies)


def compile_program(program: Program, config: Config, train: Examples, validation: Examples) -> float:
    """Compiles the steps that `fit` will take and returns the seconds that took, 0 where the same program has been
    compiled for the same shapes before. No step is taken."""
    shapes = (program, config.batch_size, train.images.shape, validation.images.shape)
    if shapes in _compiled:
        return 0.0
    started = time.perf_counter()
    state = replicate(program.devices, initial_state(config, program))
    every = replicate(
        program.devices, batches(np.arange(validation.labels.shape[0]), config.batch_size, program.devices)
    )
    jax.block_until_ready(compiled_evaluate_steps(program)(state, validation, every, 0, 0, zero_sums()))
    epoch = Epoch(config, program, train.labels.shape[0], 0)
    jax.block_until_ready(epoch.run(state, train, 0, 0))
    _compiled.add(shapes)
    return time.perf_counter() - started


class Epoch:
    """What the steps of one epoch are made of, on the device."""

    def __init__(self, config: Config, program: Program, examples: int, number: int):
        self.steps = math.ceil(examples / config.batch_size)
        self.first = number * self.steps
        order = epoch_order(config.seed, number, examples)
        rates = learning_rates(config, self.steps)[self.first : self.first + self.steps]
        made = batches(order, config.batch_size, program.devices * program.accumulate)
        self.batches, self.rates, self.hyper, self.key = replicate(
            program.devices, (made, rates, hyper_of(config), run_key(config))
        )
        self._run = compiled_train_steps(program)

    def run(self, state: State, examples: Examples, step: int, last: int) -> State:
        """The state after step number `last` of the run from that after number `step`; `state` is used up."""
        return self._run(
            state, examples, self.batches, self.rates, step - self.first, last - self.first, self.hyper, self.key
        )


def fit(
    config: Config,
    program: Program,
    train: Examples,
    validation: Examples,
    state: State,
    pause_at: Collection[int] = (),
) -> Generator[Event, None, None]:
    """Trains from `state` (the initial one, or one that was saved) to the last epoch, yielding an event at the end of
    every epoch, after the steps in `pause_at`, and about every POLL_SECONDS between. Ends where the run diverges.

    `state` and those of the events are used up when the next event is asked for."""
    examples = train.labels.shape[0]
    steps_per_epoch = math.ceil(examples / config.batch_size)
    step = int(state.step)
    images, seconds, stretch = 0, 0.0, Stretch()

    for number in range(step // steps_per_epoch, config.epochs):
        epoch = Epoch(config, program, examples, number)
        end = epoch.first + steps_per_epoch
        while step < end:
            last = min(step + stretch.steps, end, *(pause for pause in pause_at if pause > step))
            started = time.perf_counter()
            state = epoch.run(state, train, step, last)
            bad = int(state.diverged_step)
            spent = time.perf_counter() - started
            stretch.took(last - step, spent)
            seconds += spent
            images += min((last - epoch.first) * config.batch_size, examples) - (step - epoch.first) * config.batch_size
            step = last
            if bad >= 0:
                yield Event(bad, number, state, nonfinite=True)
                return
            # No other event at the end of an epoch: its evaluation comes next, and belongs to the same step.
            if step < end or step in pause_at:
                yield Event(step, number, state, paused=step in pause_at, images=images, seconds=seconds)

        sums = jax.device_get(state.sums)
        scored = evaluate(program, state, validation, config.batch_size)
        evaluation = {
            "epoch": number + 1,
            "step": step,
            "train_loss": float(sums.mean_loss),
            "train_accuracy": float(sums.accuracy),
            "validation_loss": float(scored.mean_loss),
            "validation_accuracy": float(scored.accuracy),
            "learning_rate": float(epoch.rates[steps_per_epoch - 1]),
            "examples": int(scored.examples),
        }
        state = state._replace(sums=replicate(program.devices, zero_sums()))
        yield Event(step, number + 1, state, evaluation, images=images, seconds=seconds)
