"""Lets the workers of one network compute in turns, one at a time, and summarises their times."""

import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench import ceiling
from bench.contenders import Contender
from bench.process import Worker, environment, start
from bench.works import CLASSES, Work
from cnn_jax.errors import RunError
from cnn_jax.zoo import build

TURN_SECONDS = 0.5  # duration of a turn if the number of steps is not given
PAUSE_SECONDS = 0.05  # before a turn: the threads of the previous worker keep spinning for a moment


@dataclass(frozen=True)
class Turns:
    """The settings of a measurement, for any network."""

    rounds: int
    steps: int | None  # in a turn; None: as many as take TURN_SECONDS
    batch_size: int | None  # None: that of the work
    torch: str | None  # Python of an environment with torch
    trials: int = 1  # networks trained at once
    device: str = "cpu"


def summary(values: Sequence[float], unit: str) -> dict[str, Any]:
    """n, median, quartiles, minimum and maximum of `values`, and the values in order under the name of their unit."""
    smallest, lower, median, upper, largest = np.percentile(values, (0, 25, 50, 75, 100)).tolist()
    quantiles = {"median": median, "lower_quartile": lower, "upper_quartile": upper, "min": smallest, "max": largest}
    return {"n": len(values), **quantiles, unit: list(values)}


def describe(work: Work) -> dict[str, Any]:
    """A network and its cost by arithmetic. A backward pass costs two forward passes, minus the gradient with respect
    to the images, which is not computed."""
    network = build(work.text, work.shape, CLASSES)
    first = next(node.multiply_adds for node in network.walk() if node.multiply_adds)
    return {
        "network": work.text,
        "shape": list(work.shape),
        "parameters": network.parameters,
        "multiply_adds": network.multiply_adds,
        "flops_per_image": 2 * (3 * network.multiply_adds - first),
    }


def take_turns(workers: dict[str, Worker], turns: Turns) -> dict[str, dict[str, Any]]:
    """Milliseconds per step of each worker over the rounds. Every second round is in reverse order, so that no
    contender always follows the same other one."""
    steps = {name: _steps_of_a_turn(worker, turns.steps) for name, worker in workers.items()}
    times: dict[str, list[float]] = {name: [] for name in workers}
    for number in range(turns.rounds):
        for name in _order(list(workers), number):
            time.sleep(PAUSE_SECONDS)
            milliseconds, steps[name] = workers[name].run(steps[name])
            times[name].append(milliseconds)
    return {name: {**summary(times[name], "ms_per_step"), "steps": steps[name]} for name in workers}


def _order(items: list, number: int) -> list:
    return items[::-1] if number % 2 else items


def _steps_of_a_turn(worker: Worker, wanted: int | None) -> int:
    """Warms a worker up; returns `wanted`, or if None the number of steps that take TURN_SECONDS."""
    turn = 1e3 * TURN_SECONDS
    milliseconds, steps = worker.run(1)
    if wanted:
        return wanted
    if milliseconds * steps < turn:
        milliseconds, _ = worker.run(3)
    return max(1, round(turn / milliseconds))


def measure_ceiling(turns: Turns, precision: str = "float32") -> dict[str, Any]:
    """The matrix product in JAX and, if available, in torch: milliseconds for each, and the GFLOP/s of the better
    median."""
    size = ceiling.SIZES[turns.device]
    with contextlib.ExitStack() as stack:
        workers = {}
        for name, python in (("jax", sys.executable), ("torch", turns.torch)):
            if python is not None:
                arguments = ["bench.ceiling", name, turns.device, precision]
                workers[name] = Worker(f"matrix product in {name}", python, arguments, environment(name))
                stack.callback(workers[name].close)
        products = take_turns(workers, turns)
    best = min(product["median"] for product in products.values())
    return {"size": size, "products": products, "gflops_per_second": 2 * size**3 / best / 1e6}


def utilisation(worker: Worker, steps: int) -> float | None:
    """The share of the time in which the first GPU computes while a worker runs so many steps; None if the driver's
    tool is missing. The GPU averages over a sixth of a second or more, so the first samples do not count."""
    command = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "--id=0", "--loop-ms=100"]
    try:
        sampler = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    except OSError:
        return None
    worker.run(steps)
    sampler.terminate()
    samples = [float(line) / 100 for line in sampler.communicate()[0].splitlines() if line.strip().isdigit()]
    return float(np.median(samples[3:])) if len(samples) > 3 else None


BUILD = """
import time
from cnn_jax.ops.native import library
started = time.perf_counter()
library.build()
print(time.perf_counter() - started)
"""


def measure_build(rounds: int) -> dict[str, Any] | None:
    """Seconds to build the native operations, with an empty cache each time; None without a compiler."""
    seconds = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as cache:
            more = environment("cnn_jax", {"CNN_JAX_CACHE": cache})
            result = subprocess.run([sys.executable, "-c", BUILD], env=more, capture_output=True, text=True)
        if result.returncode:
            return None
        seconds.append(float(result.stdout))
    return summary(seconds, "seconds")


class Comparison:
    """The contenders on one network: starts their workers and collects the results."""

    def __init__(self, work: Work, contenders: Sequence[Contender], turns: Turns):
        self.work, self.contenders, self.turns = work, contenders, turns
        self.batch_size = turns.batch_size or work.batch_size
        self.facts: dict[str, Any] = {**describe(work), "batch_size": self.batch_size, "skipped": {}, "facts": {}}

    def worker(self, contender: Contender, mode: str) -> Worker | None:
        """Starts a contender's worker and checks its number of parameters. If an optional contender fails, records the
        reason and returns None."""
        if contender.name in self.facts["skipped"]:
            return None
        try:
            turns = self.turns
            worker = start(contender, self.work, mode, self.batch_size, turns.trials, turns.torch, turns.device)
        except RunError as error:
            if not contender.optional:
                raise
            self.facts["skipped"][contender.name] = str(error)
            return None
        with contextlib.ExitStack() as on_error:
            on_error.callback(worker.close)
            if worker.ready["parameters"] != self.facts["parameters"]:
                counts = f"{worker.ready['parameters']:,} parameters and not {self.facts['parameters']:,}"
                raise RunError(f"{worker.name}: another network, with {counts}")
            if contender.name not in self.facts["facts"]:
                self.facts["facts"][contender.name] = worker.ask("facts")
            on_error.pop_all()
        return worker

    def steps(self, mode: str, ceiling_gflops: float) -> dict[str, Any]:
        """Starts all workers and lets them compute in turns, in mode step, epoch or trials. Compilation is measured
        separately."""
        with contextlib.ExitStack() as stack:
            workers: dict[str, Worker] = {}
            for contender in self.contenders:
                if (worker := self.worker(contender, mode)) is not None:
                    stack.callback(worker.close)
                    workers[contender.name] = worker
            measured = take_turns(workers, self.turns)
            if self.turns.device == "gpu":
                for name, worker in workers.items():
                    measured[name]["utilisation"] = utilisation(worker, 4 * measured[name]["steps"])
        images = 1e3 * self.batch_size * self.turns.trials
        for name, worker in workers.items():
            gflops = self.facts["flops_per_image"] * images / measured[name]["median"] / 1e9
            measured[name] |= {
                "compile_seconds": worker.ready["compile_seconds"],
                "malloc": worker.ready["malloc"],
                "images_per_second": images / measured[name]["median"],
                "gflops_per_second": gflops,
                "ceiling_fraction": gflops / ceiling_gflops,
            }
        return self._result(measured)

    def starts(self) -> dict[str, Any]:
        """Seconds from the start of a process to the end of its first step, with a new process for every turn."""
        seconds: dict[str, list[float]] = {}
        for number in range(self.turns.rounds):
            for contender in _order(list(self.contenders), number):
                if (worker := self.worker(contender, "step")) is not None:
                    seconds.setdefault(contender.name, []).append(worker.start_seconds)
                    worker.close()
        return self._result({name: summary(values, "seconds") for name, values in seconds.items()})

    def _result(self, measured: dict[str, dict[str, Any]]) -> dict[str, Any]:
        for contender in self.contenders:
            if contender.name in measured:
                measured[contender.name] |= {
                    "framework": contender.framework,
                    "environment": dict(contender.environment),
                }
        return {**self.facts, "contenders": measured, "against": against(measured, self.contenders)}


def against(measured: dict[str, dict[str, Any]], contenders: Sequence[Contender]) -> dict[str, Any]:
    """The ratio of each rival's median time to ours, with the rival's name: flax, and the fastest PyTorch without and
    with the malloc settings."""
    ratios = {}
    kinds = {"flax": ("flax", False), "torch": ("torch", False), "torch+malloc": ("torch", True)}
    for rival, kind in kinds.items():
        names = [c.name for c in contenders if (c.framework, c.malloc) == kind and c.name in measured]
        if names and "ours" in measured:
            best = min(names, key=lambda name: measured[name]["median"])
            ratios[rival] = {"contender": best, "ratio": measured[best]["median"] / measured["ours"]["median"]}
    return ratios
