"""Experiments: a question, a rule stated in advance, ordinary sweeps in one folder, and the verdict by that rule."""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from cnn_jax import api
from cnn_jax.data import Split
from cnn_jax.errors import CnnJaxError, RequestError, RunError
from cnn_jax.grids.grid import Grid
from cnn_jax.grids.plan import Parallel
from cnn_jax.report import figures
from cnn_jax.report.statements import effect_text
from cnn_jax.runs import manifest
from cnn_jax.runs.folder import Folder
from cnn_jax.runs.model import TrainedModel
from cnn_jax.runs.outcome import Outcome
from cnn_jax.runs.provenance import provenance, utc_now
from cnn_jax.runs.schema import Record
from cnn_jax.runs.sweeps import SweepReader, trial_folder
from cnn_jax.runs.verdict import Finding, Verdict
from cnn_jax.statistics import SEEDS_FOR_A_VERDICT, median
from cnn_jax.training.config import Config

ABOVE_ZERO = (
    "supported if the 95 % t interval of the difference, paired by seed, lies above 0; not supported if it lies below "
    f"0; else inconclusive, as below {SEEDS_FOR_A_VERDICT} seeds that finished in both arms; diverged ones are counted"
)
EXACT = "supported if every number is the one expected; nothing is sampled"
QUICK = {
    "dataset": "digits",
    "image_size": 28,
    "data_dir": None,
    "train_examples": 256,
    "validation": 256,
    "epochs": 1,
}


@dataclass(frozen=True)
class Question:
    """The question of an experiment: the key of its claim, the rule of its verdict, its data and number of seeds."""

    claim: str
    question: str
    rule: str = ABOVE_ZERO
    dataset: str = "fashion_mnist"
    seeds: int = 8
    quick_seeds: int = 2


@dataclass
class Study:
    """An experiment while it runs: its folder, base config and seeds. `quick` is the version for tests, on a few digits
    for one epoch with two seeds; its verdict means nothing."""

    question: Question
    out: Path
    data_dir: str | None = None
    dataset: str | None = None
    seeds: tuple[int, ...] = ()
    quick: bool = False
    show: bool = True
    options: Mapping[str, Any] = field(default_factory=dict)  # options of this experiment that were given
    saved: float = 0.0  # seconds that sweeps, finished in an earlier call, took there

    def __post_init__(self) -> None:
        self.seeds = self.seeds or tuple(range(self.question.quick_seeds if self.quick else self.question.seeds))

    def config(self, **fields: Any) -> Config:
        """The base config with other fields; on a few digits if `quick`."""
        fields = {"dataset": self.dataset or self.question.dataset, "data_dir": self.data_dir, **fields}
        return Config(**(fields | QUICK if self.quick else fields))

    def sweep(
        self,
        name: str,
        axes: Mapping[str, Sequence[Any]] | None = None,
        *,
        parallel: Parallel = "auto",
        **fields: Any,
    ) -> Outcome:
        """The chosen cell of `trials`. Raises RunError if the median seed diverged in every cell."""
        return Outcome.of_sweep(self.trials(name, axes, parallel=parallel, **fields))

    def trials(
        self,
        name: str,
        axes: Mapping[str, Sequence[Any]] | None = None,
        *,
        parallel: Parallel = "auto",
        **fields: Any,
    ) -> SweepReader:
        """A sweep over the seeds and over `axes` in the folder `name`; resumed if it exists. With parallel='one' the
        trials run in sequence, so that their seconds can be compared."""
        axis_values = {
            axis: tuple(values)[:2] if self.quick else tuple(values) for axis, values in (axes or {}).items()
        }
        grid = Grid(self.config(**fields), {**axis_values, "seed": self.seeds})
        started = time.perf_counter()
        result = api.sweep(grid, self.out / name, resume=True, parallel=parallel, show=self.show)
        if result.status == "interrupted":
            raise Stopped(result.signal)
        sweep = SweepReader.open(result.path)
        self.saved += duration(sweep.record) - (time.perf_counter() - started)
        return sweep

    def beside(self, name: str) -> "Study":
        """The same study in the sibling folder `name`, for networks that several experiments share."""
        return dataclasses.replace(self, out=self.out.parent / name)

    def training(self, **fields: Any) -> Split:
        """The training split of `config(**fields)`, in memory."""
        split = api.load_data(self.config(**fields)).train
        assert isinstance(split, Split)
        return split

    def finished(self, outcome: Outcome) -> dict[int, TrainedModel]:
        """The networks of the chosen cell by seed, including those at chance; diverged ones have no weights."""
        assert outcome.table is not None
        rows = [row for row in outcome.table.chosen_trials() if row.status == "complete"]
        return {row.seed: TrainedModel.load(trial_folder(outcome.folder, row.trial).path) for row in rows}

    def learned(self, outcome: Outcome) -> dict[int, TrainedModel]:
        """The networks of `finished` that are better than chance, the only ones that have learned anything; `left_out`
        counts the others. All of them if `quick`, since hardly any is better there. Raises RunError if there is none.
        """
        networks = self.finished(outcome)
        if not self.quick:
            networks = {trial.seed: networks[trial.seed] for trial in outcome.seeds if trial.at_chance is False}
        if not networks:
            raise RunError(f"{outcome.folder.path}: no network learned anything, so there is nothing to look into")
        return networks

    def left_out(self, outcome: Outcome) -> dict[str, int]:
        """How many networks `learned` leaves out, and why."""
        return {
            "networks that diverged": outcome.diverged,
            "networks at chance": 0 if self.quick else outcome.at_chance,
        }

    def write(self, name: str, rows: Sequence[Mapping[str, Any]] | pd.DataFrame) -> pd.DataFrame:
        """Writes a table next to the verdict, as CSV."""
        frame = pd.DataFrame(rows)
        frame.to_csv(self.out / f"{name}.csv", index=False, float_format="%.6g", lineterminator="\n")
        return frame

    def draw(self, name: str, figure: Figure) -> None:
        """Writes a figure next to the verdict, as PNG."""
        figures.save(figure, self.out / f"{name}.png")


def duration(record: Record) -> float:
    """About how many seconds the trials of a sweep took, from its record: the sum over trials, divided by the number of
    trials that ran in parallel."""
    assert record.plan is not None
    parallel = max(trials["workers"] * trials["chunk"] for trials in record.plan["programs"])
    return ((record.train_seconds or 0.0) + (record.compile_seconds or 0.0)) / parallel


class Stopped(CnnJaxError):
    """The experiment was interrupted; the same command continues it."""

    def __init__(self, signal: int | None):
        super().__init__("interrupted; the same command continues it")
        self.exit_code = 128 + (signal or 2)


def run(study: Study, investigate: Callable[[Study], Finding], command: str | None = None) -> Verdict:
    """Runs the experiment and writes verdict.json. An existing verdict is returned instead. `command` is the command
    line to record (default: that of this process)."""
    request: dict[str, Any] = {
        "quick": study.quick, "seeds": study.seeds, "dataset": study.config().dataset,
        "options": {name: str(value) for name, value in study.options.items()},
    }  # fmt: skip
    with Folder(study.out).claimed() as folder:
        if folder.has(manifest.NAME):
            verdict = Verdict.open(folder.path)
            if changed := [name for name, value in request.items() if getattr(verdict, name) != value]:
                raise RequestError(f"{study.out} holds this experiment with another {changed[0]}: give another --out")
            return verdict
        started = time.perf_counter()
        start, attachments = provenance()
        finding = investigate(study)
        question = study.question
        verdict = Verdict(
            claim=question.claim, question=question.question, rule=question.rule, finding=finding,
            seconds=round(time.perf_counter() - started + max(study.saved, 0.0), 1),
            provenance=start if command is None else dataclasses.replace(start, command=command),
            finished=utc_now(), **request,
        )  # fmt: skip
        for name, content in attachments.items():
            folder.write_bytes(name, content)
        verdict.write(folder)
        manifest.write(folder)
        return verdict


def sentence(verdict: Verdict) -> str:
    """The verdict in one line, with its effect, interval, n and failures."""
    return f"{verdict.finding.answer}: {verdict.finding.statistic}: {effect_text(verdict.finding)}"


@dataclass(frozen=True)
class Comparison:
    """An experiment that trains variants of a network with the same seeds and compares the test accuracy of two:
    `better` minus `worse`, in points. The best of the `learning_rates` is chosen for each variant on validation data.
    """

    question: Question
    variants: Mapping[str, Mapping[str, Any]]  # name -> fields of the config
    better: str
    worse: str
    learning_rates: Sequence[float] = (0.01, 0.03)
    base: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, study: Study) -> Finding:
        return compare(study, self.train(study), self.better, self.worse)

    def train(self, study: Study) -> dict[str, Outcome]:
        """The sweep of each variant, by name. If `quick`, only of the two that are compared, with one learning rate."""
        outcomes = {}
        for name in (self.better, self.worse) if study.quick else self.variants:
            own: dict[str, Any] = {**SMALL, **self.base, **self.variants[name]}
            rates = own.pop("learning_rates", self.learning_rates)[: 1 if study.quick else None]
            outcomes[name] = study.sweep(_folder(name), {"learning_rate": rates}, **own)
        return outcomes


SMALL: dict[str, Any] = {
    "network": "conv5-8:same relu max2 conv5-16:same relu max2 dense-64 relu dense-10",
    "train_examples": 4000,
    "validation": 2000,
    "epochs": 4,
    "batch_size": 64,
}


CLASSIC = "conv5-8:same relu max2 conv5-16:same relu max2 conv3-32:same relu max2 dense-64 relu dense-10"


def classic(study: Study) -> Outcome:
    """A network like that of the guide, which several experiments analyse: trained once, in a folder next to theirs,
    with a checkpoint of every epoch."""
    fields: dict[str, Any] = {
        "network": CLASSIC,
        "train_examples": 12000,
        "epochs": 6,
        "batch_size": 64,
        "keep_all": True,
    }
    return study.beside("classic").sweep(study.config().dataset.replace("/", "-"), {"learning_rate": (0.02,)}, **fields)


def compare(study: Study, outcomes: Mapping[str, Outcome], better: str, worse: str) -> Finding:
    """Compares outcomes by test accuracy: writes the table and the figure and returns the finding."""
    values = {name: percentages(outcome) for name, outcome in outcomes.items()}
    rates = {name: outcome.config.learning_rate for name, outcome in outcomes.items()}
    study.write(
        "seeds",
        [
            {"variant": name, "seed": seed, "test_accuracy": value, "learning_rate": rates[name]}
            for name, by_seed in values.items()
            for seed, value in by_seed.items()
        ],
    )
    study.draw("figure", figures.by_variant(values, "%", f"n = {len(study.seeds)}"))
    medians = {name: median(list(by_seed.values())) for name, by_seed in values.items()}
    more = {
        "median_test_accuracy": medians,
        "learning_rate": rates,
        "parameters": {name: outcome.parameters for name, outcome in outcomes.items()},
        "diverged": {name: outcome.diverged for name, outcome in outcomes.items()},
        "at chance": {name: outcome.at_chance for name, outcome in outcomes.items()},
    }
    a, b = ([values[name][seed] for seed in study.seeds] for name in (better, worse))
    chance = (outcomes[better].at_chance, outcomes[worse].at_chance)
    return Finding.paired(f"test accuracy, {better} minus {worse}", "points", a, b, more, at_chance=chance)


def percentages(outcome: Outcome, score: str = "test.accuracy") -> dict[int, float | None]:
    """An accuracy of the chosen cell of a sweep by seed, in percent; None for a seed that diverged."""
    return {seed: None if x is None else 100 * x for seed, x in outcome.by_seed(score).items()}


def _folder(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-." else "-" for c in name)
