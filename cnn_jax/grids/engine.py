"""Runs jobs on several devices in parallel, with one thread per worker."""

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import jax

T = TypeVar("T")
POLL_SECONDS = 0.2  # interval at which the main thread can handle signals


def run(jobs: Iterable[T], work: Callable[[T], None], devices: Sequence[jax.Device]) -> None:
    """Calls `work` for every job, in order, with a worker for each of `devices`, which is its default device.

    After an exception no further job starts; it is raised once the running jobs have ended.
    """
    if len(devices) == 1:
        with jax.default_device(devices[0]):
            for job in jobs:
                work(job)
        return
    queue, lock = iter(jobs), threading.Lock()
    failures: list[BaseException] = []

    def worker(device: jax.Device) -> None:
        with jax.default_device(device):
            while not failures:
                with lock:
                    job = next(queue, None)
                if job is None:
                    return
                try:
                    work(job)
                except BaseException as error:
                    failures.append(error)

    threads = [threading.Thread(target=worker, args=(device,)) for device in devices]
    for thread in threads:
        thread.start()
    for thread in threads:
        while thread.is_alive():
            thread.join(POLL_SECONDS)
    if failures:
        raise failures[0]
