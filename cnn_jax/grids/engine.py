"""Runs units of work on several devices at once, one thread for each worker."""

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import jax

T = TypeVar("T")
POLL_SECONDS = 0.2  # in which the main thread hears signals


def run(units: Iterable[T], work: Callable[[T], None], devices: Sequence[jax.Device]) -> None:
    """Calls `work` for every unit, in order, with a worker for each of `devices`, which is its default device.

    After an exception no further unit begins; it is raised when the others have ended.
    """
    if len(devices) == 1:
        with jax.default_device(devices[0]):
            for unit in units:
                work(unit)
        return
    left, lock = iter(units), threading.Lock()
    failures: list[BaseException] = []

    def worker(device: jax.Device) -> None:
        with jax.default_device(device):
            while not failures:
                with lock:
                    unit = next(left, None)
                if unit is None:
                    return
                try:
                    work(unit)
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
