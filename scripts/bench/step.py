"""How long does a training step take, compared with stock Flax and with PyTorch on the same machine in the same run?"""

import os
import sys
from dataclasses import dataclass
from typing import Any, Literal

from bench import axes, options, table
from bench.contenders import Contender, contenders
from bench.measure import Field, Turns, measure_build, measure_ceiling
from bench.works import WORKS
from cnn_jax.errors import RequestError

TELLING = ("CNN_JAX_OPS", "JAX_", "XLA_", "OMP_", "MKL_", "KMP_", "MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD", "TORCH")
ROUNDS = {"step": 15, "epoch": 15, "start": 5, "trials": 15}


@dataclass(frozen=True, kw_only=True)
class Step(options.Options):
    """Times a training step of four networks. Hardware: CPU, or one GPU without --torch. docs/performance.md says what
    exactly is compared.

    For example: cnn-jax bench step --torch PYTHON --out results/performance
    """

    rounds: int | None = None  # type: ignore[assignment]
    """Turns of each contender (15; for mode start 5)."""
    mode: Literal["step", "epoch", "start", "trials"] = "step"
    """One dispatch for each step, many in one, from the start of a process to its first step, or several networks."""
    axis: Literal["width", "batch", "trials", "devices"] | None = None
    """The cost of network L along an axis instead, ours and Flax."""
    works: tuple[Literal["L", "M", "C", "R"], ...] = ("L", "M", "C", "R")
    """The networks."""
    contenders: tuple[str, ...] = ()
    """Beside ours (default: all peers)."""
    steps: int | None = None
    """Steps in a turn (default: as many as take half a second)."""
    batch_size: int = 128
    """Images in a step."""
    trials: int = 8
    """Networks trained at once in mode trials."""

    def check(self) -> None:
        super().check()
        if self.axis and (self.mode != "step" or self.torch):
            raise RequestError("--axis goes neither with another --mode nor with --torch")
        for name in ("batch_size", "trials", "steps"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise RequestError(f"--{name.replace('_', '-')} {value}: it must be at least 1")
        rivals(self)  # a wrong name is refused before anything is measured

    @property
    def file(self) -> str:
        return f"axis-{self.axis}" if self.axis else self.mode


def measure(asked: Step) -> dict[str, Any]:
    """What goes into the JSON file, beside what all benchmarks say."""
    rounds, steps = (2, 1) if asked.quick else (asked.rounds or ROUNDS[asked.mode], asked.steps)
    how = Turns(rounds, steps, asked.batch_size, asked.torch, asked.trials if asked.mode == "trials" else 1)
    measured: dict[str, Any] = {
        "mode": "axis" if asked.axis else asked.mode,
        "axis": asked.axis,
        "environment": {name: value for name, value in os.environ.items() if name.startswith(TELLING)},
        "rounds": how.rounds,
        "batch_size": how.batch_size,
        "trials": how.trials,
        "works": {},
    }
    if asked.mode == "start":
        _say("native operations")
        measured["build"] = measure_build(how.rounds)
    else:
        _say("matrix product")
        measured["ceiling"] = measure_ceiling(how)
    if asked.axis:
        measured["points"] = axes.measure_axis(asked.axis, how, measured["ceiling"]["gflops_per_second"])
        if asked.out:
            axes.plot(measured, asked.out / f"{asked.file}.png")
        return measured | facts(measured["points"][0])
    for name in ("L",) if asked.quick else asked.works:
        _say(f"network {name}")
        field = Field(WORKS[name], rivals(asked), how)
        if asked.mode == "start":
            measured["works"][name] = field.starts()
        else:
            measured["works"][name] = field.steps(asked.mode, measured["ceiling"]["gflops_per_second"])
    return measured | facts(next(iter(measured["works"].values())))


def rivals(asked: Step) -> list[Contender]:
    """Ours and the contenders that were asked for."""
    known = {contender.name: contender for contender in contenders(bool(asked.torch), asked.mode == "trials")}
    for name in asked.contenders:
        if name not in known:
            raise RequestError(f"--contenders {name}: known here are {', '.join(known)}")
    wanted = {"ours", *(asked.contenders or (name for name, one in known.items() if not one.on_request))}
    return [contender for name, contender in known.items() if name in wanted]


def facts(work: dict[str, Any]) -> dict[str, Any]:
    """Versions and device, as the workers saw them."""
    torch = (about for name, about in work["facts"].items() if name.startswith("torch"))
    return {**work["facts"]["ours"], "torch": next(torch, None)}


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


markdown = table.markdown
