"""A published result, our recipe for it and where the two differ; its command line, its evidence, its row."""

import argparse
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from cnn_jax import lab
from cnn_jax.cli import common
from cnn_jax.data import load
from cnn_jax.references import references
from cnn_jax.report import tables
from cnn_jax.report.cite import device
from cnn_jax.runs.outcome import Outcome
from cnn_jax.statistics import median_interval
from cnn_jax.sweep.grid import Grid
from cnn_jax.training.config import Config

ROOT = Path(__file__).resolve().parent.parent.parent
RESULTS = ROOT / "results" / "papers"
EVIDENCE = (
    "uncommitted.diff",
    "config.json",
    "record.json",
    "results.csv",
    "summary.csv",
    "summary.md",
    "heatmap.png",
    "curves.png",
)
OF_BEST = ("seeds.csv", "config.json", "result.json", "metrics.jsonl")
QUICK: Mapping[str, Any] = {
    "dataset": "digits", "train_examples": 128, "epochs": 1, "batch_size": 32,
    "schedule": "constant", "decay_epochs": (),
}  # fmt: skip


@dataclass(frozen=True)
class Paper:
    """`source` is a key of references.bib, `published` its number in words; `recipe` the paper's training, `deviations`
    what is different here; `config` ours, trained with so many `seeds`."""

    name: str
    title: str
    source: str
    published: str
    recipe: str
    deviations: str
    config: Mapping[str, Any]
    seeds: int = 6

    def grid(self, quick: bool = False) -> Grid:
        """One cell; in quick form on a few digits of the same size."""
        fields = {**self.config, **QUICK, "image_size": self.config.get("image_size", 32)} if quick else self.config
        return Grid(Config(**fields), {"seed": tuple(range(1 if quick else self.seeds))})


def main(paper: Paper, description: str | None) -> None:
    """Parses the arguments of the process, trains, keeps the evidence and exits."""

    def command(arguments: Sequence[str]) -> int:
        parser = argparse.ArgumentParser(
            description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
        )
        parser.add_argument("--data-dir", help="where archives are looked up")
        parser.add_argument("--out", type=Path, help="the sweep's folder (default: runs/papers/<name>)")
        parser.add_argument("--quick", action="store_true", help="one epoch of 128 digits: to see it run")
        parsed = parser.parse_args(arguments)
        grid = paper.grid(parsed.quick)
        if not parsed.quick:
            load(grid.base.dataset, data_dir=parsed.data_dir, image_size=grid.base.image_size)  # into the cache
        out = parsed.out or Path("runs") / "papers" / (f"{paper.name}-quick" if parsed.quick else paper.name)
        done = lab.sweep(grid, out, resume=True)
        if done.table is None:
            return common.exit_code(done.status, done.signal)
        if not parsed.quick:
            keep(done.path, RESULTS / paper.name, parsed.data_dir)
        print((done.path / "summary.md").read_text(encoding="utf-8"))
        return 0

    common.main(command)


def keep(sweep: Path, target: Path, data_dir: str | None) -> None:
    """Copies a sweep's evidence: everything but trials and checkpoints, without the place of the archives."""
    for name in (*EVIDENCE, *(f"best/{name}" for name in OF_BEST)):
        if (sweep / name).exists():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(sweep / name, target / name)
    if data_dir:
        record = target / "record.json"
        record.write_text(record.read_text(encoding="utf-8").replace(data_dir, "DIR"), encoding="utf-8")


def table(papers: Sequence[Paper]) -> str:
    """The Markdown table; what has not been trained has a blank."""
    return tables.markdown(pd.DataFrame([_row(paper) for paper in papers]))


def _row(paper: Paper) -> dict[str, tables.Cell]:
    row: dict[str, tables.Cell] = {
        "network": f"{paper.title} ({references()[paper.source].short})",
        "published": paper.published,
        "recipe": paper.recipe,
        "our deviations": paper.deviations,
    }
    folder = RESULTS / paper.name
    if not (folder / "best" / "seeds.csv").is_file():
        config = ", ".join(f"{name} {value}" for name, value in paper.config.items() if name != "network")
        return row | {"ours": "", "n": "", "device, seconds per seed": "", "evidence": f"not run; config: {config}"}
    outcome = Outcome.load(folder)
    errors = [100 * (1 - value) for value in outcome.by_seed("test.accuracy").values()]
    interval = median_interval(errors)
    seconds = json.loads((folder / "record.json").read_text(encoding="utf-8"))["train_seconds"] / outcome.n
    return row | {
        "ours": f"{pd.Series(errors).median():.2f} % ({interval.kind} {interval.low:.2f} – {interval.high:.2f} %)",
        "n": str(outcome.n),
        "device, seconds per seed": f"{device(outcome.record['device'])}; {seconds:.0f} s",
        "evidence": tables.link(paper.name, f"../../results/papers/{paper.name}/summary.md"),
    }
