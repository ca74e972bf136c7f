"""A published result, our recipe for it and the deviations; its command line, evidence and table row."""

import argparse
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import pandas as pd

from cnn_jax import api
from cnn_jax.cli import common
from cnn_jax.cli.archives import restart_from_cache
from cnn_jax.grids.grid import Grid
from cnn_jax.grids.plan import Parallel
from cnn_jax.references import references
from cnn_jax.report import tables
from cnn_jax.report.cite import Citation, device
from cnn_jax.runs import evidence
from cnn_jax.runs.manifest import NAME as MANIFEST
from cnn_jax.runs.outcome import Outcome, outcome_of
from cnn_jax.statistics import median, median_interval
from cnn_jax.training.config import Config

ROOT = Path(__file__).resolve().parent.parent.parent
RESULTS = ROOT / "results" / "papers"
RUNS = ROOT / "runs" / "papers"
QUICK: Mapping[str, Any] = {
    "dataset": "digits", "train_examples": 128, "epochs": 1, "batch_size": 32,
    "schedule": "constant", "decay_epochs": (), "decay_factor": 0.1,
}  # fmt: skip


@dataclass(frozen=True)
class Paper:
    """A published result. `source` is a key of references.bib, `published` the published number in words, `recipe` the
    paper's training, `deviations` the differences here; `config` is our config, trained with `seeds` seeds."""

    name: str
    title: str
    source: str
    published: str
    recipe: str
    deviations: str
    config: Mapping[str, Any]
    seeds: int = 6

    def grid(
        self, quick: bool = False, dataset: str | None = None, seeds: int | None = None, precision: str = "highest"
    ) -> Grid:
        """A grid with one cell; in the quick form on a few digits of the same size. `dataset` is that of the config in
        another file, `seeds` another number of seeds."""
        fields = {**self.config, "dataset": dataset or self.config["dataset"], "precision": precision}
        if quick:
            fields |= {**QUICK, "image_size": self.config.get("image_size", 32)}
        return Grid(Config(**fields), {"seed": tuple(range(seeds or (1 if quick else self.seeds)))})


def main(paper: Paper, description: str | None) -> None:
    """Parses the arguments of the process, trains and exits."""

    def command(arguments: Sequence[str]) -> int:
        parser = argparse.ArgumentParser(
            description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
        )
        parser.add_argument("--data-dir", help="folder of archives; needed only until they are cached")
        parser.add_argument("--dataset", help="the same images in another form, e.g. a zip of JPEG files")
        parser.add_argument(
            "--seeds", type=int, help=f"number of seeds (default: {paper.seeds}); more can be added later"
        )
        parser.add_argument(
            "--continue-evidence", action="store_true", help="add seeds to the evidence in results/papers, not to runs/"
        )
        parser.add_argument(
            "--precision", choices=("highest", "default"), default="highest",
            help="of products on accelerators: default is TF32 on NVIDIA's GPUs",
        )  # fmt: skip
        parser.add_argument("--parallel", choices=get_args(Parallel), default="auto", help="how the seeds are trained")
        parser.add_argument("--out", type=Path, help="the sweep's folder (default: runs/papers/<name>)")
        parser.add_argument("--quick", action="store_true", help="one epoch of 128 digits: a short trial run")
        parsed = parser.parse_args(arguments)
        grid = paper.grid(parsed.quick, parsed.dataset, parsed.seeds, parsed.precision)
        if not parsed.quick:
            restart_from_cache([grid.base.dataset], parsed.data_dir)
        out = parsed.out or (RUNS / (f"{paper.name}-quick" if parsed.quick else paper.name))
        if parsed.continue_evidence and not out.exists():
            shutil.copytree(RESULTS / paper.name, out)
        sweep = api.sweep(grid, out, resume=True, parallel=parsed.parallel)
        if sweep.table is not None:
            print((sweep.path / "summary.md").read_text(encoding="utf-8"))
        return common.exit_code(sweep.status, sweep.signal)

    common.main(command)


def keep(papers: Sequence[Paper]) -> None:
    """Copies the evidence of each paper that has run."""
    for paper in papers:
        if (RUNS / paper.name / MANIFEST).is_file():
            evidence.keep(RUNS / paper.name, RESULTS / paper.name)


DATASETS = {"cifar10": "CIFAR-10", "fashion_mnist": "Fashion-MNIST", "mnist": "MNIST"}  # in the order of the tables


def measured(papers: Sequence[Paper], results: Path = RESULTS) -> list[Paper]:
    """The papers with evidence, by data set."""
    found = [paper for paper in papers if (results / paper.name / MANIFEST).is_file()]
    return sorted(found, key=lambda paper: list(DATASETS).index(paper.config["dataset"]))


def table(papers: Sequence[Paper], results: Path = RESULTS) -> str:
    """The measured results in Markdown. Raises RunError for evidence that may not be cited."""
    return tables.markdown(pd.DataFrame([_row(paper, results / paper.name) for paper in measured(papers, results)]))


def planned(papers: Sequence[Paper], results: Path = RESULTS) -> str:
    """The recipes without evidence in Markdown."""
    rest = [paper for paper in papers if paper not in measured(papers, results)]
    return tables.markdown(pd.DataFrame([_described(paper) | {"config": _config(paper)} for paper in rest]))


def short(papers: Sequence[Paper], results: Path = RESULTS) -> str:
    """The measured results in Markdown, without recipes. Raises RunError for evidence that may not be cited."""
    left_out = ("recipe", "our deviations")
    rows = [_row(paper, results / paper.name, "") for paper in measured(papers, results)]
    return tables.markdown(pd.DataFrame([{k: v for k, v in row.items() if k not in left_out} for row in rows]))


def _described(paper: Paper) -> dict[str, tables.Cell]:
    return {
        "data": DATASETS[paper.config["dataset"]],
        "network": f"{paper.title} ({references()[paper.source].short})",
        "published": paper.published,
        "recipe": paper.recipe,
        "our deviations": paper.deviations,
    }


def _config(paper: Paper) -> str:
    return ", ".join(f"{name} {value}" for name, value in paper.config.items() if name != "network")


def _row(paper: Paper, folder: Path, root: str = "../../") -> dict[str, tables.Cell]:
    outcome = outcome_of(folder)
    citation = Citation(outcome, "test.accuracy")
    assert outcome.table is not None
    seconds = sum(trial.seconds for trial in outcome.table.chosen_trials()) / outcome.n
    used, row = outcome.config.dataset, _described(paper)
    other = [f"images of {Path(used).name}"] if used != paper.config["dataset"] else []
    return row | {
        "data": "; ".join([str(row["data"]), *other]),
        "our deviations": "; ".join([paper.deviations, *citation.deviations]),
        "our error": error(outcome),
        "n": citation.n,
        "device, seconds per seed": f"{device(citation.start.device)}; {seconds:.0f} s",
        "evidence": tables.link(paper.name, f"{root}results/papers/{paper.name}/summary.md"),
    }


def error(outcome: Outcome) -> str:
    """The median test error with its interval; the error of a diverged seed ranks above every number."""
    accuracies = list(outcome.by_seed("test.accuracy").values())
    middle, interval = median(accuracies), median_interval(accuracies)
    error, low, high = (
        "diverged" if x is None else f"{100 * (1 - x):.2f}" for x in (middle, interval.high, interval.low)
    )
    return f"{error} % ({interval.kind} {low} – {high} %)"
