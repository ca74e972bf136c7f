"""Runs every experiment of the guide, one after another, and writes the table and the page of what they found.

    scripts/run experiments/guide/all.py --data-dir DIR            # about half an hour on two CPU cores
    scripts/run experiments/guide/all.py --quick                   # a few digits, two seeds: to see it run
    scripts/run experiments/guide/all.py --data-dir DIR --only pooling stride
    scripts/run experiments/guide/all.py --keep [--only …]         # what has run to results/guide, then --table
    scripts/run experiments/guide/all.py --table                   # README.md and page from results/guide as they are

What was found before is not run again; an experiment that was interrupted goes on. Evidence is verdicts, their pairs,
tables, figures and what the manifests of the sweeps list, without checkpoints; what `cite` would refuse is refused.
"""

import argparse
import importlib
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

import book

from cnn_jax import study
from cnn_jax.cli import common
from cnn_jax.cli.archives import restart_from_cache
from cnn_jax.errors import CnnJaxError, RequestError
from cnn_jax.runs import evidence
from cnn_jax.runs.manifest import NAME as MANIFEST
from cnn_jax.runs.verdict import Verdict

RESULTS = book.ROOT / "results" / "guide"
DATASETS = ("fashion_mnist", "mnist")


def experiments() -> list[str]:
    """The keys of the claims that an experiment answers, in the order of the guide."""
    return [claim["key"] for claim in book.claims()["claim"] if claim["answer"].endswith(".py")]


def investigate(key: str, out: Path, quick: bool) -> Verdict:
    """Runs one experiment, or reads what it found."""
    module = importlib.import_module(key)
    asked = module.COMPARISON.question if not hasattr(module, "QUESTION") else module.QUESTION
    answer = getattr(module, "investigate", None) or module.COMPARISON
    command = f"scripts/run experiments/guide/{key}.py {'--quick' if quick else '--data-dir DIR'}"
    return study.run(study.Study(asked, out / key, quick=quick, show=False), answer, command)


def keep(out: Path, keys: Sequence[str]) -> None:
    """Copies the evidence of those experiments that have run, and of the networks that they share, to results/guide."""
    shared = [path.parent.relative_to(out) for path in out.glob(f"classic/*/{MANIFEST}")]
    for name in [*(Path(key) for key in keys if (out / key / MANIFEST).is_file()), *shared]:
        evidence.keep(out / name, RESULTS / name)
        print(RESULTS / name)


def command(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", help="where the archives of Fashion-MNIST and MNIST are")
    parser.add_argument("--only", nargs="+", metavar="CLAIM", help="these experiments")
    parser.add_argument("--out", type=Path, help="the folder to write (default: runs/guide, quick: runs/guide-quick)")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--keep", action="store_true", help="run nothing, keep the evidence, write the table and page")
    parser.add_argument("--table", action="store_true", help="run nothing, write the table and the page")
    parsed = parser.parse_args(arguments)
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
    if not parsed.quick:
        restart_from_cache(DATASETS, parsed.data_dir)
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
        print(f"{key}: {study.sentence(verdict)} [{verdict.seconds:.0f} s]", flush=True)
    book.write_page(out, out / "guide.html", quick=parsed.quick)
    print(out / "guide.html")
    if failed:
        print(f"error: {len(failed)} of {len(keys)} experiments failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    common.main(command)
