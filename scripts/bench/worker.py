"""The side of a worker: a process that builds one contender for one work and then obeys lines. Imports no framework.

It answers in JSON, a line each. The first line, `Ready`, comes when the first step has been finished. After that
"run 20" runs 20 steps, waits for the device and answers {"milliseconds": total, "steps": 20, "loss": …}. It ends with
its standard input. What cannot be built or run is answered with {"error": "why"}.
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
from bench.works import WORKS, Work, work_of


@dataclass(frozen=True)
class Job:
    """What a worker is to build: from its command line."""

    variant: str
    work: Work
    batch_size: int
    mode: str  # step: one dispatch for each step; epoch: many steps in one, where the framework can; trials
    trials: int = 1  # networks that take every step


@dataclass(frozen=True)
class Built:
    """A contender that is ready to compile. `run` takes at least as many steps as it is asked for, waits for the device
    and returns how many it took and a mean loss. `facts`: versions, threads, device."""

    parameters: int
    run: Callable[[int], tuple[int, float]]
    facts: Callable[[], dict[str, Any]]


def main(build: Callable[[Job], Built]) -> None:
    """Serves what `build` makes until standard input ends. What it imports is a part of what it builds."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--variant", default="")
    parser.add_argument("--work", choices=WORKS, required=True)
    parser.add_argument("--width", type=int)
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--mode", required=True)
    parser.add_argument("--trials", type=int, default=1)
    parser.add_argument("--malloc", action="store_true")
    arguments = parser.parse_args()
    job = Job(
        arguments.variant,
        work_of(arguments.work, arguments.width),
        arguments.batch_size,
        arguments.mode,
        arguments.trials,
    )
    serve(lambda: build(job), malloc=arguments.malloc)


def serve(build: Callable[[], Built], malloc: bool) -> None:
    """Builds, compiles, answers."""
    built: Built

    def ready() -> dict[str, Any]:
        nonlocal built
        accepted = keep_memory() if malloc else None
        started = time.perf_counter()
        built = build()
        _, loss = built.run(1)
        seconds = time.perf_counter() - started
        return {"compile_seconds": seconds, "loss": loss, "parameters": built.parameters, "malloc": accepted}

    def reply(line: str) -> dict[str, Any]:
        verb, _, number = line.partition(" ")
        return built.facts() if verb == "facts" else _timed(built.run, int(number))

    serve_lines(ready, reply)


def serve_lines(ready: Callable[[], dict[str, Any]], reply: Callable[[str], dict[str, Any]]) -> None:
    """Answers `ready()`, then `reply(line)` to every line. Libraries may print: that goes to standard error, only
    answers to standard output."""
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
