"""The results claimed in the README: trains them, archives their evidence in results/, writes the README's table.

    scripts/run scripts/results.py run [NAME…] --data-dir DIR    trains into runs/results
    scripts/run scripts/results.py keep [NAME…]                  archives finished results in results/, then the table
    scripts/run scripts/results.py table                         writes the table from results/ into README.md

All of them take about an hour on two CPU cores. Results that `cite` refuses are refused here too; those without
evidence appear as "to be measured".
"""

import argparse
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cnn_jax.cli import common
from cnn_jax.data import load
from cnn_jax.errors import RequestError
from cnn_jax.report.cite import Citation, device
from cnn_jax.runs import evidence
from cnn_jax.runs.manifest import NAME as MANIFEST
from cnn_jax.runs.outcome import outcome_of
from cnn_jax.statistics import median

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "results"
RUNS = ROOT / "runs" / "results"
DATASET = "fashion_mnist"


@dataclass(frozen=True)
class Result:
    """A claim: the result, the published number to compare with, and the arguments of experiments/sweep.py."""

    title: str
    published: str
    deviations: str
    arguments: tuple[str, ...]


RESULTS_TABLE = {
    "small-fashion": Result(
        "under 100K parameters on Fashion-MNIST",
        "92.5 % (Fashion-MNIST README, 2 convolutions and pooling, < 100K parameters)",
        "another network: three convolutions with batch norm; flips and shifts",
        (
            "--network",
            "conv3-16:same:nobias bn relu max2 conv3-48:same:nobias bn relu max2 conv3-64:same:nobias bn relu max2 "
            "dense-64 relu dense-10",
            *("--dataset", DATASET, "--epochs", "20", "--learning-rates", "0.1", "--schedule", "onecycle"),
            *("--weight-decay", "5e-4", "--augment", "flip crop1", "--seeds", "6"),
        ),
    ),
    "grid-fashion": Result(
        "the grid of learning rates and filters, 2 epochs of Fashion-MNIST",
        "",
        "",
        (
            *("--network", "conv5-8:same relu max2 conv5-16:same relu max2 dense-64 relu dense-10"),
            *("--dataset", DATASET, "--filters", "4", "8", "16", "32", "--seeds", "3", "--epochs", "2"),
            *("--learning-rates", "0.003", "0.01", "0.03", "0.1", "0.5"),
        ),
    ),
}


def run(names: Sequence[str], data_dir: str | None) -> int:
    """Trains or resumes each result. Returns 0 or the exit code of the first that fails. Archives are cached first, so
    that no record contains their path."""
    if data_dir is not None:
        load(DATASET, data_dir=data_dir)
    for name in names:
        out = (RUNS / name).relative_to(ROOT)
        command = [sys.executable, "experiments/sweep.py", *RESULTS_TABLE[name].arguments, "--out", str(out)]
        if code := subprocess.run([*command, "--resume"], cwd=ROOT).returncode:
            return code
    return 0


def keep(names: Sequence[str]) -> None:
    """Copies the evidence of each finished result."""
    for name in names:
        if (RUNS / name / MANIFEST).is_file():
            evidence.keep(RUNS / name, RESULTS / name)
            print(RESULTS / name)


def table(results: Path = RESULTS) -> str:
    """The table in Markdown. Raises RunError for evidence that may not be cited."""
    lines = [
        "| result | test accuracy, median over seeds | interval | error | published | our deviations | "
        "device, seconds per seed | evidence |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        *(_row(name, result, results / name) for name, result in RESULTS_TABLE.items()),
    ]
    return "\n".join(lines) + "\n"


def _row(name: str, result: Result, folder: Path) -> str:
    if not (folder / MANIFEST).is_file():
        cells = [result.title, "to be measured", "", "", result.published or "–", result.deviations or "–", ""]
        return f"| {' | '.join([*cells, f'`scripts/run scripts/results.py run {name} --data-dir DIR`'])} |"
    outcome = outcome_of(folder)
    citation = Citation(outcome, "test.accuracy")
    accuracy = median(list(outcome.by_seed("test.accuracy").values()))
    assert outcome.table is not None
    assert accuracy is not None  # else it could not be cited
    seconds = statistics.median(row.seconds for row in outcome.table.chosen_trials())
    cells = [
        f"{result.title} ({outcome.parameters:,} parameters)",
        f"{citation.value} of {outcome.test_images:,} images, {citation.n}",
        citation.interval or "–",
        f"{100 * (1 - accuracy):.2f} %",
        result.published or "–",
        "; ".join(filter(None, [result.deviations, *citation.deviations])) or "–",
        f"{device(citation.start.device)}; {seconds:.0f} s",
        f"[{name}](results/{name}/summary.md)",
    ]
    return f"| {' | '.join(cells)} |"


def write_readme() -> None:
    """Writes the table between the markers in README.md."""
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    begin, end = "<!-- results -->\n", "<!-- end of results -->\n"
    head, rest = text.split(begin)
    readme.write_text(head + begin + table() + end + rest.split(end)[1], encoding="utf-8")


def command(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb in ("run", "keep"):
        verbs.add_parser(verb).add_argument("names", nargs="*", metavar="NAME")
    verbs.choices["run"].add_argument("--data-dir", help="folder of the archives of Fashion-MNIST")
    verbs.add_parser("table")
    parsed = parser.parse_args(arguments)
    names = getattr(parsed, "names", None) or list(RESULTS_TABLE)
    if unknown := [name for name in names if name not in RESULTS_TABLE]:
        raise RequestError(f"there is no result {unknown[0]}; there are {', '.join(RESULTS_TABLE)}")
    if parsed.verb == "run":
        return run(names, parsed.data_dir)
    if parsed.verb == "keep":
        keep(names)
    write_readme()
    return 0


if __name__ == "__main__":
    common.main(command)
