"""Runs every experiment of the guide, one after another, and writes the table and the page of what they found.

    scripts/run experiments/guide/all.py --data-dir DIR            # about half an hour on two CPU cores
    scripts/run experiments/guide/all.py --quick                   # a few digits, two seeds: to see it run
    scripts/run experiments/guide/all.py --data-dir DIR --only pooling stride
    scripts/run experiments/guide/all.py --table                   # README.md and page from results/guide as they are

What was found before is not run again; an experiment that was interrupted goes on. Not in quick form, the evidence
(verdicts, figures, tables, configs, records; no checkpoints) is copied to results/guide.
"""

import argparse
import importlib
import shutil
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import book

from cnn_jax.cli import common
from cnn_jax.data import load
from cnn_jax.errors import CnnJaxError, RequestError
from cnn_jax.lab import study

RESULTS = book.ROOT / "results" / "guide"
EVIDENCE = ("verdict.json", "*.csv", "figure.png", "config.json", "record.json", "summary.md", "uncommitted*.diff")
OF_BEST = ("best/seeds.csv", "best/config.json", "best/result.json")


def experiments() -> list[str]:
    """The keys of the claims that an experiment answers, in the order of the guide."""
    return [claim["key"] for claim in book.claims()["claim"] if claim["answer"].endswith(".py")]


def investigate(key: str, out: Path, quick: bool) -> dict[str, Any]:
    """Runs one experiment, or reads what it found."""
    module = importlib.import_module(key)
    asked = module.COMPARISON.question if not hasattr(module, "QUESTION") else module.QUESTION
    answer = getattr(module, "investigate", None) or module.COMPARISON
    command = f"scripts/run experiments/guide/{key}.py {'--quick' if quick else '--data-dir DIR'}"
    return study.run(study.Study(asked, out / key, quick=quick, show=False), answer, command)


def keep(out: Path, key: str, data_dir: str | None) -> None:
    """Copies the evidence of an experiment, and of the networks that it shares with others, without the place of the
    archives on this machine."""
    for folder in (out / key, out / "classic"):
        found = [path for pattern in EVIDENCE for path in [*folder.glob(pattern), *folder.glob(f"*/{pattern}")]]
        found += [path for name in OF_BEST for path in folder.glob(f"*/{name}")]
        for path in found:
            target = RESULTS / path.relative_to(out)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
            if path.name == "record.json" and data_dir:
                target.write_text(target.read_text(encoding="utf-8").replace(data_dir, "DIR"), encoding="utf-8")


def command(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", help="where the archives of Fashion-MNIST and MNIST are")
    parser.add_argument("--only", nargs="+", metavar="CLAIM", help="these experiments")
    parser.add_argument("--out", type=Path, help="the folder to write (default: runs/guide, quick: runs/guide-quick)")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--table", action="store_true", help="run nothing, write the table and the page")
    parsed = parser.parse_args(arguments)
    out = parsed.out or Path("runs") / ("guide-quick" if parsed.quick else "guide")
    if parsed.table:
        book.write_readme(RESULTS)
        book.write_page(RESULTS, RESULTS / "guide.html")
        return 0
    keys = parsed.only or experiments()
    for key in keys:
        if key not in experiments():
            raise RequestError(f"--only {key}: there is no such experiment; there are {', '.join(experiments())}")
    if not parsed.quick:
        for name in ("fashion_mnist", "mnist"):
            load(name, data_dir=parsed.data_dir)  # into the cache, so that no config names a folder of this machine
    failed = []
    for i, key in enumerate(keys, 1):
        print(f"[{i}/{len(keys)}] {key}", file=sys.stderr, flush=True)
        try:
            verdict = investigate(key, out, parsed.quick)
        except study.Stopped:
            raise
        except Exception as error:
            if not isinstance(error, CnnJaxError):
                traceback.print_exc()
            print(f"{key} failed: {error}", file=sys.stderr, flush=True)
            failed.append(key)
            continue
        print(f"{key}: {study.sentence(verdict)} [{verdict['seconds']:.0f} s]", flush=True)
        if not parsed.quick:
            keep(out, key, parsed.data_dir)
    book.write_page(out, out / "guide.html")
    print(out / "guide.html")
    if not parsed.quick:
        book.write_readme(RESULTS)
        book.write_page(RESULTS, RESULTS / "guide.html")
    if failed:
        print(f"error: {len(failed)} of {len(keys)} experiments failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    common.main(command)
