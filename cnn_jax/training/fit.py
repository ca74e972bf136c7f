"""The loop: an iterator of events. It draws no bars, writes no files and stops when its user stops asking."""

import collections
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
from cnn_jax.training.step import batches, compiled_evaluate_step, compiled_train_step, epoch_order, replicate

POLL_SECONDS = 0.2  # how often the loop waits for the device, so that a caller can show progress, save or stop
IN_FLIGHT = 16  # steps that may be queued on the device, fewer where a step takes long
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


def evaluate(program: Program, state: State, examples: Examples, batch_size: int) -> Sums:
    """Scores every example of a split once: the average weights if the program keeps them, else the current ones."""
    step = compiled_evaluate_step(program)
    params = state.ema if program.ema else state.params
    total = zero_sums()
    n = examples.labels.shape[0]
    for batch in batches(np.arange(n), batch_size, program.devices):
        total = total + step(params, state.batch_stats, examples, batch)
    total = jax.device_get(total)
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
    compiled for the same shapes before. The steps are run once on a state that is thrown away."""
    shapes = (program, config.batch_size, train.images.shape, validation.images.shape)
    if shapes in _compiled:
        return 0.0
    started = time.perf_counter()
    state = replicate(program.devices, initial_state(config, program))
    hyper, key = (replicate(program.devices, tree) for tree in (hyper_of(config), run_key(config)))
    one = np.zeros(1, np.int64)
    batch = batches(one, config.batch_size, program.devices * program.accumulate)[0]
    state, _ = compiled_train_step(program)(state, train, batch, np.float32(0.0), hyper, key)
    batch = batches(one, config.batch_size, program.devices)[0]
    params = state.ema if program.ema else state.params
    jax.block_until_ready(compiled_evaluate_step(program)(params, state.batch_stats, validation, batch))
    _compiled.add(shapes)
    return time.perf_counter() - started


def fit(
    config: Config,
    program: Program,
    train: Examples,
    validation: Examples,
    state: State,
    pause_at: Collection[int] = (),
) -> Generator[Event, None, None]:
    """Trains from `state` (the initial one, or one that was saved) to the last epoch, yielding an event at the end of
    every epoch, after the steps in `pause_at`, and about every POLL_SECONDS between. Ends where the run diverges."""
    examples = train.labels.shape[0]
    steps_per_epoch = math.ceil(examples / config.batch_size)
    rates = learning_rates(config, steps_per_epoch)
    train_step = compiled_train_step(program)
    hyper, key = (replicate(program.devices, tree) for tree in (hyper_of(config), run_key(config)))
    step = int(state.step)
    images, seconds, in_flight = 0, 0.0, 1

    for epoch in range(step // steps_per_epoch, config.epochs):
        queue: collections.deque = collections.deque()
        last_poll, last_step = time.perf_counter(), step
        epoch_batches = batches(
            epoch_order(config.seed, epoch, examples), config.batch_size, program.devices * program.accumulate
        )
        for batch in epoch_batches[step - epoch * steps_per_epoch :]:
            state, done = train_step(state, train, batch, rates[step], hyper, key)
            step += 1
            images += int(batch.mask.sum())
            queue.append(done)
            while len(queue) > in_flight:
                queue.popleft().block_until_ready()
            # No poll after the last step of an epoch: its evaluation comes next, and belongs to the same step.
            due = time.perf_counter() - last_poll > POLL_SECONDS and step % steps_per_epoch != 0
            if due or step in pause_at:
                bad = int(state.diverged_step)
                spent = time.perf_counter() - last_poll
                seconds += spent
                in_flight = max(1, min(IN_FLIGHT, int(POLL_SECONDS * (step - last_step) / spent)))
                if bad >= 0:
                    yield Event(bad, epoch, state, nonfinite=True)
                    return
                yield Event(step, epoch, state, paused=step in pause_at, images=images, seconds=seconds)
                last_poll, last_step = time.perf_counter(), step

        sums = jax.device_get(state.sums)
        seconds += time.perf_counter() - last_poll
        if (bad := int(state.diverged_step)) >= 0:
            yield Event(bad, epoch, state, nonfinite=True)
            return
        scored = evaluate(program, state, validation, config.batch_size)
        evaluation = {
            "epoch": epoch + 1,
            "step": step,
            "train_loss": float(sums.mean_loss),
            "train_accuracy": float(sums.accuracy),
            "validation_loss": float(scored.mean_loss),
            "validation_accuracy": float(scored.accuracy),
            "learning_rate": float(rates[step - 1]),
            "examples": int(scored.examples),
        }
        state = state._replace(sums=replicate(program.devices, zero_sums()))
        yield Event(step, epoch + 1, state, evaluation, images=images, seconds=seconds)
