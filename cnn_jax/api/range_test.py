"""The learning rate range test (smith2017cyclical, 3.3): one run in which the rate rises at every step."""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from cnn_jax.api import load_data
from cnn_jax.errors import RequestError
from cnn_jax.runs.task import Task
from cnn_jax.training.config import Config
from cnn_jax.training.fit import traced_numbers
from cnn_jax.training.state import Examples
from cnn_jax.training.step import Steps, batches, epoch_order, train_steps

SPAN = (1e-5, 10.0)  # first and last learning rate
SAFETY = 3.0  # rate of the smallest loss / recommended rate


@dataclass(frozen=True)
class RangeTest:
    """The learning rate and smoothed loss of each step, and the recommended rate (None if no rate lowered the loss)."""

    rates: np.ndarray
    losses: np.ndarray
    recommended: float | None


def range_test(config: Config, steps: int = 100) -> RangeTest:
    """Trains while the learning rate rises geometrically over SPAN; recommends a third of the rate at which the
    smoothed loss is smallest.

    Args:
      config: the config to train; its own learning rate and schedule are not used.
      steps: the number of steps.

    Returns:
      Rates, losses and recommendation; shorter than `steps` if the loss explodes.

    Raises:
      RequestError: the data are streamed.
    """
    task = Task.of(config, load_data(config), devices=1)
    train = task.train
    if not isinstance(train, Examples):
        raise RequestError("a range test needs the training images in memory: leave out stream")
    n = len(task.dataset.train)
    epochs = math.ceil(steps / task.steps_per_epoch)
    order = np.concatenate([epoch_order(config.seed, epoch, n) for epoch in range(epochs)])
    batched = task.program.replicate(batches(order[: steps * config.batch_size], config.batch_size, config.accumulate))
    rates = np.geomspace(*SPAN, batched.mask.shape[0]).astype(np.float32)
    steps_to_take, numbers = Steps(train, batched, jnp.asarray(rates)), traced_numbers([config], task.program)
    state, losses = task.initial_state(), []
    for step in range(len(rates)):
        state = train_steps(task.program, state, steps_to_take, step, step + 1, *numbers)
        totals = jax.device_get(state.totals)
        losses.append(float(totals.sums["loss"] / totals.examples))
        state = state._replace(totals=jax.tree.map(jnp.zeros_like, state.totals))
        if not math.isfinite(losses[-1]) or losses[-1] > 10 * min(losses) + 10:
            break
    smoothed = _smoothed(np.array(losses))
    lowest = int(np.nanargmin(np.where(np.isfinite(smoothed), smoothed, np.inf)))
    learned = smoothed[lowest] < 0.95 * smoothed[0]
    return RangeTest(rates[: len(smoothed)], smoothed, float(f"{rates[lowest] / SAFETY:.2g}") if learned else None)


def _smoothed(losses: np.ndarray, keep: float = 0.8) -> np.ndarray:
    """The exponential moving average, corrected for its initial bias towards 0."""
    mean, out = 0.0, []
    for i, loss in enumerate(losses):
        mean = keep * mean + (1 - keep) * loss
        out.append(mean / (1 - keep ** (i + 1)))
    return np.array(out)
