"""Experiments: a question, a decision rule stated in advance, sweeps in one folder, and the resulting verdict."""

import contextlib
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
from cnn_jax.waiting import waiting

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
    """The question of an experiment: key of the claim, question, decision rule, data set and numbers of seeds."""

    claim: str
    question: str
    rule: str = ABOVE_ZERO
    dataset: str = "fashion_mnist"
    seeds: int = 8
    quick_seeds: int = 2


@dataclass
class Study:
    """A running experiment: its folder, base config and seeds. `quick` is the short form for tests: a few digits, one
    epoch, two seeds; its verdict does not count."""

    question: Question
    out: Path
    data_dir: str | None = None
    dataset: str | None = None
    seeds: tuple[int, ...] = ()
    quick: bool = False
    show: bool = True
    options: Mapping[str, Any] = field(default_factory=dict)  # the experiment's own options, as far as given
    saved: float = 0.0  # seconds that finished sweeps took in earlier calls
    analysis: contextlib.ExitStack | None = field(default=None, compare=False)  # open in `run`, between two sweeps

    def __post_init__(self) -> None:
        self.seeds = self.seeds or tuple(range(self.question.quick_seeds if self.quick else self.question.seeds))

    def config(self, **fields: Any) -> Config:
        """The base config with other fields; in the quick form on a few digits."""
        dataset = self.dataset or self.question.dataset
        values = {"dataset": dataset, "data_dir": self.data_dir, **fields}
        return Config(**(values | QUICK if self.quick else values))

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
        """Runs or resumes a sweep over the seeds and `axes`.

        Args:
          name: the subfolder.
          axes: the values of each axis; in the quick form only the first two.
          parallel: as in `api.sweep`; only with 'one' are the seconds of trials comparable.
          **fields: fields of the base config.

        Raises:
          Stopped: the sweep was interrupted.
        """
        used_axes = {axis: tuple(values)[:2] if self.quick else tuple(values) for axis, values in (axes or {}).items()}
        grid = Grid(self.config(**fields), {**used_axes, "seed": self.seeds})
        start = time.perf_counter()
        if self.analysis is not None:
            self.analysis.close()
        result = api.sweep(grid, self.out / name, resume=True, parallel=parallel, show=self.show)
        if result.status == "interrupted":
            raise Stopped(result.signal)
        sweep = SweepReader.open(result.path)
        self.saved += duration(sweep.record) - (time.perf_counter() - start)
        if self.analysis is not None:
            self.analysis.enter_context(waiting("analysing the networks", show=self.show))
        return sweep

    def beside(self, name: str) -> "Study":
        """The same study in the sibling folder `name`, for networks shared by several experiments."""
        return dataclasses.replace(self, out=self.out.parent / name)

    def training(self, **fields: Any) -> Split:
        """The training split of `config(**fields)`, in memory."""
        split = api.load_data(self.config(**fields)).train
        assert isinstance(split, Split)
        return split

    def finished(self, outcome: Outcome) -> dict[int, TrainedModel]:
        """The trained networks of the chosen cell by seed, including those at chance but not diverged ones."""
        assert outcome.table is not None
        rows = [row for row in outcome.table.chosen_trials() if row.status == "complete"]
        return {row.seed: TrainedModel.load(trial_folder(outcome.folder, row.trial).path) for row in rows}

    def learned(self, outcome: Outcome) -> dict[int, TrainedModel]:
        """Like `finished`, but only networks better than chance, as others have learned nothing (`left_out` counts
        them). In the quick form, where hardly any is better, all. Raises RunError if there is none."""
        networks = self.finished(outcome)
        if not self.quick:
            networks = {seed.seed: networks[seed.seed] for seed in outcome.seeds if seed.at_chance is False}
        if not networks:
            raise RunError(f"{outcome.folder.path}: no network learned anything, so there is nothing to look into")
        return networks

    def left_out(self, outcome: Outcome) -> dict[str, int]:
        """The numbers of networks that `learned` leaves out, by reason."""
        return {
            "networks that diverged": outcome.diverged,
            "networks at chance": 0 if self.quick else outcome.at_chance,
        }

    def write(self, name: str, rows: Sequence[Mapping[str, Any]] | pd.DataFrame) -> pd.DataFrame:
        """Writes a table beside the verdict, as CSV, and returns it."""
        frame = pd.DataFrame(rows)
        frame.to_csv(self.out / f"{name}.csv", index=False, float_format="%.6g", lineterminator="\n")
        return frame

    def draw(self, name: str, figure: Figure) -> None:
        """Saves a figure beside the verdict, as PNG."""
        figures.save(figure, self.out / f"{name}.png")


def duration(record: Record) -> float:
    """The approximate seconds of a sweep by its record: the sum over trials, divided by the number run in parallel."""
    assert record.plan is not None
    parallel = max(trials["workers"] * trials["chunk"] for trials in record.plan["programs"])
    return ((record.train_seconds or 0.0) + (record.compile_seconds or 0.0)) / parallel


class Stopped(CnnJaxError):
    """The experiment was interrupted; the same command resumes it."""

    def __init__(self, signal: int | None):
        super().__init__("interrupted; the same command resumes it")
        self.exit_code = 128 + (signal or 2)


def run(study: Study, investigate: Callable[[Study], Finding], command: str | None = None) -> Verdict:
    """Runs an experiment and writes verdict.json, or returns the verdict of an earlier call.

    Args:
      study: folder, question and seeds.
      investigate: trains and measures, and returns the finding.
      command: the recorded command to repeat the study; by default the command of this process.

    Returns:
      The verdict.

    Raises:
      RequestError: the folder holds this experiment with other options.
      RunError: the folder is damaged.
    """
    settings: dict[str, Any] = {
        "quick": study.quick, "seeds": study.seeds, "dataset": study.config().dataset,
        "options": {name: str(value) for name, value in study.options.items()},
    }  # fmt: skip
    with Folder(study.out).claimed() as folder:
        if folder.has(manifest.NAME):
            verdict = Verdict.open(folder.path)
            if changed := [name for name, value in settings.items() if getattr(verdict, name) != value]:
                raise RequestError(f"{study.out} holds this experiment with another {changed[0]}: give another --out")
            return verdict
        begin = time.perf_counter()
        start, attachments = provenance()
        with contextlib.ExitStack() as study.analysis:
            finding = investigate(study)
        question = study.question
        verdict = Verdict(
            claim=question.claim, question=question.question, rule=question.rule, finding=finding,
            seconds=round(time.perf_counter() - begin + max(study.saved, 0.0), 1),
            provenance=start if command is None else dataclasses.replace(start, command=command),
            finished=utc_now(), **settings,
        )  # fmt: skip
        for name, content in attachments.items():
            folder.write_bytes(name, content)
        verdict.write(folder)
        manifest.write(folder)
        return verdict


def sentence(verdict: Verdict) -> str:
    """The verdict in one sentence, with effect, interval, n and failures."""
    return f"{verdict.finding.answer}: {verdict.finding.statistic}: {effect_text(verdict.finding)}"


@dataclass(frozen=True)
class Comparison:
    """An experiment that trains variants of a network with the same seeds and compares two by test accuracy: `better`
    minus `worse`, in percentage points. Each variant uses its best of the `learning_rates`, chosen on validation
    data."""

    question: Question
    variants: Mapping[str, Mapping[str, Any]]  # name -> fields of the config
    better: str
    worse: str
    learning_rates: Sequence[float] = (0.01, 0.03)
    base: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, study: Study) -> Finding:
        return compare(study, self.train(study), self.better, self.worse)

    def train(self, study: Study) -> dict[str, Outcome]:
        """The outcome of each variant, by name; in the quick form only of the two compared, with one rate."""
        outcomes = {}
        for name in (self.better, self.worse) if study.quick else self.variants:
            fields: dict[str, Any] = {**SMALL, **self.base, **self.variants[name]}
            rates = fields.pop("learning_rates", self.learning_rates)[: 1 if study.quick else None]
            outcomes[name] = study.sweep(_folder(name), {"learning_rate": rates}, **fields)
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
    """A small network that several experiments inspect: trained once, in a sibling folder, with a checkpoint of every
    epoch."""
    fields: dict[str, Any] = {
        "network": CLASSIC,
        "train_examples": 12000,
        "epochs": 6,
        "batch_size": 64,
        "keep_all": True,
    }
    return study.beside("classic").sweep(study.config().dataset.replace("/", "-"), {"learning_rate": (0.02,)}, **fields)


def compare(study: Study, outcomes: Mapping[str, Outcome], better: str, worse: str) -> Finding:
    """Compares outcomes by test accuracy: returns the finding, and writes table and figure."""
    values = {name: percentages(outcome) for name, outcome in outcomes.items()}
    study.write(
        "seeds",
        [
            {
                "variant": name,
                "seed": seed,
                "test_accuracy": value,
                "learning_rate": outcomes[name].config.learning_rate,
            }
            for name, by_seed in values.items()
            for seed, value in by_seed.items()
        ],
    )
    study.draw("figure", figures.by_variant(values, "%", f"n = {len(study.seeds)}"))
    medians = {name: median(list(by_seed.values())) for name, by_seed in values.items()}
    more = {
        "median_test_accuracy": medians,
        "learning_rate": {name: outcome.config.learning_rate for name, outcome in outcomes.items()},
        "parameters": {name: outcome.parameters for name, outcome in outcomes.items()},
        "diverged": {name: outcome.diverged for name, outcome in outcomes.items()},
        "at chance": {name: outcome.at_chance for name, outcome in outcomes.items()},
    }
    a, b = ([values[name][seed] for seed in study.seeds] for name in (better, worse))
    chance = (outcomes[better].at_chance, outcomes[worse].at_chance)
    return Finding.paired(f"test accuracy, {better} minus {worse}", "points", a, b, more, at_chance=chance)


def percentages(outcome: Outcome, score: str = "test.accuracy") -> dict[int, float | None]:
    """An accuracy of the chosen cell by seed, in percent; None for diverged seeds."""
    return {seed: None if x is None else 100 * x for seed, x in outcome.by_seed(score).items()}


def _folder(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-." else "-" for c in name)
