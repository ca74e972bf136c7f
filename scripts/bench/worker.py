"""Worker processes on the worker's side: builds one contender for one network, then executes commands from standard
input. Imports no framework.

Answers are JSON, one line each. The first answer is sent after the first step. Then "run 20" runs 20 steps, waits for
the device and answers {"milliseconds": total, "steps": 20, "loss": …}. The process ends with its standard input. If
something cannot be built or run, the answer is {"error": "why"}.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bench.malloc import keep_memory
from bench.works import PRECISIONS, WORKS, Work, work_of


@dataclass(frozen=True)
class Job:
    """What a worker builds, from its command line."""

    variant: str
    work: Work
    batch_size: int
    mode: str  # step: one dispatch per step; epoch: many steps per dispatch if the framework can; trials
    trials: int = 1  # networks trained at once
    precision: str = "float32"  # see works.PRECISIONS
    device: str = "cpu"


@dataclass(frozen=True)
class Runner:
    """A contender that is ready to compile."""

    parameters: int
    run: Callable[[int], tuple[int, float]]  # runs at least so many steps, waits; returns steps and a mean loss
    facts: Callable[[], dict[str, Any]]  # versions, threads, device


def main(build: Callable[[Job], Runner]) -> None:
    """Serves the contender of `build` until standard input ends. The imports in `build` are part of the start."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--variant", default="")
    parser.add_argument("--work", choices=WORKS, required=True)
    parser.add_argument("--width", type=int)
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--mode", required=True)
    parser.add_argument("--trials", type=int, default=1)
    parser.add_argument("--precision", choices=PRECISIONS, default="float32")
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--malloc", action="store_true")
    arguments = parser.parse_args()
    job = Job(
        arguments.variant,
        work_of(arguments.work, arguments.width),
        arguments.batch_size,
        arguments.mode,
        arguments.trials,
        arguments.precision,
        arguments.device,
    )
    serve(lambda: build(job), malloc=arguments.malloc)


def serve(build: Callable[[], Runner], malloc: bool) -> None:
    """Builds and compiles a contender, then answers commands."""
    runner: Runner

    def ready() -> dict[str, Any]:
        nonlocal runner
        accepted = keep_memory() if malloc else None
        started = time.perf_counter()
        runner = build()
        _, loss = runner.run(1)
        seconds = time.perf_counter() - started
        return {"compile_seconds": seconds, "loss": loss, "parameters": runner.parameters, "malloc": accepted}

    def reply(line: str) -> dict[str, Any]:
        verb, _, number = line.partition(" ")
        return runner.facts() if verb == "facts" else _timed(runner.run, int(number))

    serve_lines(ready, reply)


def serve_lines(ready: Callable[[], dict[str, Any]], reply: Callable[[str], dict[str, Any]]) -> None:
    """Answers `ready()`, then `reply(line)` for every line of input. Output printed by libraries goes to standard
    error; only answers go to standard output."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(values: dict[str, Any]) -> None:
        print(json.dumps(values), file=answers, flush=True)

    try:
        answer(ready())
        for line in sys.stdin:
            answer(reply(line.strip()))
    except Exception as error:
        answer({"error": f"{type(error).__name__}: {error}".strip().splitlines()[0]})
        raise


def _timed(run: Callable[[int], tuple[int, float]], steps: int) -> dict[str, Any]:
    started = time.perf_counter()
    steps, loss = run(steps)
    return {"milliseconds": 1e3 * (time.perf_counter() - started), "steps": steps, "loss": loss}
