"""An experiment on one data set: its question, its folder, its sweeps, and the verdict that it leaves."""

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
from cnn_jax.report import saving
from cnn_jax.report.statements import effect_text
from cnn_jax.runs import manifest
from cnn_jax.runs.folder import Folder
from cnn_jax.runs.model import TrainedModel
from cnn_jax.runs.outcome import Outcome
from cnn_jax.runs.provenance import provenance, utc_now
from cnn_jax.runs.schema import Record
from cnn_jax.runs.sweeps import SweepReader, trial_folder
from cnn_jax.runs.verdict import Block, Finding, Verdict
from cnn_jax.statistics import SEEDS_FOR_A_VERDICT
from cnn_jax.study.registration import Registration
from cnn_jax.training.config import Config
from cnn_jax.waiting import waiting

PILOT = tuple(range(8))
EXACT = "supported if every number is the one expected; nothing is sampled"
QUICK = {"dataset": "digits", "image_size": 28, "data_dir": None, "train_examples": 256, "validation": 256, "epochs": 1}


@dataclass(frozen=True)
class Question:
    """What an experiment asks.

    Attributes:
      claim: the key of the claim.
      question: the question.
      rule: the decision rule, if it is not that of a paired difference with the smallest effect of interest.
      datasets: the data sets on which it is asked.
      smallest_effect: the smallest effect of interest, in the unit of the statistic; smaller ones count as none.
      pilot_seeds: the number of seeds of the pilot.
      most_seeds: the largest number of seeds that a verdict may use.
      quick_seeds: the number of seeds of a trial run.
    """

    claim: str
    question: str
    rule: str = ""
    datasets: tuple[str, ...] = ("fashion_mnist", "cifar10")
    smallest_effect: float | None = 0.5
    pilot_seeds: int = len(PILOT)
    most_seeds: int = 16
    quick_seeds: int = 2

    @classmethod
    def exact(cls, claim: str, question: str) -> "Question":
        """A question with an exact answer, which no sample decides."""
        return cls(claim, question, EXACT, ("fashion_mnist",), None, pilot_seeds=1)

    @property
    def decision(self) -> str:
        """The rule in words."""
        if self.rule:
            return self.rule
        margin = ""
        if self.smallest_effect is not None:
            margin = (
                f"equivalent if the difference, paired by seed, lies within ± {self.smallest_effect:g} by two "
                "one-sided tests at 5 %; else "
            )
        return (
            f"{margin}supported if the 95 % t interval of the difference, paired by seed, lies above 0, contradicted "
            f"if below; else undecided, as with fewer than {SEEDS_FOR_A_VERDICT} seeds that finished in both arms; "
            "diverged ones are counted"
        )


@dataclass
class Study:
    """An experiment with one data set and one block of seeds. `quick` is the short form for tests: a few digits, one
    epoch, two seeds; its verdict does not count."""

    question: Question
    out: Path
    data_dir: str | None = None
    dataset: str | None = None
    seeds: tuple[int, ...] = ()
    quick: bool = False
    show: bool = True
    options: Mapping[str, Any] = field(default_factory=dict)  # the experiment's own options, as far as given
    registration: Registration | None = None
    block: Block = "pilot"
    saved: float = 0.0  # seconds that finished sweeps took in earlier calls
    analysis: contextlib.ExitStack | None = field(default=None, compare=False)  # open in `run`, between two sweeps

    def __post_init__(self) -> None:
        self.dataset = "digits" if self.quick else self.dataset or self.question.datasets[0]
        count = self.question.quick_seeds if self.quick else self.question.pilot_seeds
        self.seeds = self.seeds or tuple(range(count))

    @property
    def chosen(self) -> Mapping[str, Mapping[str, Any]]:
        """The tuned fields of each arm, as registered; empty if the arms are yet to be tuned."""
        return {} if self.registration is None else self.registration.on(str(self.dataset)).chosen

    def config(self, **fields: Any) -> Config:
        """The base config with other fields; in the quick form on a few digits. Each seed has its own split."""
        values = {"dataset": self.dataset, "data_dir": self.data_dir, "split_seed": None, **fields}
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
        seeds: tuple[int, ...] | None = None,
        parallel: Parallel = "auto",
        **fields: Any,
    ) -> SweepReader:
        """Runs or resumes a sweep over the seeds and `axes`.

        Args:
          name: the subfolder.
          axes: the values of each axis; in the quick form only the first two.
          seeds: other seeds than those of the study.
          parallel: as in `api.sweep`; only with 'one' are the seconds of trials comparable.
          **fields: fields of the base config.

        Raises:
          Stopped: the sweep was interrupted.
        """
        used_axes = {axis: tuple(values)[:2] if self.quick else tuple(values) for axis, values in (axes or {}).items()}
        grid = Grid(self.config(**fields), {**used_axes, "seed": seeds or self.seeds})
        start = time.perf_counter()
        if self.analysis is not None:
            self.analysis.close()
        result = api.sweep(grid, self.out / name, resume=True, parallel=parallel, show=self.show)
        if result.status == "interrupted":
            raise Stopped(result.signal)
        sweep = SweepReader.open(result.path)
        self.saved += _duration(sweep.record) - (time.perf_counter() - start)
        if self.analysis is not None:
            self.analysis.enter_context(waiting("analysing the networks", show=self.show))
        return sweep

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

    def paired(self, statistic: str, unit: str, a: Sequence[Any], b: Sequence[Any], *more: Any, **how: Any) -> Finding:
        """`Finding.paired` with the smallest effect of interest of the question."""
        return Finding.paired(statistic, unit, a, b, *more, margin=self.question.smallest_effect, **how)

    def write(self, name: str, rows: Sequence[Mapping[str, Any]] | pd.DataFrame) -> pd.DataFrame:
        """Writes a table beside the verdict, as CSV, and returns it."""
        frame = pd.DataFrame(rows)
        frame.to_csv(self.out / f"{name}.csv", index=False, float_format="%.6g", lineterminator="\n")
        return frame

    def draw(self, name: str, figure: Figure, caption: str = "") -> None:
        """Saves a figure beside the verdict, as PNG with its caption, PDF and SVG."""
        saving.save(figure, self.out / name, caption)


def _duration(record: Record) -> float:
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
      study: folder, question, data set and seeds.
      investigate: trains and measures, and returns the finding.
      command: the recorded command to repeat the study; by default the command of this process.

    Returns:
      The verdict: registered, or exploratory with the reasons why it is not.

    Raises:
      RequestError: the folder holds this experiment with other options.
      RunError: the folder is damaged.
    """
    settings: dict[str, Any] = {
        "quick": study.quick, "seeds": study.seeds, "dataset": study.dataset, "block": study.block,
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
        question, registration = study.question, study.registration
        records = [Folder(path.parent).read(path.name, Record) for path in sorted(study.out.glob("*/record.json"))]
        verdict = Verdict(
            claim=question.claim, question=question.question, rule=question.decision, finding=finding,
            seconds=round(time.perf_counter() - begin + max(study.saved, 0.0), 1),
            provenance=start if command is None else dataclasses.replace(start, command=command),
            registration=None if registration is None else registration.mark,
            objections=_objections(study, finding, [record.provenance.started for record in records]),
            finished=utc_now(), **settings,
        )  # fmt: skip
        for name, content in attachments.items():
            folder.write_bytes(name, content)
        verdict.write(folder)
        manifest.write(folder)
        return verdict


def _objections(study: Study, finding: Finding, starts: Sequence[str]) -> tuple[str, ...]:
    """Why this verdict is not a registered one."""
    if finding.above is None:
        return ()  # nothing is sampled
    if study.registration is None:
        return ("it is a pilot" if study.block == "pilot" else "it is not registered",)
    return tuple(study.registration.objections(study.question, str(study.dataset), study.block, study.seeds, starts))


def sentence(verdict: Verdict) -> str:
    """The verdict in one sentence, with effect, interval, n and failures."""
    return f"{verdict.finding.answer}: {verdict.finding.statistic}: {effect_text(verdict.finding)}"
