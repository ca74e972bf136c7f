"""Data that do not fit in memory: the train split stays in the records that TFDS prepared and is read as needed.

Records, decoder and splits are the same as for `load`, so a streamed data set has the same examples at the same
positions. Workers read ahead; each opens the records itself and makes a batch of images at a time, because array_record
reads many records at once several times as fast as one by one.
"""

import hashlib
import math
import os
import weakref
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from cnn_jax.data import archives, cache, tfds_source
from cnn_jax.data.catalogue import CATALOGUE
from cnn_jax.data.crops import RandomCrops
from cnn_jax.data.dataset import Dataset, Facts, survey
from cnn_jax.data.decoding import decode_all
from cnn_jax.data.images import Size, decode, size_of, suffix
from cnn_jax.data.records import Records
from cnn_jax.data.split import Parts, Split
from cnn_jax.data.splits import about_the_split, check_seed, plan
from cnn_jax.data.tfds_source import TfdsSource
from cnn_jax.data.workers import AHEAD, MOST, Worker, processors, shared_memory, started
from cnn_jax.errors import DataError, RequestError

BATCH = 512  # at most so many images are made by a worker at a time,
BATCH_BYTES = 1 << 22  # and so many bytes of them
ENOUGH = 1 << 26  # bytes of images (half a second of work or more) that make workers worth starting
IMAGE = 5000  # the overhead of an image, in bytes
HELD = ("validation", "test")  # in memory
IDX_SETS = ("mnist", "fashion_mnist")  # of the catalogue, the sets that `load` reads in TFDS's own order


class _Coloured(DataError):
    """A colour image in a split assumed to be grey."""


@dataclass(frozen=True, eq=False)
class Streamed:
    """A split whose images stay on disk. `labels` is int32 [N], `image_shape` (height, width, channels).

    The example at position i is number `index[i]` of the records of the prepared folder's `split`. Images are resized
    when decoded if `image_size` is given.
    """

    labels: np.ndarray
    image_shape: tuple[int, int, int]
    prepared: TfdsSource
    split: str
    index: np.ndarray
    image_size: Size | None
    _idle: "list[_Pool]" = field(default_factory=list, init=False, repr=False)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def records(self) -> Records:
        """The records that the split is a part of."""
        return self.prepared.splits[self.split]

    def chunks(
        self, positions: np.ndarray, size: int, *, crops: RandomCrops | None = None, workers: int | None = None
    ) -> Generator[Split, None, None]:
        """Yields the examples at `positions` in this order, `size` at a time; the last chunk may be smaller.

        Reading begins with the first `next` and ends with `close`; use `contextlib.closing` for loops that may end
        early. Several processes share a split by requesting different positions: each reads only its own records.

        Args:
          positions: integers [M] in 0..N-1, in any order, repeats allowed.
          size: examples per chunk.
          crops: windows of the stored images, resized to `image_shape`, instead of the whole images.
          workers: processes that read ahead, each at most AHEAD batches of BATCH_BYTES; with 0 nothing is read ahead.
            By default as many as there are processors, or 0 if reading takes less time than starting them.

        Raises:
          ValueError: impossible positions.
          RequestError: impossible sizes or numbers.
          DataError: a record is damaged or of another shape; raised when its chunk is reached, or up to a batch before.
          RunError: a worker died.
        """
        positions = np.asarray(positions)
        integers = positions.ndim == 1 and (positions.dtype.kind in "iu" or positions.size == 0)
        if not integers or (positions.size and not 0 <= positions.min() <= positions.max() < len(self)):
            raise ValueError(f"positions must be integers [M] of 0 to {len(self) - 1}")
        if size < 1 or (workers is not None and workers < 0):
            raise RequestError(f"chunks of {size}, {workers} workers: at least 1 and 0 are possible")
        if workers is None:
            enough = len(positions) * (IMAGE + math.prod(self.image_shape)) >= ENOUGH and processors() > 1
            workers = min(processors(), MOST) if enough else 0
        return self._chunks(positions.astype(np.int64), size, crops, workers)

    def _chunks(
        self, positions: np.ndarray, size: int, crops: RandomCrops | None, workers: int
    ) -> Generator[Split, None, None]:
        batch = max(1, min(self._batch, -(-len(positions) // (2 * AHEAD * max(workers, 1)))))
        items = (self._items(positions[start : start + batch], crops) for start in range(0, len(positions), batch))
        blocks = self._made_by(workers, batch, items) if workers else _made_here(self._work, items)
        block = np.empty((0, *self.image_shape), np.uint8)
        with closing(blocks):
            for start in range(0, len(positions), size):
                labels = self.labels[positions[start : start + size]]
                images = np.empty((len(labels), *self.image_shape), np.uint8)
                filled = 0
                while filled < len(images):
                    block = block if len(block) else next(blocks)
                    taken = block[: len(images) - filled]
                    images[filled : filled + len(taken)] = taken
                    filled, block = filled + len(taken), block[len(taken) :]
                if start + size >= len(positions):
                    next(blocks, None)  # the workers are idle, even if nobody asks for another chunk
                yield Split(images, labels)

    def blocks(self) -> Iterator[np.ndarray]:
        """All images in order, a few at a time, uint8 [n,H,W,C]."""
        for chunk in self.chunks(np.arange(len(self)), self._batch):
            yield chunk.images

    @property
    def _batch(self) -> int:
        """The number of images that are made at a time, at most."""
        return max(1, min(BATCH, BATCH_BYTES // math.prod(self.image_shape)))

    @property
    def _work(self) -> "_Work":
        return _Work(self.records, self.image_size, self.image_shape)

    def _items(self, positions: np.ndarray, crops: RandomCrops | None) -> "list[Item]":
        places = [None if crops is None else (crops, int(position)) for position in positions]
        return list(zip(self.index[positions].tolist(), places, strict=True))

    def _made_by(self, workers: int, batch: int, items: "Iterator[list[Item]]") -> Generator[np.ndarray, None, None]:
        """The images of batches, in order. The workers of a finished epoch are kept for the next."""
        pool = None
        with suppress(IndexError):
            pool = self._idle.pop()
        if pool is None or (len(pool.workers), pool.batch) != (workers, batch):
            if pool is not None:
                pool.close()
            pool = _Pool(self._work, workers, batch, self.image_shape)
        try:
            yield from pool.made(items)
        except BaseException:
            pool.close()
            raise
        self._idle.append(pool)


Item = tuple[int, tuple[RandomCrops, int] | None]  # number of a record, and its crops with its position in the split


@dataclass(frozen=True)
class _Work:
    """Makes images of `shape` (height, width, channels or 1) of records."""

    records: Records
    image_size: Size | None
    shape: tuple[int, int, int]

    def images(self, batch: Sequence[Item]) -> Iterator[np.ndarray]:
        height, width, channels = self.shape
        records = self.records.read([number for number, _ in batch])
        for (name, data, _), (_, crop) in zip(records, batch, strict=True):
            if crop:
                crops, position = crop
                image = crops.crop(decode(name, data), position, height, width)
            else:
                image = decode(name, data, self.image_size)
            if image.shape[:2] != (height, width):
                sizes = f"{image.shape[1]}x{image.shape[0]} but others are {width}x{height}"
                raise DataError(f"{name}: this image is {sizes}: --image-size N makes all NxN, --resize says how")
            if image.shape[2] > channels:
                raise _Coloured(f"{name}: this image has colours but the others are grey")
            yield image

    def name(self, item: Item) -> str:
        return self.records.name_of(item[0])


def _made_here(work: _Work, batches: Iterator[list[Item]]) -> Generator[np.ndarray, None, None]:
    for batch in batches:
        for image in work.images(batch):
            yield image[None]


class _Pool:
    """Workers, with memory for AHEAD batches of each. They end with `close`, or when the pool is forgotten."""

    def __init__(self, work: _Work, workers: int, batch: int, image_shape: tuple[int, int, int]):
        self.batch = batch
        with ExitStack() as stack:
            memory = stack.enter_context(shared_memory())
            shape = (workers * AHEAD * batch, *image_shape)
            self.images = np.asarray(np.memmap(memory, np.uint8, "w+", shape=shape))
            self.workers = stack.enter_context(started(workers, work, memory, shape))
            self.close = weakref.finalize(self, stack.pop_all().close)

    def made(self, batches: Iterator[list[Item]]) -> Generator[np.ndarray, None, None]:
        """The images of each batch, in order; valid until the next is requested."""
        sent: deque[tuple[Worker, np.ndarray]] = deque()
        turns = len(self.workers) * AHEAD
        for number, batch in enumerate(batches):
            if number >= turns:
                yield _received(*sent.popleft())
            worker, first = self.workers[number % len(self.workers)], number % turns * self.batch
            worker.send(first, batch)
            sent.append((worker, self.images[first : first + len(batch)]))
        while sent:
            yield _received(*sent.popleft())


def _received(worker: Worker, images: np.ndarray) -> np.ndarray:
    *_, error = worker.receive()
    if error:
        raise error
    return images


def open_stream(
    name: str,
    *,
    data_dir: str | Path | None,
    image_size: int | str | None = None,
    resize: str = "squash",
    validation: int | None = None,
    train_examples: int | None = None,
    split_seed: int = 0,
    without_test: bool = False,
) -> Dataset:
    """Opens the same `Dataset` as `load` with the same arguments, but reads the `train` split from disk as needed.

    `validation` and `test` are in memory. The first call reads every record twice, once for its label and once for its
    image, and caches the results for these splits and this size; later calls read none.

    Args:
      name: `name` or `name/config` of an image classification set that TFDS has prepared as array_record.
      data_dir: the folder of prepared sets; only read.
      image_size, resize, validation, train_examples, split_seed, without_test: as for `load`.

    Returns:
      The data set, with a `Streamed` train split.

    Raises:
      DataError: no such prepared set, or a damaged one.
      RequestError: impossible image_size, validation, train_examples, split_seed or without_test.
    """
    size = size_of(image_size, resize)
    check_seed(split_seed)
    folder = _find(name, None if data_dir is None else Path(os.path.expanduser(data_dir)).absolute())
    with _installed():
        prepared = tfds_source.open_folder(folder, without_test)
    labels = _labels(prepared)
    default = CATALOGUE[name].validation if name in CATALOGUE else None
    splits, rule = plan(
        name, labels, prepared.class_names, validation, train_examples, split_seed, default, without_test
    )
    indices = {split: np.arange(len(labels[origin]))[index] for split, (origin, index) in splits.items()}
    origin = splits["train"][0]

    def train(shape: tuple[int, int, int]) -> Streamed:
        index = indices["train"]
        return Streamed(labels[origin][index], shape, prepared, origin, index, size)

    cut = hashlib.sha256(b"".join(index.astype("<i8").tobytes() for index in indices.values())).hexdigest()[:16]
    memory = cache.cached(
        f"{tfds_source.key(folder)}{suffix(size)}-stream-{cut}",
        lambda: _survey(prepared, {split: (splits[split][0], indices[split]) for split in HELD}, size, train),
    )
    facts = Facts(**memory.source["facts"])
    height, width, channels = memory.source["image_shape"]
    source = prepared.about | {
        "image_size": image_size,
        "split": about_the_split(rule, split_seed, {split: len(index) for split, index in indices.items()}, labels),
        "duplicates": facts.duplicates,
    }
    parts = {"train": train((height, width, channels)), **memory.splits}
    return Dataset(name, prepared.class_names, source=source, known=facts, **parts)  # type: ignore[arg-type]


def _survey(
    prepared: TfdsSource,
    in_memory: dict[str, tuple[str, np.ndarray]],
    image_size: Size | None,
    train: Callable[[tuple[int, int, int]], Streamed],
) -> Parts:
    """Reads the splits for memory, and the image shape and facts from one pass over train."""
    names = (item[:2] for origin, index in in_memory.values() for item in prepared.splits[origin].read(index))
    counts = [len(index) for _, index in in_memory.values()]
    images = decode_all(names, sum(counts), image_size)
    labels = _labels(prepared)
    while True:
        arrays = zip(in_memory.items(), images.split(counts), strict=True)
        splits = {split: Split(array, labels[origin][index]) for (split, (origin, index)), array in arrays}
        shape = splits["validation"].image_shape
        try:
            facts = survey(prepared.class_names, train(shape), **splits)
        except _Coloured:  # validation, test and train up to here are grey
            images.colour = True
        else:
            return Parts(splits, prepared.class_names, {"image_shape": shape, "facts": asdict(facts)})


def _labels(prepared: TfdsSource) -> dict[str, np.ndarray]:
    """int32 [N] for each split of the source."""

    def read() -> Parts:
        splits = {}
        for split, records in prepared.splits.items():
            read_labels = (label for _, _, label in records.read(range(len(records))))
            labels = np.fromiter(read_labels, np.int32, len(records))
            splits[split] = Split(np.empty((len(labels), 0, 0, 1), np.uint8), labels)  # the cache stores only splits
        return Parts(splits, prepared.class_names, {})

    parts = cache.cached(f"{tfds_source.key(prepared.folder)}-labels", read)
    return {split: part.labels for split, part in parts.splits.items()}


def _find(name: str, data_dir: Path | None) -> Path:
    """The prepared folder. Raises DataError if there is none or `load` reads other data under this name."""
    if name in CATALOGUE and name not in IDX_SETS:
        raise DataError(f"{name} is not streamed: it fits in memory, load it")
    if name not in CATALOGUE and os.path.exists(os.path.expanduser(name)):
        raise DataError(
            f"{name} is not streamed: a folder or zip is loaded into memory; what TFDS has prepared streams"
        )
    archives.check_folder(data_dir)
    if folder := tfds_source.find(name, data_dir):
        return folder
    where = f"below {data_dir}" if data_dir else "here: give --data-dir DIR"
    raise DataError(f"{name} is not streamed: no set of this name that TFDS has prepared as array_record is {where}")


@contextmanager
def _installed() -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise DataError(f"streaming needs TFDS ({error}): install cnn_jax[data]") from error
