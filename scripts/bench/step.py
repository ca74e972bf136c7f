"""How long does a training step take, compared with stock Flax and with PyTorch on the same machine in the same run?"""

import os
import sys
from dataclasses import dataclass
from typing import Any, Literal

from bench import axes, options, table
from bench.contenders import Contender, contenders
from bench.measure import Comparison, Turns, measure_build, measure_ceiling
from bench.works import WORKS
from cnn_jax.errors import RequestError

TELLING = ("CNN_JAX_OPS", "JAX_", "XLA_", "OMP_", "MKL_", "KMP_", "MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD", "TORCH")
ROUNDS = {"step": 15, "epoch": 15, "start": 5, "trials": 15}


@dataclass(frozen=True, kw_only=True)
class Step(options.Options):
    """Times a training step of four networks, on a CPU, or without --torch on one GPU. docs/performance.md describes
    the comparison.

    For example: cnn-jax bench step --torch PYTHON --out results/performance
    """

    rounds: int | None = None  # type: ignore[assignment]
    """Turns of each contender (default: 15; 5 for mode start)."""
    mode: Literal["step", "epoch", "start", "trials"] = "step"
    """What to time: step, one dispatch per step; epoch, many steps per dispatch; start, from the start of a process to
    its first step; trials, several networks at once."""
    axis: Literal["width", "batch", "trials", "devices"] | None = None
    """Time network L along an axis instead, ours and Flax."""
    works: tuple[Literal["L", "M", "C", "R"], ...] = ("L", "M", "C", "R")
    """The networks."""
    contenders: tuple[str, ...] = ()
    """Contenders in addition to ours (default: all peers)."""
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
        rivals(self)  # raises for an unknown name before anything is measured

    @property
    def file(self) -> str:
        return f"axis-{self.axis}" if self.axis else self.mode


def measure(args: Step) -> dict[str, Any]:
    """The content of the JSON file that is specific to this benchmark."""
    rounds, steps = (2, 1) if args.quick else (args.rounds or ROUNDS[args.mode], args.steps)
    turns = Turns(rounds, steps, args.batch_size, args.torch, args.trials if args.mode == "trials" else 1)
    measured: dict[str, Any] = {
        "mode": "axis" if args.axis else args.mode,
        "axis": args.axis,
        "environment": {name: value for name, value in os.environ.items() if name.startswith(TELLING)},
        "rounds": turns.rounds,
        "batch_size": turns.batch_size,
        "trials": turns.trials,
        "works": {},
    }
    if args.mode == "start":
        _say("native operations")
        measured["build"] = measure_build(turns.rounds)
    else:
        _say("matrix product")
        measured["ceiling"] = measure_ceiling(turns)
    if args.axis:
        measured["points"] = axes.measure_axis(args.axis, turns, measured["ceiling"]["gflops_per_second"])
        if args.out:
            axes.plot(measured, args.out / f"{args.file}.png")
        return measured | facts(measured["points"][0])
    for name in ("L",) if args.quick else args.works:
        _say(f"network {name}")
        comparison = Comparison(WORKS[name], rivals(args), turns)
        if args.mode == "start":
            measured["works"][name] = comparison.starts()
        else:
            measured["works"][name] = comparison.steps(args.mode, measured["ceiling"]["gflops_per_second"])
    return measured | facts(next(iter(measured["works"].values())))


def rivals(args: Step) -> list[Contender]:
    """Ours and the requested contenders."""
    known = {contender.name: contender for contender in contenders(bool(args.torch), args.mode == "trials")}
    for name in args.contenders:
        if name not in known:
            raise RequestError(f"--contenders {name}: known here are {', '.join(known)}")
    by_default = [name for name, contender in known.items() if not contender.on_request]
    wanted = {"ours", *(args.contenders or by_default)}
    return [contender for name, contender in known.items() if name in wanted]


def facts(work: dict[str, Any]) -> dict[str, Any]:
    """Versions and device as reported by the workers."""
    torch = (about for name, about in work["facts"].items() if name.startswith("torch"))
    return {**work["facts"]["ours"], "torch": next(torch, None)}


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


markdown = table.markdown
