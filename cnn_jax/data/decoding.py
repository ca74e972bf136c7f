"""Decodes many images, in worker processes if there is enough work to pay for starting them.

A worker is a new interpreter that imports only this package: a fork would copy the locks of JAX's threads, and
multiprocessing would run the user's main module again. Threads wait for each other (measured: 32x32 takes twice as
long). Workers receive bytes that were read and checked here, and write pixels into memory shared with this process.
"""

import os
import signal
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import chain, islice
from multiprocessing.connection import Connection, Pipe
from typing import IO

import numpy as np

from cnn_jax.data.images import Images, Size, decode
from cnn_jax.errors import DataError, RunError

BATCH = 1 << 18  # encoded bytes per message
IMAGE = 1000  # the overhead of an image, in bytes
ENOUGH = 64  # at least this many batches (half a second of work) make two workers worth starting
AHEAD = 2  # batches queued per worker, so that it never waits; its replies are short and fit into the pipe unread
MOST = 16  # workers, more than one process can feed
WORKER = "import sys; sys.path[:] = {}; from cnn_jax.data.decoding import serve; serve({}, {}, {}, {}, {})"
IDLE = -1

Item = tuple[str, bytes | DataError]  # an image's name, and its bytes or the error of reading them


def decode_all(items: Iterable[tuple[str, bytes]], count: int, image_size: Size | None) -> Images:
    """Decodes `count` images, given by name and bytes. The result does not depend on the number of workers.

    Raises DataError for the first image that cannot be read or decoded or has another size, RunError if a worker died;
    the message says how, and at which image.
    """
    batches = _batches(items)
    start = list(islice(batches, ENOUGH))
    processes = min(_cpus(), MOST)
    if len(start) < ENOUGH or processes == 1:
        images = Images(count)
        for name, data in chain.from_iterable(chain(start, batches)):
            images.add(name, _decode(name, data, image_size))
        return images
    with _memory() as memory, ExitStack() as stack:
        images = Images(count, memory)
        for name, data in start.pop(0):
            images.add(name, _decode(name, data, image_size))
        workers = [stack.enter_context(_worker(memory, images.array.shape, image_size)) for _ in range(processes)]
        turns = deque(workers * AHEAD)
        index = images.filled
        for batch in chain(start, batches):
            worker = turns.popleft()
            if len(worker.pending) == AHEAD:
                worker.receive(images)
            worker.send(index, batch)
            turns.append(worker)
            index += len(batch)
        for worker in turns:
            if worker.pending:
                worker.receive(images)
    return images


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


def _decode(name: str, data: bytes | DataError, image_size: Size | None) -> np.ndarray:
    if isinstance(data, DataError):
        raise data
    return decode(name, data, image_size)


def _cpus() -> int:
    """The number of processors available to this process."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memory() -> IO[bytes]:
    return open(os.memfd_create("images"), "w+b") if hasattr(os, "memfd_create") else tempfile.TemporaryFile()


@dataclass
class _Worker:
    """The parent's side of a decoding process. `at` is shared memory: the index of the image being decoded."""

    pipe: Connection
    process: subprocess.Popen
    at: np.ndarray
    pending: deque[tuple[int, list[Item]]] = field(default_factory=deque)  # batches sent but not yet answered

    def send(self, index: int, batch: list[Item]) -> None:
        """Sends a batch whose first image has this index."""
        self.pending.append((index, batch))
        with self._alive():
            self.pipe.send((index, batch))

    def receive(self, images: Images) -> None:
        """Receives the reply to the oldest pending batch. Raises DataError for its first image that failed."""
        with self._alive():
            shapes = self.pipe.recv()
        _, batch = self.pending.popleft()
        for (name, _), shape in zip(batch, shapes, strict=False):  # an error comes last
            if isinstance(shape, DataError):
                raise shape
            images.place(name, shape)

    @contextmanager
    def _alive(self) -> Iterator[None]:
        try:
            yield
        except (EOFError, OSError) as error:
            raise RunError(f"{self._place()} {self._end()}") from error

    def _end(self) -> str:
        try:
            code = self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            return "no longer answers"
        if code >= 0:
            return f"ended with exit status {code}"
        memory = ", which is how a system that runs out of memory ends processes" if code == -signal.SIGKILL else ""
        return f"was ended by signal {-code} ({signal.strsignal(-code)}){memory}"

    def _place(self) -> str:
        at = int(self.at[0])
        for index, batch in self.pending:
            if index <= at < index + len(batch):
                return f"{batch[at - index][0]}: the process that was decoding this image"
        first = self.pending[0][1]
        return f"{first[0][0]}: the process that was to decode this image and the {len(first) - 1} after it"


@contextmanager
def _worker(memory: IO[bytes], shape: tuple[int, ...], image_size: Size | None) -> Iterator[_Worker]:
    """Starts a worker, killed on exit; it also ends by itself when its pipe is closed."""
    ours, theirs = Pipe()
    with ours, _memory() as place:
        at = np.memmap(place, np.int64, "w+", shape=(1,))
        at[0] = IDLE
        with theirs:
            fds = (theirs.fileno(), memory.fileno(), place.fileno())
            command = [sys.executable, "-c", WORKER.format(sys.path, *fds, shape, image_size)]
            # in its own process group, out of reach of Ctrl-C
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=fds, process_group=0)
        with process:
            try:
                yield _Worker(ours, process, at)
            finally:
                process.kill()


def serve(pipe_fd: int, memory: int, place: int, shape: tuple[int, ...], image_size: Size | None) -> None:
    """The worker's loop: receives batches, writes pixels into shared memory, replies with shapes or the first error."""
    with Connection(pipe_fd) as pipe, open(memory, "r+b") as file, open(place, "r+b") as at_file:
        images = np.memmap(file, np.uint8, "r+", shape=shape)
        at = np.memmap(at_file, np.int64, "r+", shape=(1,))
        while True:
            try:
                index, batch = pipe.recv()
                pipe.send(list(_written(images, at, index, batch, image_size)))
            except (EOFError, ConnectionError):
                return


def _written(
    images: np.ndarray, at: np.ndarray, start: int, batch: list[Item], image_size: Size | None
) -> Iterator[tuple[int, ...] | DataError]:
    for index, (name, data) in enumerate(batch, start):
        at[0] = index
        try:
            image = _decode(name, data, image_size)
        except DataError as error:
            yield error
            return
        if image.shape[:2] == images.shape[1:3]:
            images[index] = image
        yield image.shape
    at[0] = IDLE
