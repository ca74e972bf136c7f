"""How long does a training step take, compared with stock Flax and with PyTorch on the same machine in the same run?

    scripts/run scripts/bench_step.py --out DIR                        ours and Flax, four networks
    scripts/run scripts/bench_step.py --out DIR --torch PYTHON         and PyTorch, in the environment of that Python
    scripts/run scripts/bench_step.py --out DIR --mode epoch           many steps in one dispatch, where there is one
    scripts/run scripts/bench_step.py --out DIR --mode start           from the start of a process to its first step
    scripts/run scripts/bench_step.py --out DIR --mode trials          eight networks at once
    scripts/run scripts/bench_step.py --out DIR --axis width           the cost of L with its filters
                                                       (or: batch, trials, devices)

Hardware: CPU, or one GPU without --torch. Writes DIR/MODE.json (everything) and DIR/MODE.md (its tables), for an axis
DIR/axis-AXIS.json, .md and .png. What exactly is compared: docs/performance.md.
"""

import argparse
import json
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from bench import axes, process, table
from bench.contenders import Contender, contenders
from bench.measure import Field, Options, measure_build, measure_ceiling
from bench.works import WORKS

from cnn_jax.cli import common
from cnn_jax.errors import RequestError
from cnn_jax.runs import provenance

ROUNDS = {"step": 15, "epoch": 15, "start": 5, "trials": 15}
PRIVATE = {"--torch": "PYTHON", "--out": "DIR"}
TELLING = ("CNN_JAX_OPS", "JAX_", "XLA_", "OMP_", "MKL_", "KMP_", "MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD", "TORCH")


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise RequestError(message)


def positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no positive number")
    return int(text)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mode", choices=ROUNDS, default="step")
    parser.add_argument("--axis", choices=axes.VALUES, help="network L along an axis, ours and Flax")
    parser.add_argument("--works", nargs="+", choices=WORKS, default=list(WORKS), metavar="WORK", help="L, M, C, R")
    parser.add_argument("--torch", metavar="PYTHON", help="the Python of an environment with torch and numpy")
    parser.add_argument("--contenders", nargs="+", metavar="NAME", help="beside ours; default: all peers")
    parser.add_argument("--rounds", type=positive, help="turns of each contender (15; for mode start 5)")
    parser.add_argument("--steps", type=positive, help="steps in a turn (as many as take half a second)")
    parser.add_argument("--batch-size", type=positive, default=128)
    parser.add_argument("--trials", type=positive, default=8, help="networks trained at once in mode trials (8)")
    parser.add_argument("--out", type=Path, metavar="DIR")
    parser.add_argument("--quick", action="store_true", help="2 rounds of 1 step of L: to see that it runs")
    parsed = parser.parse_args(arguments)
    if parsed.axis and (parsed.mode != "step" or parsed.torch):
        raise RequestError("--axis goes neither with another --mode nor with --torch")
    if parsed.quick:
        parsed.rounds, parsed.steps, parsed.works = 2, 1, ["L"]
    parsed.rounds = parsed.rounds or ROUNDS[parsed.mode]
    return parsed


def measure(parsed: argparse.Namespace) -> dict[str, Any]:
    """What goes into the JSON file."""
    trials = parsed.trials if parsed.mode == "trials" else 1
    options = Options(parsed.rounds, parsed.steps, parsed.batch_size, parsed.torch, trials)
    known: dict[str, Any] = {
        "mode": "axis" if parsed.axis else parsed.mode,
        "axis": parsed.axis,
        "command": command_line(sys.argv),
        "started": provenance.utc_now(),
        "git": process.commit(),
        "environment": {name: value for name, value in os.environ.items() if name.startswith(TELLING)},
        "rounds": options.rounds,
        "batch_size": options.batch_size,
        "trials": options.trials,
    }
    if parsed.mode != "start":
        say("matrix product")
        known["ceiling"] = measure_ceiling(options)
    else:
        say("native operations")
        known["build"] = measure_build(options.rounds)
    if parsed.axis:
        known["points"] = axes.measure_axis(parsed.axis, options, known["ceiling"]["gflops_per_second"])
        return known | facts(known["points"][0])
    known["works"] = {}
    for name in parsed.works:
        say(f"network {name}")
        field = Field(WORKS[name], rivals(parsed), options)
        if parsed.mode == "start":
            known["works"][name] = field.starts()
        else:
            known["works"][name] = field.steps(parsed.mode, known["ceiling"]["gflops_per_second"])
    return known | facts(known["works"][parsed.works[0]])


def rivals(parsed: argparse.Namespace) -> list[Contender]:
    """Ours and the contenders that were asked for."""
    known = {contender.name: contender for contender in contenders(bool(parsed.torch), parsed.mode == "trials")}
    for name in parsed.contenders or ():
        if name not in known:
            raise RequestError(f"--contenders {name}: known here are {', '.join(known)}")
    wanted = {"ours", *(parsed.contenders or (name for name, one in known.items() if not one.on_request))}
    return [contender for name, contender in known.items() if name in wanted]


def facts(work: dict[str, Any]) -> dict[str, Any]:
    """Versions and device, as the workers saw them: this process leaves the device to them."""
    torch = (found for name, found in work["facts"].items() if name.startswith("torch"))
    return {**work["facts"]["ours"], "torch": next(torch, None)}


def command_line(argv: Sequence[str]) -> str:
    """The command that anyone can run again, without the places of this machine."""
    words = list(argv[1:])
    for i, word in enumerate(words):
        option, _, value = word.partition("=")
        if option in PRIVATE and value:
            words[i] = f"{option}={PRIVATE[option]}"
        elif option in PRIVATE and i + 1 < len(words):
            words[i + 1] = PRIVATE[option]
    return shlex.join(["scripts/run", "scripts/bench_step.py", *words])


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def command(arguments: Sequence[str]) -> int:
    parsed = parse(arguments)
    if parsed.torch:
        process.check_torch(parsed.torch)
    rivals(parsed)  # a wrong name is refused before anything is measured
    process.prepare()
    if parsed.out:
        parsed.out.mkdir(parents=True, exist_ok=True)
    measured = measure(parsed)
    text = table.markdown(measured)
    print(text, end="")
    if parsed.out:
        name = f"axis-{parsed.axis}" if parsed.axis else parsed.mode
        (parsed.out / f"{name}.json").write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
        (parsed.out / f"{name}.md").write_text(text, encoding="utf-8")
        if parsed.axis:
            axes.plot(measured, parsed.out / f"{name}.png")
    return 0


if __name__ == "__main__":
    common.main(command)
