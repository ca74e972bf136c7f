"""Groups trials by program and chooses how to run the trials of a program in parallel.

Trials that differ only in traced numbers (learning rate, momentum, seed …) share a program. Either each trial is
trained on its own, bit for bit as in a single run, by one worker ('one') or by several at once ('workers'); or batches
of trials that fit into memory are trained in one program ('vmap', 'map'). The fastest is chosen by a short measurement.

Trials whose networks differ in width can share a program too ('grid', see `training.union`): the widest computes for
all, but there is only one compilation.
"""

import concurrent.futures
import contextlib
import dataclasses
import itertools
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import jax
import numpy as np

from cnn_jax.errors import RequestError
from cnn_jax.training.config import Config
from cnn_jax.training.epoch import StreamedExamples, steps_of_epoch
from cnn_jax.training.fit import compile_program, initial_states, seconds_to_compile, traced_numbers
from cnn_jax.training.memory import free_bytes, step_bytes
from cnn_jax.training.state import Examples, Program
from cnn_jax.training.step import train_steps
from cnn_jax.training.trials import Transform
from cnn_jax.training.union import union

Parallel = Literal["auto", "one", "workers", "vmap", "map", "grid"]
MEASURE_SECONDS = 0.3  # of steps for each mode
WORTH = 20.0  # vmap is measured only if the trials take this many times as long as a compilation
PREFER_ALONE = 1.1  # how much faster vmap must be to be chosen, since it rounds differently than a single trial
MAX_TRIAL_BATCH = 64
MEMORY_SHARE = 0.5  # of the free memory, for a batch of trials


@dataclass(frozen=True)
class Trials:
    """How to run the trials of one program.

    Attributes:
      numbers: the numbers of the trials.
      workers: number of workers that train in parallel.
      transform: over a batch of trials; None trains each trial on its own.
      batch_size: maximum number of trials in a batch.
      measured: seconds per step and trial of each measured mode.
    """

    numbers: tuple[int, ...]
    workers: int = 1
    transform: Transform = None
    batch_size: int = 1
    measured: tuple[tuple[str, float], ...] = ()

    def batches(self) -> list[tuple[int, ...]]:
        """The trials that are trained together, in batches of nearly equal size."""
        count = math.ceil(len(self.numbers) / self.batch_size)
        cuts = [len(self.numbers) * i // count for i in range(count + 1)]
        return [self.numbers[a:b] for a, b in itertools.pairwise(cuts)]

    def among(self, count: int) -> "Trials":
        """Those of the trials 0 to `count` - 1."""
        return dataclasses.replace(self, numbers=tuple(number for number in self.numbers if number < count))

    def renumbered(self, numbers: Sequence[int]) -> "Trials":
        """The trials that have these numbers, by their present ones."""
        return dataclasses.replace(self, numbers=tuple(numbers[number] for number in self.numbers))

    def to_json(self) -> dict[str, Any]:
        """The form in the record of a sweep."""
        return {
            "trials": list(self.numbers),
            "workers": self.workers,
            "transform": self.transform,
            "chunk": self.batch_size,
            "measured_seconds": dict(self.measured),
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Trials":
        """The inverse of `to_json`."""
        measured = tuple(values["measured_seconds"].items())
        return cls(tuple(values["trials"]), values["workers"], values["transform"], values["chunk"], measured)


def groups(configs: Sequence[Config], programs: Sequence[Program]) -> list[tuple[int, ...]]:
    """The numbers of the trials in each group with equal program, data, batch size and number of epochs, in order."""
    trials: dict[Any, list[int]] = {}
    for i, (config, program) in enumerate(zip(configs, programs, strict=True)):
        trials.setdefault((program, config.train_examples, config.batch_size, config.epochs), []).append(i)
    return [tuple(numbers) for numbers in trials.values()]


def check_parallel(parallel: Parallel, configs: Sequence[Config], programs: Sequence[Program]) -> None:
    """Raises RequestError for a way to run these trials in parallel that is not possible."""
    if parallel in ("auto", "one", "workers"):
        return
    if any(config.split_seed is None for config in configs):
        raise RequestError(f"parallel = {parallel!r} needs the same data for all trials: give split_seed a number")
    if any(program.devices > 1 or program.streamed for program in programs):
        raise RequestError(f"parallel = {parallel!r} needs one device per trial and data in memory")
    if parallel == "grid" and len(sets := _joined(groups(configs, programs), configs, programs)) > 1:
        one, other = (programs[parts[0][0]].network for parts in sets[:2])
        raise RequestError(
            "parallel = 'grid' needs trials of equal data, batch size, epochs and optimizer, whose networks differ in "
            f"numbers of filters or units alone and have an exact union (docs/grid.md); {one} and {other} have none"
        )


def make_plan(
    parallel: Parallel,
    configs: Sequence[Config],
    programs: Sequence[Program],
    data: Callable[[int], tuple[Examples | StreamedExamples, Examples]],
) -> list[Trials]:
    """How to run the trials with these configs and programs, as requested or, for 'auto', as a short measurement finds
    fastest. `data` returns the training and validation examples of a trial."""
    plan = []
    for parts in _joined(groups(configs, programs), configs, programs):
        examples = data(parts[0][0])
        shared = configs[parts[0][0]].split_seed is not None
        if parallel == "grid" or (
            parallel == "auto" and shared and _worth_joining(parts, configs, programs, *examples)
        ):
            parts = [tuple(sorted(itertools.chain(*parts)))]
        if parallel == "auto":
            _compile(parts, configs, programs, *examples)
        for numbers in parts:
            program = union([programs[i] for i in numbers], None)
            assert program is not None
            mode: Parallel = "grid" if program.contained else parallel
            plan.append(choose(mode, numbers, [configs[i] for i in numbers], program, *examples))
    return plan


def _compile(
    parts: Sequence[tuple[int, ...]],
    configs: Sequence[Config],
    programs: Sequence[Program],
    train: Examples | StreamedExamples,
    validation: Examples,
) -> None:
    """Compiles the programs that will be measured side by side, one trial of each group."""
    firsts = [numbers[0] for numbers in parts if len(numbers) > 1 and not programs[numbers[0]].streamed]
    if len(firsts) < 2:
        return
    with concurrent.futures.ThreadPoolExecutor() as threads:
        list(threads.map(lambda i: compile_program([configs[i]], programs[i], train, validation), firsts))


def _joined(
    parts: Sequence[tuple[int, ...]], configs: Sequence[Config], programs: Sequence[Program]
) -> list[list[tuple[int, ...]]]:
    """The groups `parts`, together where one program would be exact for all of their trials."""
    together: list[list[tuple[int, ...]]] = []
    for part in parts:
        for others in together:
            i, j = part[0], others[0][0]
            same = ("train_examples", "batch_size", "epochs")
            if all(getattr(configs[i], name) == getattr(configs[j], name) for name in same) and union(
                [programs[numbers[0]] for numbers in (*others, part)], None
            ):
                others.append(part)
                break
        else:
            together.append([part])
    return together


def choose(
    parallel: Parallel,
    numbers: tuple[int, ...],
    configs: Sequence[Config],
    program: Program,
    train: Examples | StreamedExamples,
    validation: Examples,
) -> Trials:
    """Chooses how to run the trials `numbers` with these configs: as requested, or for 'auto' the fastest mode in a
    short measurement."""
    max_in_memory = int(MEMORY_SHARE * free_bytes() // step_bytes(program.network, configs[0].batch_size))
    trial_batch = max(1, min(len(numbers), MAX_TRIAL_BATCH, max_in_memory))
    workers = _max_workers(program, len(numbers))
    if parallel in ("vmap", "map", "grid"):
        return Trials(numbers, 1, _side_by_side() if parallel == "grid" else parallel, trial_batch)
    if parallel != "auto" or len(numbers) == 1 or isinstance(train, StreamedExamples):
        return Trials(numbers, 1 if parallel == "one" else workers)

    compile_seconds = seconds_to_compile(configs[:1], program, train, validation)
    seconds = {"one": _seconds(configs[:1], program, train)}
    if workers > 1:
        seconds["workers"] = _seconds_of_workers(workers, configs, program, train)
    steps = configs[0].epochs * math.ceil(train.labels.shape[0] / configs[0].batch_size)
    shared = configs[0].split_seed is not None
    if shared and program.devices == 1 and seconds["one"] * steps * len(numbers) > WORTH * compile_seconds:
        sample = configs[: min(trial_batch, 8)]
        vectorised = dataclasses.replace(program, transform="vmap")
        compile_program(sample, vectorised, train, validation)
        seconds["vmap"] = _seconds(sample, vectorised, train)
    measured = tuple((mode, float(f"{value:.3g}")) for mode, value in seconds.items())
    best = min(seconds, key=lambda mode: seconds[mode] * (PREFER_ALONE if mode == "vmap" else 1.0))
    if best == "vmap":
        return Trials(numbers, 1, "vmap", trial_batch, measured)
    return Trials(numbers, workers if best == "workers" else 1, measured=measured)


def _worth_joining(
    parts: Sequence[tuple[int, ...]],
    configs: Sequence[Config],
    programs: Sequence[Program],
    train: Examples | StreamedExamples,
    validation: Examples,
) -> bool:
    """Whether one program for these groups, in which the widest network computes for all, ends sooner than a program
    for each: measured by the widest network alone on a CPU, where compiling takes little longer than a few steps, and
    by the program of all on other devices, which leave a small network nearly idle."""
    if len(parts) < 2 or programs[0].devices > 1 or programs[0].streamed or jax.local_device_count() > 1:
        return False  # one program would leave the other devices idle
    work = [programs[part[0]].network.multiply_adds for part in parts]
    steps = configs[parts[0][0]].epochs * math.ceil(train.labels.shape[0] / configs[parts[0][0]].batch_size)
    if _side_by_side() == "map":
        widest = parts[int(np.argmax(work))]
        sample, program, compilations = [configs[widest[0]]], programs[widest[0]], len(parts) - 2
    else:
        sample = [configs[i] for part in parts for i in part][:MAX_TRIAL_BATCH]
        together = union([programs[part[0]] for part in parts], "vmap")
        assert together is not None
        program, compilations = together, len(parts)
    compile_seconds = seconds_to_compile(sample, program, train, validation)
    spared = sum(len(part) * (1.0 - share / max(work)) for part, share in zip(parts, work, strict=True))
    return _seconds(sample, program, train) * steps * spared < compilations * compile_seconds


def _side_by_side() -> Transform:
    """How trials of different widths are computed: one after another on a CPU, which a single network fills."""
    return "map" if jax.default_backend() == "cpu" else "vmap"


def _max_workers(program: Program, trials: int) -> int:
    """One per device. If the only device is a CPU, one per two cores, and at least two."""
    if program.devices > 1:
        return 1
    devices = jax.local_device_count()
    if devices == 1 and jax.default_backend() == "cpu":
        devices = max(2, (os.cpu_count() or 1) // 2)
    return max(1, min(devices, trials))


def devices_of(workers: int) -> list[jax.Device]:
    """The device of each worker: the local devices in turn."""
    local = jax.local_devices()
    return [local[i % len(local)] for i in range(workers)]


def _seconds(configs: Sequence[Config], program: Program, train: Examples | StreamedExamples) -> float:
    """Seconds per step and trial: the median of three dispatches."""
    state, numbers = initial_states(configs, program), traced_numbers(configs, program)
    with contextlib.closing(steps_of_epoch(configs, program, train, 0, 0)) as epoch:
        available, steps = next(epoch)
        seconds, count = [], 1
        for _ in range(4):
            last = min(count, len(available))
            started = time.perf_counter()
            state = jax.block_until_ready(train_steps(program, state, steps, 0, last, *numbers))
            spent = time.perf_counter() - started
            seconds.append(spent / last / len(configs))
            count = max(1, int(MEASURE_SECONDS / 3 * last / spent))
    return float(np.median(seconds[1:]))


def _seconds_of_workers(
    workers: int, configs: Sequence[Config], program: Program, train: Examples | StreamedExamples
) -> float:
    """Seconds per step and trial if `workers` workers train at once."""

    def work(device: jax.Device) -> float:
        with jax.default_device(device):
            return _seconds(configs[:1], program, jax.device_put(train, device))

    with concurrent.futures.ThreadPoolExecutor(workers) as threads:
        return float(np.median(list(threads.map(work, devices_of(workers))))) / workers
