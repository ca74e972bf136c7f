"""The results that the README claims: runs them, keeps their evidence under results/, writes the README's table.

    scripts/run scripts/results.py run [NAME…] --data-dir DIR    trains (all of them: about an hour on two CPU cores)
    scripts/run scripts/results.py table                         writes the table from results/ into README.md

The evidence is what a sweep's folder holds but for checkpoints and trials.
"""

import argparse
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "results"
EVIDENCE = ("config.json", "record.json", "results.csv", "summary.csv", "summary.md", "heatmap.png", "curves.png")


@dataclass(frozen=True)
class Result:
    """A claim: what is compared with what was published, and the arguments of experiments/sweep.py."""

    title: str
    published: str
    deviations: str
    arguments: tuple[str, ...]


RESULTS_TABLE = {
    "small-fashion": Result(
        "under 100K parameters on Fashion-MNIST",
        "92.5 % (Fashion-MNIST README, 2 convolutions and pooling, < 100K parameters)",
        "another network: three convolutions with batch norm; flips and shifts; 55,000 of the 60,000 training images",
        (
            "--network",
            "conv3-16:same:nobias bn relu max2 conv3-48:same:nobias bn relu max2 conv3-64:same:nobias bn relu max2 "
            "dense-64 relu dense-10",
            *("--dataset", "fashion_mnist", "--epochs", "20", "--learning-rates", "0.1", "--schedule", "onecycle"),
            *("--weight-decay", "5e-4", "--augment", "flip crop1", "--seeds", "6"),
        ),
    ),
    "grid-fashion": Result(
        "the grid of learning rates and filters, 2 epochs of Fashion-MNIST",
        "",
        "",
        (
            *("--network", "conv5-8:same relu max2 conv5-16:same relu max2 dense-64 relu dense-10"),
            *("--dataset", "fashion_mnist", "--filters", "4", "8", "16", "32", "--seeds", "3", "--epochs", "2"),
            *("--learning-rates", "0.003", "0.01", "0.03", "0.1", "0.5"),
        ),
    ),
}


def run(names: list[str], data_dir: str | None) -> None:
    """Trains each result in runs/results/NAME, going on where one was begun, and copies its evidence."""
    for name in names:
        out = ROOT / "runs" / "results" / name
        where = ("--data-dir", data_dir) if data_dir else ()
        command = [sys.executable, "experiments/sweep.py", *RESULTS_TABLE[name].arguments, *where]
        subprocess.run([*command, "--out", str(out.relative_to(ROOT)), "--resume"], check=True, cwd=ROOT)
        kept = RESULTS / name
        kept.mkdir(parents=True, exist_ok=True)
        for file in EVIDENCE:
            if (out / file).exists():
                shutil.copyfile(out / file, kept / file)
        for file in ("seeds.csv", "config.json", "result.json", "metrics.jsonl"):
            (kept / "best").mkdir(exist_ok=True)
            shutil.copyfile(out / "best" / file, kept / "best" / file)


def table() -> str:
    """The Markdown table of the results whose evidence is there."""
    lines = [
        "| result | test accuracy, median of n seeds | 95 % interval | error | published | our deviations | "
        "device, seconds per seed | evidence |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, result in RESULTS_TABLE.items():
        folder = RESULTS / name
        if (folder / "record.json").exists():
            lines.append(_row(name, result, folder))
    return "\n".join(lines) + "\n"


def _row(name: str, result: Result, folder: Path) -> str:
    from cnn_jax.statistics import median_interval

    record = json.loads((folder / "record.json").read_text())
    seeds = pd.read_csv(folder / "best" / "seeds.csv")
    trials = pd.read_csv(folder / "results.csv")
    accuracy = seeds["test_accuracy"].fillna(0.0)  # a diverged seed counts as the worst
    interval = median_interval(list(accuracy))
    kind = "" if interval.kind.startswith("95") else f" ({interval.kind})"
    parameters = json.loads((folder / "best" / "result.json").read_text())["parameters"]
    cells = [
        f"{result.title} ({parameters:,} parameters)",
        f"{100 * accuracy.median():.2f} % of {int(seeds['examples'].max()):,}, n = {len(accuracy)}",
        f"{100 * interval.low:.2f} – {100 * interval.high:.2f} %{kind}",
        f"{100 * (1 - accuracy.median()):.2f} %",
        result.published or "–",
        result.deviations or "–",
        f"{record['device']['cpu']}; {trials['seconds'].median():.0f} s",
        f"[{name}](results/{name}/summary.md)",
    ]
    return f"| {' | '.join(cells)} |"


def write_readme() -> None:
    """Puts the table between the marks in README.md."""
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    begin, end = "<!-- results -->\n", "<!-- end of results -->\n"
    head, rest = text.split(begin)
    readme.write_text(head + begin + table() + end + rest.split(end)[1], encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    runs = verbs.add_parser("run")
    runs.add_argument("names", nargs="*", choices=[*RESULTS_TABLE, []], metavar="NAME")
    runs.add_argument("--data-dir")
    verbs.add_parser("table")
    arguments = parser.parse_args()
    if arguments.verb == "run":
        run(arguments.names or list(RESULTS_TABLE), arguments.data_dir)
    else:
        write_readme()


if __name__ == "__main__":
    main()
