"""Decodes many images, in worker processes if there is enough work to pay for starting them. Workers receive bytes that
were read and checked here."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice

import numpy as np

from cnn_jax.data.images import Images, Size, decode
from cnn_jax.data.workers import AHEAD, MOST, Worker, processors, shared_memory, started
from cnn_jax.errors import DataError

BATCH = 1 << 18  # encoded bytes per message
IMAGE = 1000  # the overhead of an image, in bytes
ENOUGH = 64  # at least this many batches (half a second of work) make two workers worth starting

Item = tuple[str, bytes | DataError]  # an image's name, and its bytes or the error of reading them


@dataclass(frozen=True)
class _Files:
    """Decodes items."""

    image_size: Size | None

    def images(self, batch: Sequence[Item]) -> Iterator[np.ndarray]:
        for name, data in batch:
            if isinstance(data, DataError):
                raise data
            yield decode(name, data, self.image_size)

    def name(self, item: Item) -> str:
        return item[0]


def decode_all(items: Iterable[tuple[str, bytes]], count: int, image_size: Size | None) -> Images:
    """Decodes `count` images, given by name and bytes. The result does not depend on the number of workers.

    Raises DataError for the first image that cannot be read or decoded or has another size, RunError if a worker died;
    the message says how, and at which image.
    """
    files = _Files(image_size)
    batches = _batches(items)
    start = list(islice(batches, ENOUGH))
    processes = min(processors(), MOST)
    if len(start) < ENOUGH or processes == 1:
        images = Images(count)
        for batch in chain(start, batches):
            _add(images, files, batch)
        return images
    with shared_memory() as memory:
        images = Images(count, memory)
        _add(images, files, start.pop(0))
        with started(processes, files, memory, images.array.shape) as workers:
            turns = deque(workers * AHEAD)
            index = images.filled
            for batch in chain(start, batches):
                worker = turns.popleft()
                if len(worker.pending) == AHEAD:
                    _receive(worker, images)
                worker.send(index, batch)
                turns.append(worker)
                index += len(batch)
            for worker in turns:
                if worker.pending:
                    _receive(worker, images)
    return images


def _add(images: Images, files: _Files, batch: Sequence[Item]) -> None:
    for (name, _), image in zip(batch, files.images(batch), strict=True):
        images.add(name, image)


def _receive(worker: Worker, images: Images) -> None:
    batch, shapes, error = worker.receive()
    for (name, _), shape in zip(batch, shapes, strict=False):
        images.place(name, shape)
    if error:
        raise error


def _batches(items: Iterable[tuple[str, bytes]]) -> Iterator[list[Item]]:
    """A failure to read becomes the last item, so that a bad image before it, decoded later, is reported first."""
    batch: list[Item] = []
    cost = 0
    try:
        for name, data in items:
            batch.append((name, data))
            cost += IMAGE + len(data)
            if cost >= BATCH:
                yield batch
                batch, cost = [], 0
    except DataError as error:
        batch.append(("", error))
    if batch:
        yield batch
