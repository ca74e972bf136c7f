"""Data that do not fit in memory: the train split stays in the records that TFDS prepared and is read as needed.

Records, decoder and splits are the same as for `load`, so a streamed data set has the same examples at the same
positions. grain reads ahead. Its unit of work is a chunk, because array_record reads many records at once several times
as fast as one by one, and passing an item between threads costs as much as decoding a small image. It uses threads
because a grain process would import the user's main module again.
"""

import hashlib
import os
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from cnn_jax.data import archives, cache, tfds_source
from cnn_jax.data.catalogue import CATALOGUE
from cnn_jax.data.dataset import Dataset, Facts, survey
from cnn_jax.data.decoding import decode_all
from cnn_jax.data.images import Size, decode, size_of, suffix
from cnn_jax.data.split import Parts, Split
from cnn_jax.data.splits import about_the_split, check_seed, plan
from cnn_jax.data.tfds_source import TfdsSource
from cnn_jax.errors import DataError, RequestError

BLOCK = 256  # images read together in a pass over the whole split
HELD = ("validation", "test")  # in memory
IDX_SETS = ("mnist", "fashion_mnist")  # of the catalogue, the sets that `load` reads in TFDS's own order


class _Coloured(DataError):
    """A colour image in a split assumed to be grey."""


@dataclass(frozen=True, eq=False)
class Streamed:
    """A split whose images stay on disk. `labels` is int32 [N], `image_shape` (height, width, channels).

    The example at position i is number `index[i]` of the prepared folder's `split`. Images are resized when decoded if
    `image_size` is given.
    """

    labels: np.ndarray
    image_shape: tuple[int, int, int]
    prepared: TfdsSource
    split: str
    index: np.ndarray
    image_size: Size | None

    def __len__(self) -> int:
        return len(self.labels)

    def chunks(
        self, positions: np.ndarray, size: int, *, workers: int = 2, prefetch: int = 2
    ) -> Generator[Split, None, None]:
        """Yields the examples at `positions` in this order, `size` at a time; the last chunk may be smaller.

        Reading begins with the first `next` and ends with `close`; use `contextlib.closing` for loops that may end
        early. Several processes share a split by requesting different positions: each reads only its own records.

        Args:
          positions: integers [M] in 0..N-1, in any order, repeats allowed.
          size: examples per chunk.
          workers: threads that read and decode.
          prefetch: the number of chunks read ahead of the current one; memory holds at most `prefetch + 2` chunks. If
            `workers` or `prefetch` is 0, nothing is read ahead.

        Raises:
          ValueError: impossible positions.
          RequestError: impossible sizes or numbers.
          DataError: a record is damaged or of another shape; raised when its chunk is reached.
        """
        positions = np.asarray(positions)
        integers = positions.ndim == 1 and (positions.dtype.kind in "iu" or positions.size == 0)
        if not integers or (positions.size and not 0 <= positions.min() <= positions.max() < len(self)):
            raise ValueError(f"positions must be integers [M] of 0 to {len(self) - 1}")
        if size < 1 or workers < 0 or prefetch < 0:
            raise RequestError(
                f"chunks of {size}, {workers} workers, {prefetch} ahead: at least 1, 0 and 0 are possible"
            )
        return _read(_Chunks(self, positions.astype(np.int64), size), workers, prefetch)

    def blocks(self) -> Iterator[np.ndarray]:
        """All images in order, a few at a time, uint8 [n,H,W,C]."""
        workers = min(os.cpu_count() or 1, 8)  # 8 blocks of 224x224 are 300 MB
        for chunk in self.chunks(np.arange(len(self)), BLOCK, workers=workers, prefetch=workers):
            yield chunk.images


class _Chunks:
    """The source for grain: item i is the i-th chunk. Setting `stopped` abandons the chunk being read."""

    def __init__(self, streamed: Streamed, positions: np.ndarray, size: int):
        self.streamed, self.positions, self.size = streamed, positions, size
        self.stopped = False

    def __len__(self) -> int:
        return -(-len(self.positions) // self.size)

    def __getitem__(self, number: int) -> Split | None:
        streamed = self.streamed
        positions = self.positions[number * self.size : (number + 1) * self.size]
        images = np.empty((len(positions), *streamed.image_shape), np.uint8)
        height, width, channels = streamed.image_shape
        records = streamed.prepared.read(streamed.split, streamed.index[positions])
        for place, (name, data, _) in zip(images, records, strict=True):
            if self.stopped:
                return None
            image = decode(name, data, streamed.image_size)
            if image.shape[:2] != (height, width):
                sizes = f"{image.shape[1]}x{image.shape[0]} but others are {width}x{height}"
                raise DataError(f"{name}: this image is {sizes}: --image-size N makes all NxN, --resize says how")
            if image.shape[2] > channels:
                raise _Coloured(f"{name}: this image has colours but the others are grey")
            place[...] = image
        return Split(images, streamed.labels[positions])


def _read(chunks: _Chunks, workers: int, prefetch: int) -> Generator[Split, None, None]:
    if not len(chunks):
        return
    with _installed():
        import grain
    options = grain.ReadOptions(num_threads=min(workers, prefetch), prefetch_buffer_size=prefetch)
    iterator = iter(grain.MapDataset.source(chunks).to_iter_dataset(options))
    try:
        yield from iterator
    finally:
        chunks.stopped = True
        iterator.close()


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
    names = (item[:2] for origin, index in in_memory.values() for item in prepared.read(origin, index))
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
        for split, source in prepared.sources.items():
            read_labels = (label for _, _, label in prepared.read(split, range(len(source))))
            labels = np.fromiter(read_labels, np.int32, len(source))
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
        raise DataError(f"streaming needs TFDS and grain ({error}): install cnn_jax[data]") from error
