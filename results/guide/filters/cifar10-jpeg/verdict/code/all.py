"""Runs every experiment of the guide, one after another, and writes the table and the page of what they found.

    scripts/run experiments/guide/all.py --data-dir DIR            # pilots, and verdicts of what is registered: hours
    scripts/run experiments/guide/all.py --quick                   # a few digits, two seeds: to see it run
    scripts/run experiments/guide/all.py --data-dir DIR --only pooling stride
    scripts/run experiments/guide/all.py --replicate [--only …]    # the registered ones with fresh seeds
    scripts/run experiments/guide/all.py --keep [--only …]         # what has run to results/guide, then --table
    scripts/run experiments/guide/all.py --table                   # README.md and page from results/guide as they are

What was found before is not run again; an experiment that was interrupted goes on. `--instead cifar10=FILE` takes the
same images from another file. Evidence is verdicts, their pairs, tables, figures and the tables and records of the
sweeps, without their trials; what `cite` would refuse is refused.
"""

import argparse
import importlib
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import book

from cnn_jax import study
from cnn_jax.cli import common
from cnn_jax.cli.archives import restart_from_cache
from cnn_jax.errors import CnnJaxError, RequestError
from cnn_jax.runs import evidence
from cnn_jax.runs.manifest import NAME as MANIFEST
from cnn_jax.runs.verdict import Verdict
from cnn_jax.study import blocks

RESULTS = book.ROOT / "results" / "guide"


def experiments() -> list[str]:
    """The keys of the claims that an experiment answers, in the order of the guide."""
    return [claim["key"] for claim in book.claims()["claim"] if claim["answer"].endswith(".py")]


def question_of(key: str) -> tuple[study.Question, Any]:
    """The question of an experiment and the function that answers it."""
    module = importlib.import_module(key)
    asked = module.COMPARISON.question if hasattr(module, "COMPARISON") else module.QUESTION
    return asked, getattr(module, "investigate", None) or module.COMPARISON


def investigate(
    key: str, out: Path, quick: bool, replicate: bool = False, instead: Mapping[str, str] | None = None
) -> list[Verdict]:
    """Runs one experiment on its data sets, or reads what it found."""
    question, answer = question_of(key)
    script = book.HERE / f"{key}.py"
    if quick or blocks.registration_of(script, question) is not None:
        datasets: list[str] = []  # the registered ones
    else:
        datasets = [(instead or {}).get(name, name) for name in question.datasets]
    option = "--quick" if quick else "--replicate --data-dir DIR" if replicate else "--data-dir DIR"
    asked = blocks.studies(
        script, question, out / key, datasets=datasets, block="replication" if replicate else None, quick=quick,
        common={"show": False},
    )  # fmt: skip
    return [study.run(one, answer, f"scripts/run experiments/guide/{key}.py {option}") for one in asked]


def keep(out: Path, keys: Sequence[str]) -> None:
    """Copies the evidence of those experiments that have run to results/guide."""
    for key in keys:
        for path in sorted(out.glob(f"{key}/*/*/{MANIFEST}")):
            name = path.parent.relative_to(out)
            evidence.keep(path.parent, RESULTS / name)
            print(RESULTS / name)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", help="where the archives are")
    parser.add_argument("--only", nargs="+", metavar="CLAIM", help="these experiments")
    parser.add_argument(
        "--instead", action="append", default=[], metavar="NAME=FILE", help="a data set in another file; repeatable"
    )
    parser.add_argument("--out", type=Path, help="the folder to write (default: runs/guide, quick: runs/guide-quick)")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--replicate", action="store_true", help="the registered experiments with fresh seeds")
    parser.add_argument("--keep", action="store_true", help="run nothing, keep the evidence, write the table and page")
    parser.add_argument("--table", action="store_true", help="run nothing, write the table and the page")
    return parser


def command(arguments: Sequence[str]) -> int:
    parsed = _parser().parse_args(arguments)
    out = parsed.out or Path("runs") / ("guide-quick" if parsed.quick else "guide")
    keys = parsed.only or experiments()
    for key in keys:
        if key not in experiments():
            raise RequestError(f"--only {key}: there is no such experiment; there are {', '.join(experiments())}")
    if parsed.keep or parsed.table:
        if parsed.keep:
            keep(out, keys)
        book.write_readme(RESULTS)
        if RESULTS.is_dir():
            book.write_page(RESULTS, RESULTS / "guide.html")
        return 0
    instead = dict(pair.split("=", 1) for pair in parsed.instead if "=" in pair)
    if not parsed.quick:
        names = {instead.get(name, name) for key in keys for name in question_of(key)[0].datasets}
        restart_from_cache(sorted(names), parsed.data_dir)
    failed = []
    for i, key in enumerate(keys, 1):
        print(f"[{i}/{len(keys)}] {key}", file=sys.stderr, flush=True)
        try:
            verdicts = investigate(key, out, parsed.quick, parsed.replicate, instead)
        except study.Stopped:
            raise
        except Exception as error:
            if not isinstance(error, CnnJaxError):
                traceback.print_exc()
            print(f"{key} failed: {error}", file=sys.stderr, flush=True)
            failed.append(key)
            continue
        for verdict in verdicts:
            said = f"{study.sentence(verdict)} [{verdict.standing}, {verdict.seconds:.0f} s]"
            print(f"{key}: {verdict.dataset}: {said}", flush=True)
    book.write_page(out, out / "guide.html", quick=parsed.quick)
    print(out / "guide.html")
    if failed:
        print(f"error: {len(failed)} of {len(keys)} experiments failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    common.main(command)
