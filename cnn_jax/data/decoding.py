"""Decoding many images, in worker processes where there is enough work to pay for starting them.

A worker is a new interpreter that imports this package alone: a fork would copy the locks of JAX's threads, and
multiprocessing would run the user's main module again. Threads wait for each other (measured: 32x32 takes twice as
long). Workers get bytes that were read and checked here, and write pixels into memory shared with this process.
"""

import os
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import chain, islice
from multiprocessing.connection import Connection, Pipe
from typing import IO

import numpy as np

from cnn_jax.data.images import Images, decode
from cnn_jax.errors import DataError, RunError

BATCH = 1 << 18  # encoded bytes sent at once
IMAGE = 1000  # what an image costs beyond its bytes, in bytes
ENOUGH = 64  # batches, half a second of work, that pay for two workers
AHEAD = 2  # batches a worker holds, so that it never waits; its answers are short and fit into the line unread
MOST = 16  # workers, more than one process can feed
WORKER = "import sys; sys.path[:] = {}; from cnn_jax.data.decoding import serve; serve({}, {}, {}, {})"

Item = tuple[str, bytes | DataError]  # an image's name, and its bytes or why they cannot be read


def decode_all(items: Iterable[tuple[str, bytes]], count: int, image_size: int | None) -> Images:
    """Decodes `count` images, given by name and bytes, to the same arrays whatever the number of workers.

    DataError: of the first image that cannot be read or decoded, or has another size. RunError: a worker was killed.
    """
    batches = _batches(items)
    start = list(islice(batches, ENOUGH))
    workers = min(_cpus(), MOST)
    if len(start) < ENOUGH or workers == 1:
        images = Images(count)
        for name, data in chain.from_iterable(chain(start, batches)):
            images.add(name, _decode(name, data, image_size))
        return images
    with _memory() as memory, ExitStack() as stack:
        images = Images(count, memory)
        for name, data in start.pop(0):
            images.add(name, _decode(name, data, image_size))
        lines = [stack.enter_context(_worker(memory.fileno(), images.array.shape, image_size)) for _ in range(workers)]
        turns: deque[tuple[Connection, list[Item]]] = deque([(line, []) for line in lines] * AHEAD)
        index = images.filled
        for batch in chain(start, batches):
            line, before = turns.popleft()
            _receive(images, line, before)
            with _alive(batch):
                line.send((index, batch))
            turns.append((line, batch))
            index += len(batch)
        for line, batch in turns:
            _receive(images, line, batch)
    return images


def _batches(items: Iterable[tuple[str, bytes]]) -> Iterator[list[Item]]:
    """A failure to read becomes the last item: a bad image before it, decoded later, still comes first."""
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


def _decode(name: str, data: bytes | DataError, image_size: int | None) -> np.ndarray:
    if isinstance(data, DataError):
        raise data
    return decode(name, data, image_size)


def _cpus() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memory() -> IO[bytes]:
    return open(os.memfd_create("images"), "w+b") if hasattr(os, "memfd_create") else tempfile.TemporaryFile()


@contextmanager
def _worker(memory: int, shape: tuple[int, ...], image_size: int | None) -> Iterator[Connection]:
    """The line to a worker, which is killed in the end and ends by itself where the line is cut."""
    ours, theirs = Pipe()
    with ours:
        with theirs:
            fds = (theirs.fileno(), memory)
            command = [sys.executable, "-c", WORKER.format(sys.path, *fds, shape, image_size)]
            # in a process group of its own, Ctrl-C does not reach it
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=fds, process_group=0)
        with process:
            try:
                yield ours
            finally:
                process.kill()


def _receive(images: Images, line: Connection, batch: list[Item]) -> None:
    with _alive(batch):
        found = line.recv() if batch else []
    for (name, _), shape in zip(batch, found, strict=False):  # an error is the last
        if isinstance(shape, DataError):
            raise shape
        images.place(name, shape)


@contextmanager
def _alive(batch: list[Item]) -> Iterator[None]:
    try:
        yield
    except (EOFError, OSError) as error:
        raise RunError(
            f"{batch[0][0]}: the process decoding this image or one of the {len(batch) - 1} after it died: "
            f"was it killed, or out of memory?"
        ) from error


def serve(line_fd: int, memory: int, shape: tuple[int, ...], image_size: int | None) -> None:
    """A worker's life: batches in; pixels into the shared memory; shapes, or the first error, out."""
    with Connection(line_fd) as line, open(memory, "r+b") as file:
        room = np.memmap(file, np.uint8, "r+", shape=shape)
        while True:
            try:
                index, batch = line.recv()
                line.send(list(_written(room[index:], batch, image_size)))
            except (EOFError, ConnectionError):
                return


def _written(room: np.ndarray, batch: list[Item], image_size: int | None) -> Iterator[tuple[int, ...] | DataError]:
    for place, (name, data) in zip(room, batch, strict=False):
        try:
            image = _decode(name, data, image_size)
        except DataError as error:
            yield error
            return
        if image.shape[:2] == place.shape[:2]:
            place[...] = image
        yield image.shape
