"""The steps of one epoch, with the data in memory or streamed from disk."""

import contextlib
import math
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np

from cnn_jax.data import OnDisk, RandomCrops
from cnn_jax.errors import RequestError
from cnn_jax.layers import BatchNorm, Wrapped
from cnn_jax.network import Network
from cnn_jax.training import augment
from cnn_jax.training.config import Config
from cnn_jax.training.devices import home_device, local_shards, shard
from cnn_jax.training.schedule import learning_rates
from cnn_jax.training.state import Examples, Program
from cnn_jax.training.step import Batch, Steps, batches, epoch_order
from cnn_jax.training.trials import stack

# The steps whose examples are read from disk and put on the devices together: at most so many, and so many bytes, since
# the devices hold two such chunks, that of the present steps and the next.
STREAMED_STEPS = 32
STREAMED_BYTES = 1 << 26


class StreamedExamples:
    """Training examples on disk, with the mean and std of their pixels, float32 (channels,), and the `Answers` of the
    teacher on the devices, if there is one."""

    def __init__(self, stream: OnDisk, mean: np.ndarray, std: np.ndarray, teacher: Any = ()):
        self.stream, self.mean, self.std, self.teacher = stream, mean, std, teacher

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
    all steps of the epoch at once (those already done, too); with streamed examples, a chunk at a time, while the next
    is read and put on the devices.
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
        batch, rate = program.replicate(inputs)
        yield range(first, end), Steps(train, batch, rate, program.replicate(np.int32(number)))
        return
    (order,), (rate,) = orders, rates
    crops = augment.crops(program.augmentations, configs[0].seed, number)
    remaining = cut(order[(done - first) * batch_size :])
    for numbers, steps in _streamed(program, train, crops, remaining, rate[done - first :], done):
        yield numbers, steps._replace(epoch=program.replicate(np.int32(number)))


def _streamed(
    program: Program,
    train: StreamedExamples,
    crops: RandomCrops | None,
    batches: Batch,
    rates: np.ndarray,
    done: int,
) -> Generator[tuple[range, Steps]]:
    """The steps of `batches`, a chunk at a time: each process reads the examples of its own devices, in their order, so
    that every device has its own and no others."""
    devices, width = local_shards(program.devices, program.hosts), _width(program, batches)
    bytes_per_step = len(devices) * width * math.prod(train.stream.image_shape)
    most = max(1, min(STREAMED_STEPS, STREAMED_BYTES // bytes_per_step))
    reads, local = _divided(program, batches, most)
    starts = range(0, len(rates), most)
    positions = np.concatenate([reads[devices, start : start + most].ravel() for start in starts])
    home = home_device()

    def on_devices(start: int) -> tuple[range, Steps]:
        """The next chunk, which begins at step `start`."""
        chunk = next(chunks)
        count = len(chunk) // (len(devices) * width)
        missing, now = most - count, slice(start, start + count)  # padded: one program for all chunks
        images, labels = (_padded(x, len(devices), missing * width) for x in (chunk.images, chunk.labels))
        batch = Batch(*(np.pad(x[now], ((0, missing), (0, 0))) for x in local))  # type: ignore[arg-type]
        rate = np.pad(rates[now], (0, missing))
        with jax.default_device(home):  # which threads do not inherit
            mean, std, batch, rate = program.replicate((train.mean, train.std, batch, rate))
            images, labels = shard((images, labels), program.devices, program.hosts)
        examples = Examples(images, labels, mean, std, train.teacher)
        return range(done + start, done + start + count), Steps(examples, batch, rate)

    chunks = train.stream.chunks(positions, len(devices) * most * width, crops=crops)
    with contextlib.closing(chunks), ThreadPoolExecutor(1, "chunks") as thread:
        following = thread.submit(on_devices, 0)
        for start in starts:
            chunk = following.result()
            if start + most < len(rates):
                following = thread.submit(on_devices, start + most)
            yield chunk


def _width(program: Program, batches: Batch) -> int:
    """The number of examples that a device reads for a step: those of its slots and, if images are mixed, one more."""
    return batches.mask.shape[1] // program.devices + _reads_partners(program)


def _reads_partners(program: Program) -> bool:
    return program.devices > 1 and any(augmentation.mixes for augmentation in program.augmentations)


def _divided(program: Program, batches: Batch, chunk: int) -> tuple[np.ndarray, Batch]:
    """The positions in the split that each device reads, int (devices, steps, width), and the batches with positions
    among those of a chunk of so many steps. If images are mixed, a device also reads, for each step, the one partner of
    its slots that belongs to another device."""
    steps, slots = batches.mask.shape
    each = slots // program.devices
    width = _width(program, batches)
    parts = (steps, program.devices, each)
    reads = np.asarray(batches.positions).reshape(parts)
    first = (np.arange(steps) % chunk * width)[:, None]  # of a step, among the examples of its chunk
    own = first + np.arange(slots) % each
    partners = first + batches.partners % each
    if _reads_partners(program):
        foreign = batches.partners // each != np.arange(slots) // each
        partners = np.where(foreign, first + each, partners)
        at = np.argmax((foreign & (np.asarray(batches.mask) > 0)).reshape(parts), axis=2, keepdims=True)
        foreign_reads = np.take_along_axis(np.asarray(batches.partner_positions).reshape(parts), at, 2)
        reads = np.concatenate([reads, foreign_reads], axis=2)
    batch = Batch(own.astype(np.int32), batches.mask, batches.partners, partners.astype(np.int32))  # type: ignore[arg-type]
    return reads.swapaxes(0, 1), batch


def _padded(array: np.ndarray, devices: int, missing: int) -> np.ndarray:
    """The examples of each device in turn, with `missing` more of each."""
    if not missing:
        return array
    parts = array.reshape(devices, -1, *array.shape[1:])
    return np.concatenate([parts, np.zeros((devices, missing, *array.shape[1:]), array.dtype)], 1).reshape(
        -1, *array.shape[1:]
    )
