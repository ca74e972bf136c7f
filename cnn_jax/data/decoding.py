"""Decoding many images, in worker processes where there is enough work to pay for starting them.

A worker is a new interpreter that imports this package alone: a fork would copy the locks of JAX's threads, and
multiprocessing would run the user's main module again. Threads wait for each other (measured: 32x32 takes twice as
long). Workers get bytes that were read and checked here, and give back arrays: they open no file.
"""

import os
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import chain
from multiprocessing.connection import Connection, Pipe

import numpy as np

from cnn_jax.data.images import Images, decode
from cnn_jax.errors import DataError, RunError

IMAGE = 1000  # what an image costs beyond its bytes, in bytes
ENOUGH = 16 << 20  # bytes, so counted, that pay for workers: about half a second
BATCH = 1 << 18  # bytes in a worker's hands at once
MOST = 16  # workers: more than one process can feed
WORKER = "import sys; sys.path[:] = {}; from cnn_jax.data.decoding import serve; serve({}, {})"

Encoded = tuple[str, bytes | DataError]  # an image's name, and its bytes or why they cannot be read
Decoded = tuple[str, np.ndarray | DataError]


def decode_all(items: Iterable[tuple[str, bytes]], count: int, image_size: int | None) -> Images:
    """Decodes `count` images, given by name and bytes, to the same arrays whatever the number of workers.

    DataError: of the first image that cannot be read or decoded, or has another size. RunError: a worker was killed.
    """
    images = Images(count)
    items = _caught(items)
    start = next(_batches(items, ENOUGH), [])
    workers = min(_cpus(), MOST) if sum(map(_cost, start)) >= ENOUGH else 1
    with ExitStack() as stack:
        turns: deque[tuple[Connection, list[Encoded]]] = deque()
        if workers > 1:
            turns.extend((stack.enter_context(_worker(image_size)), []) for _ in range(workers))
        for batch in _batches(chain(start, items), BATCH):  # read while the workers are busy
            if turns:
                worker, before = turns.popleft()
                results = _receive(worker, before)
                with _alive(batch):
                    worker.send(batch)  # it waits for this, so neither can block the other
                turns.append((worker, batch))
            else:
                results = _attempt(batch, image_size)
            _add(images, results)
        for worker, batch in turns:
            _add(images, _receive(worker, batch))
    return images


def _caught(items: Iterable[tuple[str, bytes]]) -> Iterator[Encoded]:
    """A failure to read becomes the last item: a bad image before it, decoded later, still comes first."""
    try:
        yield from items
    except DataError as error:
        yield "", error


def _batches(items: Iterable[Encoded], cost: int) -> Iterator[list[Encoded]]:
    """Runs of items that cost that much, the last one less."""
    batch, total = [], 0
    for item in items:
        batch.append(item)
        total += _cost(item)
        if total >= cost:
            yield batch
            batch, total = [], 0
    if batch:
        yield batch


def _cost(item: Encoded) -> int:
    return IMAGE + (len(item[1]) if isinstance(item[1], bytes) else 0)


def _cpus() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _attempt(batch: list[Encoded], image_size: int | None) -> list[Decoded]:
    """The images up to the first bad one, and what is wrong with that."""
    results: list[Decoded] = []
    for name, data in batch:
        try:
            results.append((name, data if isinstance(data, DataError) else decode(name, data, image_size)))
        except DataError as error:
            return [*results, (name, error)]
    return results


def _add(images: Images, results: list[Decoded]) -> None:
    for name, image in results:
        if isinstance(image, DataError):
            raise image
        images.add(name, image)


@contextmanager
def _worker(image_size: int | None) -> Iterator[Connection]:
    """The line to a worker, which is killed in the end and ends by itself where the line is cut."""
    ours, theirs = Pipe()
    with ours:
        with theirs:
            command = [sys.executable, "-c", WORKER.format(sys.path, theirs.fileno(), image_size)]
            # Ctrl-C goes to a process group: to this one, not to that of the worker
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()], process_group=0)
        with process:
            try:
                yield ours
            finally:
                process.kill()


def _receive(worker: Connection, batch: list[Encoded]) -> list[Decoded]:
    with _alive(batch):
        return worker.recv() if batch else []


@contextmanager
def _alive(batch: list[Encoded]) -> Iterator[None]:
    try:
        yield
    except (EOFError, OSError) as error:
        raise RunError(
            f"{batch[0][0]}: the process decoding this image or one of the {len(batch) - 1} after it died: "
            f"was it killed, or out of memory?"
        ) from error


def serve(channel: int, image_size: int | None) -> None:
    """What a worker does until the line is cut."""
    with Connection(channel) as line:
        while True:
            try:
                line.send(_attempt(line.recv(), image_size))
            except (EOFError, ConnectionError):
                return
