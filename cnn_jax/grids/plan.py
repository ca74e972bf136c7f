"""From trials to programs, and how the trials of a program are run side by side.

Trials that differ only in traced numbers (learning rate, momentum, seed …) share a program. They are trained by several
workers at once, each trial on its own and so bit for bit as alone ('workers', 1 of them: one after another), or
together in one program ('vmap', 'map'), in chunks that fit into memory. Which is fastest is measured.
"""

import concurrent.futures
import contextlib
import dataclasses
import itertools
import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import jax
import numpy as np

from cnn_jax.errors import RequestError
from cnn_jax.network import Network
from cnn_jax.training.config import Config
from cnn_jax.training.epoch import StreamedExamples, steps_of_epoch
from cnn_jax.training.fit import compile_program, initial_states, traced_numbers
from cnn_jax.training.state import Examples, Program
from cnn_jax.training.step import home_device, train_steps
from cnn_jax.training.trials import Transform

Parallel = Literal["auto", "one", "workers", "vmap", "map"]
MEASURE_SECONDS = 0.3  # of steps for each way
WORTH = 20.0  # a way that needs a compilation is measured where the trials take this many times as long
PREFER_ALONE = 1.1  # how much faster trials together must be: they round differently than alone
MOST_TOGETHER = 64
MEMORY_SHARE = 0.5  # of the free memory that trials together may take


@dataclass(frozen=True)
class Trials:
    """Trials of one program by their numbers, and how they run."""

    numbers: tuple[int, ...]
    workers: int = 1
    transform: Transform = None
    chunk: int = 1
    measured: tuple[tuple[str, float], ...] = ()

    def units(self) -> list[tuple[int, ...]]:
        """The trials that one call trains: chunks of nearly equal size where they go together, else each alone."""
        count = math.ceil(len(self.numbers) / self.chunk)
        cuts = [len(self.numbers) * i // count for i in range(count + 1)]
        return [self.numbers[a:b] for a, b in itertools.pairwise(cuts)]

    def to_json(self) -> dict[str, Any]:
        """What the record keeps of it; seconds are per step and trial."""
        kept = {"trials": list(self.numbers), "workers": self.workers, "transform": self.transform, "chunk": self.chunk}
        return kept | {"measured_seconds": dict(self.measured)}

    @classmethod
    def from_json(cls, kept: dict[str, Any]) -> "Trials":
        measured = tuple(kept["measured_seconds"].items())
        return cls(tuple(kept["trials"]), kept["workers"], kept["transform"], kept["chunk"], measured)


def groups(configs: Sequence[Config], programs: Sequence[Program]) -> list[tuple[int, ...]]:
    """The numbers of the trials that share a program, their data, a batch size and a number of epochs, in order."""
    found: dict[Any, list[int]] = {}
    for i, (config, program) in enumerate(zip(configs, programs, strict=True)):
        found.setdefault((program, config.train_examples, config.batch_size, config.epochs), []).append(i)
    return [tuple(numbers) for numbers in found.values()]


def memory(network: Network, batch_size: int) -> int:
    """About how many bytes a trial's step holds at most: parameters, their gradient and the optimizer's two slots, and
    the activations with their gradients."""
    activations = math.prod(network.input_shape) + sum(math.prod(node.output) for node in network.walk())
    return 4 * (5 * network.parameters + 2 * batch_size * activations)


def free_memory() -> int:
    """Bytes that can still be had on the home device."""
    stats = home_device().memory_stats() or {}
    if "bytes_limit" in stats:
        return stats["bytes_limit"] - stats["bytes_in_use"]
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def choose(
    parallel: Parallel,
    numbers: tuple[int, ...],
    configs: Sequence[Config],
    program: Program,
    train: Examples | StreamedExamples,
    validation: Examples,
) -> Trials:
    """How the trials `numbers`, whose configs these are, shall run: as demanded, else the fastest way by a short
    measurement. RequestError for a demand that cannot be met."""
    fits = int(MEMORY_SHARE * free_memory() // memory(program.network, configs[0].batch_size))
    chunk = max(1, min(len(numbers), MOST_TOGETHER, fits))
    most = _most_workers(program, len(numbers))
    alone_only = program.devices > 1 or isinstance(train, StreamedExamples)
    if parallel in ("vmap", "map"):
        if alone_only:
            raise RequestError(f"parallel = {parallel!r} needs one device per trial and data in memory")
        return Trials(numbers, 1, parallel, chunk)
    if parallel != "auto" or len(numbers) == 1 or isinstance(train, StreamedExamples):
        return Trials(numbers, 1 if parallel == "one" else most)

    compile_seconds = compile_program(configs[:1], program, train, validation)
    measured = {"one": _seconds(configs[:1], program, train)}
    if most > 1:
        measured["workers"] = _seconds_of_workers(most, configs, program, train)
    steps = configs[0].epochs * math.ceil(train.labels.shape[0] / configs[0].batch_size)
    if not alone_only and measured["one"] * steps * len(numbers) > WORTH * compile_seconds > 0:
        some = min(chunk, 8)
        together = dataclasses.replace(program, transform="vmap")
        compile_program(configs[:some], together, train, validation)
        measured["vmap"] = _seconds(configs[:some], together, train)
    kept = tuple((name, float(f"{value:.3g}")) for name, value in measured.items())
    best = min(measured, key=lambda name: measured[name] * (PREFER_ALONE if name == "vmap" else 1.0))
    if best == "vmap":
        return Trials(numbers, 1, "vmap", chunk, kept)
    return Trials(numbers, most if best == "workers" else 1, measured=kept)


def _most_workers(program: Program, trials: int) -> int:
    """One a device; where the only device is a processor, one for each two of its cores, and at least two."""
    if program.devices > 1:
        return 1
    devices = jax.local_device_count()
    if devices == 1 and jax.default_backend() == "cpu":
        devices = max(2, (os.cpu_count() or 1) // 2)
    return max(1, min(devices, trials))


def devices_of(workers: int) -> list[jax.Device]:
    """The device of each worker: all devices in turn, or the only one."""
    local = jax.local_devices()
    return [local[i % len(local)] for i in range(workers)]


def _seconds(configs: Sequence[Config], program: Program, train: Examples | StreamedExamples) -> float:
    """Seconds per step and trial, the median of three stretches."""
    state, numbers = initial_states(configs, program), traced_numbers(configs, program)
    with contextlib.closing(steps_of_epoch(configs, program, train, 0, 0)) as epoch:
        available, steps = next(epoch)
        taken, count = [], 1
        for _ in range(4):
            last = min(count, len(available))
            started = time.perf_counter()
            state = jax.block_until_ready(train_steps(program, state, steps, 0, last, *numbers))
            spent = time.perf_counter() - started
            taken.append(spent / last / len(configs))
            count = max(1, int(MEASURE_SECONDS / 3 * last / spent))
    return float(np.median(taken[1:]))


def _seconds_of_workers(
    workers: int, configs: Sequence[Config], program: Program, train: Examples | StreamedExamples
) -> float:
    """Seconds per step and trial where so many workers train at once."""

    def work(device: jax.Device) -> float:
        with jax.default_device(device):
            return _seconds(configs[:1], program, jax.device_put(train, device))

    with concurrent.futures.ThreadPoolExecutor(workers) as threads:
        return float(np.median(list(threads.map(work, devices_of(workers))))) / workers
