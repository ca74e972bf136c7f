"""Worker processes that make images and write them into memory shared with this process.

A worker is a new interpreter that imports only this package: a fork would copy the locks of JAX's threads, and
multiprocessing would run the user's main module again. Threads wait for each other (measured: four of them decode small
images more slowly than one).
"""

import os
import signal
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Pipe
from typing import IO, Any, Protocol

import numpy as np

from cnn_jax.errors import DataError, RunError

AHEAD = 2  # batches queued per worker, so that it never waits; its replies are short and fit into the pipe unread
MOST = 16  # workers, more than one process can feed
WORKER = "import sys; sys.path[:] = {}; from cnn_jax.data.workers import serve; serve({}, {}, {}, {})"
IDLE = -1


class Work(Protocol):
    """What workers do; passed to them by pickle."""

    def images(self, batch: Sequence[Any]) -> Iterator[np.ndarray]:
        """Yields an image uint8 [H,W,1 or 3] for each item, in order. Raises DataError for the first that fails."""
        ...

    def name(self, item: Any) -> str:
        """How errors call the item."""
        ...


def processors() -> int:
    """The number of processors available to this process."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def shared_memory() -> IO[bytes]:
    """An empty file in memory."""
    return open(os.memfd_create("images"), "w+b") if hasattr(os, "memfd_create") else tempfile.TemporaryFile()


@dataclass
class Worker:
    """The parent's side of a worker. `at` is shared memory: the index of the image being made."""

    work: Work
    pipe: Connection
    process: subprocess.Popen
    at: np.ndarray
    pending: deque[tuple[int, Sequence[Any]]] = field(default_factory=deque)  # batches sent but not yet answered

    def send(self, index: int, batch: Sequence[Any]) -> None:
        """Sends a batch, whose images the worker writes from this index of the shared memory on."""
        self.pending.append((index, batch))
        with self._alive():
            self.pipe.send((index, batch))

    def receive(self) -> tuple[Sequence[Any], list[tuple[int, ...]], DataError | None]:
        """Waits for the oldest batch: its items, the shapes of its images, and the error that ended it. Raises RunError
        if the worker died."""
        with self._alive():
            shapes, error = self.pipe.recv()
        return self.pending.popleft()[1], shapes, error

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
                return f"{self.work.name(batch[at - index])}: the process that was decoding this image"
        first = self.pending[0][1]
        name = self.work.name(first[0])
        return f"{name}: the process that was to decode this image and the {len(first) - 1} after it"


@contextmanager
def started(count: int, work: Work, memory: IO[bytes], shape: tuple[int, ...]) -> Iterator[list[Worker]]:
    """Workers that write into `memory`, an array uint8 of `shape` [N,H,W,C]; killed on exit."""
    with ExitStack() as stack:
        yield [stack.enter_context(_worker(work, memory, shape)) for _ in range(count)]


@contextmanager
def _worker(work: Work, memory: IO[bytes], shape: tuple[int, ...]) -> Iterator[Worker]:
    """Starts a worker, killed on exit; it also ends by itself when its pipe is closed."""
    ours, theirs = Pipe()
    with ours, shared_memory() as place:
        at = np.memmap(place, np.int64, "w+", shape=(1,))
        at[0] = IDLE
        with theirs:
            fds = (theirs.fileno(), memory.fileno(), place.fileno())
            command = [sys.executable, "-c", WORKER.format(sys.path, *fds, shape)]
            # in its own process group, out of reach of Ctrl-C
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=fds, process_group=0)
        with process:
            try:
                with suppress(OSError):  # a worker that has ended already fails when it is sent its first batch
                    ours.send(work)
                yield Worker(work, ours, process, at)
            finally:
                process.kill()


def serve(pipe_fd: int, memory: int, place: int, shape: tuple[int, ...]) -> None:
    """The worker's loop: receives batches, writes pixels into shared memory, replies with shapes and the first
    error."""
    with Connection(pipe_fd) as pipe, open(memory, "r+b") as file, open(place, "r+b") as at_file:
        images = np.memmap(file, np.uint8, "r+", shape=shape)
        at = np.memmap(at_file, np.int64, "r+", shape=(1,))
        try:
            work = pipe.recv()
            while True:
                pipe.send(_written(images, at, work, *pipe.recv()))
        except (EOFError, ConnectionError):
            return


def _written(
    images: np.ndarray, at: np.ndarray, work: Work, start: int, batch: Sequence[Any]
) -> tuple[list[tuple[int, ...]], DataError | None]:
    shapes: list[tuple[int, ...]] = []
    at[0] = start
    try:
        for index, image in enumerate(work.images(batch), start):
            if image.shape[:2] == images.shape[1:3]:
                images[index] = image
            shapes.append(image.shape)
            at[0] = index + 1
    except DataError as error:
        return shapes, error
    finally:
        at[0] = IDLE
    return shapes, None
