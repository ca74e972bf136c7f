"""How long does a training step take, compared with stock Flax and with PyTorch on the same machine in the same run?"""

import os
import sys
from dataclasses import dataclass
from typing import Any, Literal

import jax

from bench import axes, options, table
from bench.contenders import Contender, contenders, gpu_contenders
from bench.measure import Comparison, Turns, measure_build, measure_ceiling
from bench.works import CPU_WORKS, WORKS
from cnn_jax.errors import RequestError

TELLING = (
    "CNN_JAX_OPS", "CNN_JAX_CXXFLAGS", "JAX_", "XLA_", "OMP_", "MKL_", "KMP_", "MALLOC_", "GLIBC_TUNABLES",
    "LD_PRELOAD", "TORCH", "ATEN_", "ONEDNN_",
)  # fmt: skip
# What keeps ours, XLA, PyTorch, oneDNN and MKL from wider vectors than a processor without AVX-512 has.
NO_AVX512 = {
    "CNN_JAX_CXXFLAGS": "-mno-avx512f",
    "XLA_FLAGS": "--xla_cpu_max_isa=AVX2",
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
}
ROUNDS = {"step": 15, "epoch": 15, "start": 5, "trials": 15}


@dataclass(frozen=True, kw_only=True)
class Step(options.Options):
    """Times a training step of networks on a CPU, or with --device gpu on one GPU, there at three precisions.
    docs/performance.md describes the comparison.

    For example: cnn-jax bench step --torch PYTHON --out results/performance
    """

    rounds: int | None = None  # type: ignore[assignment]
    """Turns of each contender (default: 15; 5 for mode start)."""
    mode: Literal["step", "epoch", "start", "trials"] = "step"
    """What to time: step, one dispatch per step; epoch, many steps per dispatch; start, from the start of a process to
    its first step; trials, several networks at once."""
    axis: Literal["width", "batch", "trials", "devices"] | None = None
    """Time network L along an axis instead, ours and Flax."""
    device: Literal["cpu", "gpu"] = "cpu"
    """Where to compute. On a GPU compare --mode epoch, as `train` takes many steps per dispatch."""
    works: tuple[Literal["L", "M", "C", "R", "D", "X", "R18", "W"], ...] = ()
    """The networks (default: L M C R, and on a GPU all; D has depthwise and X grouped convolutions, on which stock Flax
    takes minutes on a CPU, R18 is a ResNet-18 and W a WRN-16-4)."""
    precisions: tuple[Literal["float32", "tf32", "bfloat16"], ...] = ("float32", "tf32", "bfloat16")
    """On a GPU: the precisions."""
    contenders: tuple[str, ...] = ()
    """Contenders in addition to ours (default: all peers)."""
    steps: int | None = None
    """Steps in a turn (default: as many as take half a second)."""
    batch_size: int | None = None
    """Images in a step (default: 128; 512 for R18)."""
    trials: int = 8
    """Networks trained at once in mode trials."""
    vectors: Literal["avx2"] | None = None
    """Keep all contenders from wider vectors than these, on x86-64 (default: what the processor has)."""

    def check(self) -> None:
        super().check()
        if self.axis and (self.mode != "step" or self.torch):
            raise RequestError("--axis goes neither with another --mode nor with --torch")
        for name in ("batch_size", "trials", "steps"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise RequestError(f"--{name.replace('_', '-')} {value}: it must be at least 1")
        if self.device == "gpu" and (self.axis or self.mode in ("start", "trials")):
            raise RequestError("--device gpu has the modes step and epoch")
        if self.device == "gpu" and jax.default_backend() != "gpu":
            raise RequestError(f"--device gpu, but JAX computes on {jax.default_backend()}")
        rivals(self)  # raises for an unknown name before anything is measured

    @property
    def file(self) -> str:
        name = f"axis-{self.axis}" if self.axis else f"gpu-{self.mode}" if self.device == "gpu" else self.mode
        return f"{name}-{self.vectors}" if self.vectors else name

    @property
    def environment(self) -> dict[str, str]:
        if self.vectors is None:
            return {}
        return NO_AVX512 | {"XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {NO_AVX512['XLA_FLAGS']}".strip()}


def measure(args: Step) -> dict[str, Any]:
    """The content of the JSON file that is specific to this benchmark."""
    rounds, steps = (2, 1) if args.quick else (args.rounds or ROUNDS[args.mode], args.steps)
    turns = Turns(rounds, steps, args.batch_size, args.torch, args.trials if args.mode == "trials" else 1, args.device)
    measured: dict[str, Any] = {
        "mode": "axis" if args.axis else args.mode,
        "axis": args.axis,
        "environment": {name: value for name, value in os.environ.items() if name.startswith(TELLING)},
        "rounds": turns.rounds,
        "batch_size": turns.batch_size or 128,
        "trials": turns.trials,
        "works": {},
    }
    if args.device == "gpu":
        return measured | measure_gpu(args, turns)
    if args.mode == "start":
        _say("native operations")
        measured["build"] = measure_build(turns.rounds)
    else:
        _say("matrix product")
        measured["ceiling"] = measure_ceiling(turns)
    if args.axis:
        measured["points"] = axes.measure_axis(args.axis, turns, measured["ceiling"]["gflops_per_second"])
        if args.out:
            axes.plot(measured, args.out / args.file)
        return measured | facts(measured["points"][0])
    for name in ("L",) if args.quick else args.works or CPU_WORKS:
        _say(f"network {name}")
        comparison = Comparison(WORKS[name], rivals(args), turns)
        if args.mode == "start":
            measured["works"][name] = comparison.starts()
        else:
            measured["works"][name] = comparison.steps(args.mode, measured["ceiling"]["gflops_per_second"])
    return measured | facts(next(iter(measured["works"].values())))


def measure_gpu(args: Step, turns: Turns) -> dict[str, Any]:
    """Each network at each precision, against the same precision only."""
    works, ceilings = {}, {}
    for precision in args.precisions:
        _say(f"matrix product, {precision}")
        ceilings[precision] = measure_ceiling(turns, precision)
        for name in ("L",) if args.quick else args.works or WORKS:
            _say(f"network {name}, {precision}")
            comparison = Comparison(WORKS[name], rivals(args, precision), turns)
            works[f"{name} {precision}"] = comparison.steps(args.mode, ceilings[precision]["gflops_per_second"])
    return {"works": works, "ceilings": ceilings} | facts(next(iter(works.values())))


def rivals(args: Step, precision: str = "float32") -> list[Contender]:
    """Ours and the requested contenders."""
    if args.device == "gpu":
        all_of_them = gpu_contenders(bool(args.torch), precision)
    else:
        all_of_them = contenders(bool(args.torch), args.mode == "trials")
    known = {contender.name: contender for contender in all_of_them}
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
