"""The steps of one epoch, of one trial or of several together, with the data in memory or read as it is needed."""

import contextlib
import math
from collections.abc import Generator, Sequence
from typing import Any

import jax
import numpy as np

from cnn_jax import randomness
from cnn_jax.data import OnDisk
from cnn_jax.errors import RequestError
from cnn_jax.layers import BatchNorm, Wrapped
from cnn_jax.network import Network
from cnn_jax.training.config import Config
from cnn_jax.training.schedule import learning_rates
from cnn_jax.training.state import Examples, Program, TrainState, hparams_of
from cnn_jax.training.step import Batch, Together, batches, compiled_train_steps, epoch_order, replicate

STREAMED_STEPS = 32  # read from disk together


class Streamed:
    """A stream with what belongs to it on the device: mean and std of its pixels, float32 (channels,)."""

    def __init__(self, stream: OnDisk, mean: np.ndarray, std: np.ndarray):
        self.stream, self.mean, self.std = stream, mean, std

    @property
    def labels(self) -> np.ndarray:
        return self.stream.labels


def check_batch_norm(config: Config, program: Program, examples: int) -> list[str]:
    """A line for each size of batch, in an epoch of so many examples, that leaves a batch norm a single value, whose
    variance is 0: its output is then its bias, and nothing before it learns. RequestError where every batch does."""
    parts = [part for node in program.network.walk() for part in node.parts]
    single = [p.name for p in parts if isinstance(p.layer, BatchNorm) and math.prod(p.input[:-1]) == 1]
    if not single:
        return []

    def counts(size: int) -> np.ndarray:
        """How many examples of a batch of `size` the parts hold over which statistics are taken."""
        mask = batches(np.arange(size), config.batch_size, program.devices * program.accumulate).mask
        return np.asarray(mask).reshape(program.devices, program.accumulate, -1).sum((0, 2))

    whole, last = min(config.batch_size, examples), examples % config.batch_size
    where = f"{single[0]} normalises one value per example, and a batch of "
    why = "one value, whose variance is 0: nothing before it learns"
    split = f" in {config.accumulate} parts" if config.accumulate > 1 else ""
    if counts(whole).max() == 1:
        raise RequestError(f"{where}{whole}{split} leaves it {why}; take a larger batch_size, or fewer parts")
    return [
        f"{where}{size}{split}, {often}, leaves it {why} in that step; another batch_size avoids it"
        for size, often in ((whole, "as most are"), (last, f"the last of {examples} examples"))
        if size and (counts(size) == 1).any()
    ]


def check_wrapped(network: Network) -> list[str]:
    """A line for every module of one's own that keeps batch statistics without being told which examples are padding:
    the last batch of an epoch is filled up."""
    return [
        f"{node.name} keeps batch statistics but takes no mask: the padding of the last batch takes part in them"
        for node in network.walk()
        if isinstance(node.layer, Wrapped) and node.layer.keeps_statistics(node.input) and not node.layer.takes_mask
    ]


def stacked(trees: Sequence[Any], together: Together) -> Any:
    """The trees of several trials with a leading axis of trials; the tree of a single one as it is."""
    if together is None:
        (tree,) = trees
        return tree
    return jax.tree.map(lambda *leaves: _stack(leaves), *trees)


def _stack(leaves: tuple[Any, ...]) -> Any:
    return np.stack(leaves) if isinstance(leaves[0], np.ndarray) else jax.numpy.stack(leaves)


class Epoch:
    """Epoch number `number` (from 0) of trials that share a program, their examples in memory.

    `first` and `end` are the numbers of steps done before it and after it.
    """

    def __init__(self, configs: Sequence[Config], program: Program, together: Together, train: Examples, number: int):
        self.program, self.together, self.train = program, together, train
        examples = train.labels.shape[0]
        self.batch_size = configs[0].batch_size
        self.steps = math.ceil(examples / self.batch_size)
        self.first, self.end = number * self.steps, (number + 1) * self.steps
        self.rates = [learning_rates(c, self.steps, np.arange(self.first, self.end)) for c in configs]
        orders = [epoch_order(c.seed, number, examples) for c in configs]
        self._numbers = self._on_device([(hparams_of(c), randomness.run_key(c.seed)) for c in configs])
        self._rates = self._on_device(self.rates)
        self._batches = self._prepare(orders)
        self._run = compiled_train_steps(program, together)

    def _prepare(self, orders: list[np.ndarray]) -> Batch:
        return self._on_device([self._cut(order) for order in orders])

    def _cut(self, order: np.ndarray) -> Batch:
        return batches(order, self.batch_size, self.program.devices * self.program.accumulate)

    def _on_device(self, trees: Sequence[Any]) -> Any:
        return replicate(self.program.devices, stacked(trees, self.together))

    def limit(self, step: int) -> int:
        """The last step that can be reached from `step` without a stop."""
        return self.end

    def run(self, state: TrainState, step: int, last: int) -> TrainState:
        """The state after step number `last` of the run from that after number `step`; `state` is used up."""
        at, to = step - self.first, last - self.first
        return self._run(state, self.train, self._batches, self._rates, at, to, *self._numbers)

    def close(self) -> None:
        """Ends what reads ahead."""


class StreamedEpoch(Epoch):
    """An epoch whose examples are read from disk, STREAMED_STEPS steps of them at a time, the next ones meanwhile."""

    train: Any

    def __init__(self, configs: Sequence[Config], program: Program, together: Together, train: Streamed, number: int):
        super().__init__(configs, program, together, train, number)  # type: ignore[arg-type]
        self._chunk: Examples | None = None
        self._begin = self._until = self.first
        self._chunks: Generator[Any, None, None] | None = None

    def _prepare(self, orders: list[np.ndarray]) -> Batch:
        (self._order,) = orders
        return self._cut(np.arange(STREAMED_STEPS * self.batch_size))  # a whole chunk; replaced where it is not

    def limit(self, step: int) -> int:
        if self._chunks is None:
            positions = self._order[(step - self.first) * self.batch_size :]
            self._chunks = self.train.stream.chunks(positions, STREAMED_STEPS * self.batch_size)
            self._until = step
        if step == self._until:
            self._take(next(self._chunks), step)
        return self._until

    def _take(self, chunk: Any, step: int) -> None:
        """Puts a chunk on the device, filled up to the size of a whole one so that it is no other program."""
        n, whole = len(chunk.labels), STREAMED_STEPS * self.batch_size
        images = np.resize(chunk.images, (whole, *chunk.images.shape[1:])) if n < whole else chunk.images
        made = Examples(images, np.resize(chunk.labels, whole), self.train.mean, self.train.std)  # type: ignore[arg-type]
        cut = self._cut(np.arange(n))
        rows = STREAMED_STEPS - cut.mask.shape[0]
        padded = Batch(*(np.pad(x, ((0, rows), (0, 0))) for x in cut))  # type: ignore[arg-type]
        rates = np.zeros(STREAMED_STEPS, np.float32)
        self._begin, self._until = step, step + cut.mask.shape[0]
        rates[: self._until - step] = self.rates[0][step - self.first : self._until - self.first]
        self._chunk, self._batches, self._rates = replicate(self.program.devices, (made, padded, rates))

    def run(self, state: TrainState, step: int, last: int) -> TrainState:
        at, to = step - self._begin, last - self._begin
        return self._run(state, self._chunk, self._batches, self._rates, at, to, *self._numbers)

    def close(self) -> None:
        if self._chunks is not None:
            self._chunks.close()


@contextlib.contextmanager
def opened(
    configs: Sequence[Config], program: Program, together: Together, train: Examples | Streamed, number: int
) -> Generator[Epoch, None, None]:
    """The epoch, its reading ahead ended on leaving."""
    kind: Any = StreamedEpoch if isinstance(train, Streamed) else Epoch
    with contextlib.closing(kind(configs, program, together, train, number)) as epoch:
        yield epoch
