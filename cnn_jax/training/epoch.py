"""The steps of one epoch, with the data in memory or streamed from disk."""

import contextlib
import math
from collections.abc import Generator, Sequence
from typing import Any

import numpy as np

from cnn_jax.data import OnDisk, Split
from cnn_jax.errors import RequestError
from cnn_jax.layers import BatchNorm, Wrapped
from cnn_jax.network import Network
from cnn_jax.training.config import Config
from cnn_jax.training.schedule import learning_rates
from cnn_jax.training.state import Examples, Program
from cnn_jax.training.step import Batch, Steps, batches, epoch_order, replicate
from cnn_jax.training.trials import stack

STREAMED_STEPS = 32  # number of steps whose examples are read from disk together


class StreamedExamples:
    """Training examples on disk, with the mean and std of their pixels: float32 (channels,)."""

    def __init__(self, stream: OnDisk, mean: np.ndarray, std: np.ndarray):
        self.stream, self.mean, self.std = stream, mean, std

    @property
    def labels(self) -> np.ndarray:
        return self.stream.labels


def check_batch_norm(config: Config, program: Program, examples: int) -> list[str]:
    """A warning for each batch size, in an epoch of so many examples, that leaves a batch norm a single value. Its
    variance is 0 and its output its bias, so that no earlier layer learns. Raises RequestError if all batches do so."""
    parts = [part for node in program.network.walk() for part in node.parts]
    single = [p.name for p in parts if isinstance(p.layer, BatchNorm) and math.prod(p.input[:-1]) == 1]
    if not single:
        return []

    def counts(size: int) -> np.ndarray:
        """The number of examples in each part of a batch of `size` over which the statistics are taken."""
        mask = batches(np.arange(size), config.batch_size, program.devices * program.accumulate).mask
        return np.asarray(mask).reshape(program.devices, program.accumulate, -1).sum((0, 2))

    full, last = min(config.batch_size, examples), examples % config.batch_size
    where = f"{single[0]} normalises one value per example, and a batch of "
    why = "one value, whose variance is 0: nothing before it learns"
    split = f" in {config.accumulate} parts" if config.accumulate > 1 else ""
    if counts(full).max() == 1:
        raise RequestError(f"{where}{full}{split} leaves it {why}; take a larger batch_size, or fewer parts")
    return [
        f"{where}{size}{split}, {often}, leaves it {why} in that step; another batch_size avoids it"
        for size, often in ((full, "as most are"), (last, f"the last of {examples} examples"))
        if size and (counts(size) == 1).any()
    ]


def check_wrapped(network: Network) -> list[str]:
    """A warning for every user-defined module that keeps batch statistics but takes no mask: the last batch of an epoch
    is padded."""
    return [
        f"{node.name} keeps batch statistics but takes no mask: the padding of the last batch takes part in them"
        for node in network.walk()
        if isinstance(node.layer, Wrapped) and node.layer.keeps_statistics(node.input) and not node.layer.takes_mask
    ]


def steps_of_epoch(
    configs: Sequence[Config], program: Program, train: Examples | StreamedExamples, number: int, done: int
) -> Generator[tuple[range, Steps]]:
    """The steps of epoch `number` (from 0) that remain after `done` steps of the run, for trials that share a program.

    Yields consecutive steps: the range of their numbers in the run, and their inputs. With examples in memory, yields
    all steps of the epoch at once (those already done, too); with streamed examples, STREAMED_STEPS at a time, while
    the next are being read.
    """
    batch_size, examples = configs[0].batch_size, train.labels.shape[0]
    count = math.ceil(examples / batch_size)
    first, end = number * count, (number + 1) * count
    rates = [learning_rates(config, count, np.arange(first, end)) for config in configs]
    orders = [epoch_order(config.seed, number, examples) for config in configs]

    def cut(order: np.ndarray) -> Batch:
        return batches(order, batch_size, program.devices * program.accumulate)

    if isinstance(train, Examples):
        inputs = stack(program.transform, [(cut(order), rate) for order, rate in zip(orders, rates, strict=True)])
        yield range(first, end), Steps(train, *replicate(program.devices, inputs))
        return
    (order,), (rate,) = orders, rates
    with contextlib.closing(
        train.stream.chunks(order[(done - first) * batch_size :], STREAMED_STEPS * batch_size)
    ) as chunks:
        for chunk in chunks:
            batch = cut(np.arange(len(chunk.labels)))
            steps = range(done, done + len(batch.mask))
            padded = _padded(train, chunk, batch, rate[steps.start - first : steps.stop - first], batch_size)
            yield steps, replicate(program.devices, padded)
            done = steps.stop


def _padded(train: StreamedExamples, chunk: Split, batch: Batch, rates: np.ndarray, batch_size: int) -> Steps:
    """The steps of a chunk, padded to the size of a full one, so that they run in the same compiled program."""
    size, missing = STREAMED_STEPS * batch_size, STREAMED_STEPS - len(rates)
    images = chunk.images if len(chunk) == size else np.resize(chunk.images, (size, *chunk.images.shape[1:]))
    examples: Any = Examples(images, np.resize(chunk.labels, size), train.mean, train.std)  # type: ignore[arg-type]
    padded = (np.pad(x, ((0, missing), (0, 0))) for x in batch)
    return Steps(examples, Batch(*padded), np.pad(rates, (0, missing)))  # type: ignore[arg-type]
