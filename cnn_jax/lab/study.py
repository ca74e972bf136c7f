"""A question, a rule stated before the run, ordinary sweeps in one folder, and the verdict that the rule gives."""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from matplotlib.figure import Figure

from cnn_jax import lab
from cnn_jax.data import Split
from cnn_jax.errors import CnnJaxError, RequestError
from cnn_jax.report import figures
from cnn_jax.runs import record
from cnn_jax.runs.folder import Folder
from cnn_jax.runs.outcome import Outcome
from cnn_jax.runs.trained import Trained
from cnn_jax.statistics import SEEDS_FOR_A_VERDICT, paired_t
from cnn_jax.sweep.grid import Grid
from cnn_jax.sweep.plan import Parallel
from cnn_jax.training.config import Config

Verdict = Literal["supported", "not supported", "inconclusive"]

ABOVE_ZERO = (
    "supported if the 95 % t interval of the difference, paired by seed, lies above 0; not supported if it lies below "
    f"0; else inconclusive, as below {SEEDS_FOR_A_VERDICT} seeds"
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
    """What an experiment asks: the key of its claim, the question, the rule of its verdict, its data and its seeds."""

    claim: str
    question: str
    rule: str = ABOVE_ZERO
    dataset: str = "fashion_mnist"
    seeds: int = 8
    quick_seeds: int = 2


@dataclass(frozen=True)
class Finding:
    """An effect in `unit`, its interval (`interval` says of what kind), over `n` seeds, and what the rule makes of it;
    `more` are numbers without a verdict."""

    statistic: str
    unit: str
    effect: float
    low: float | None
    high: float | None
    interval: str
    p: float | None
    n: int
    verdict: Verdict
    more: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def paired(
        cls,
        statistic: str,
        unit: str,
        a: Sequence[float],
        b: Sequence[float],
        more: Mapping[str, Any] | None = None,
        *,
        above: float = 0.0,
    ) -> "Finding":
        """The mean of a - b over the same seeds; supported if its interval lies above `above`, as in ABOVE_ZERO. The p
        value is of that."""
        found = paired_t(a, b)
        p = paired_t([x - above for x in a], b).p
        verdict: Verdict = "inconclusive"
        if found.n >= SEEDS_FOR_A_VERDICT:
            verdict = "supported" if found.low > above else "not supported" if found.high < above else verdict
        kind = "95 % t interval"
        return cls(statistic, unit, found.difference, found.low, found.high, kind, p, found.n, verdict, more or {})

    @classmethod
    def exact(
        cls, statistic: str, unit: str, effect: float, holds: bool, more: Mapping[str, Any] | None = None
    ) -> "Finding":
        """A number that is computed and not sampled, and whether it is as expected."""
        verdict: Verdict = "supported" if holds else "not supported"
        return cls(statistic, unit, effect, None, None, "exact", None, 1, verdict, more or {})


@dataclass
class Study:
    """An experiment while it runs: its folder, its base config and its seeds. `quick` is the form that tests run: the
    same on a few digits, one epoch, two seeds, whose verdict counts for nothing."""

    question: Question
    out: Path
    data_dir: str | None = None
    dataset: str | None = None
    seeds: tuple[int, ...] = ()
    quick: bool = False
    show: bool = True
    options: Mapping[str, Any] = field(default_factory=dict)  # of the experiment's own, those that were given
    saved: float = 0.0  # seconds, where sweeps that were found finished took them in an earlier call

    def __post_init__(self) -> None:
        self.seeds = self.seeds or tuple(range(self.question.quick_seeds if self.quick else self.question.seeds))

    def config(self, **fields: Any) -> Config:
        """The base config with other fields; in quick form on a few digits."""
        dataset = self.dataset or self.question.dataset
        whole = {"dataset": dataset, "data_dir": self.data_dir, **fields}
        return Config(**(whole | QUICK if self.quick else whole))

    def sweep(
        self,
        name: str,
        axes: Mapping[str, Sequence[Any]] | None = None,
        *,
        parallel: Parallel = "auto",
        **fields: Any,
    ) -> Outcome:
        """A sweep over the seeds, and over `axes`, in the folder `name`; gone on with where it was begun. Trials one
        after another ('one') have seconds that can be compared."""
        taken = {axis: tuple(values)[:2] if self.quick else tuple(values) for axis, values in (axes or {}).items()}
        grid = Grid(self.config(**fields), {**taken, "seed": self.seeds})
        begun = time.perf_counter()
        done = lab.sweep(grid, self.out / name, resume=True, parallel=parallel, show=self.show)
        if done.status != "complete":
            raise Stopped(done.signal)
        outcome = Outcome.load(done.path)
        self.saved += duration(outcome.record) - (time.perf_counter() - begun)
        return outcome

    def beside(self, name: str) -> "Study":
        """The same study in the folder `name` beside this one: networks there serve several experiments."""
        return dataclasses.replace(self, out=self.out.parent / name)

    def training(self, **fields: Any) -> Split:
        """The training split of `config(**fields)`, in memory."""
        split = lab.dataset(self.config(**fields)).train
        assert isinstance(split, Split)
        return split

    def trained(self, outcome: Outcome) -> dict[int, Trained]:
        """The networks of a sweep's chosen cell by seed; those that diverged are left out, unless in quick form, where
        hardly any is better than chance."""
        assert outcome.table is not None
        chosen = outcome.table.chosen_trials()
        if not self.quick:
            chosen = chosen[chosen["status"] != "diverged"]
        folder = outcome.folder.path / "trials"
        return {int(row["seed"]): Trained.load(folder / f"{number:04d}") for number, row in chosen.iterrows()}

    def write(self, name: str, rows: Sequence[Mapping[str, Any]] | pd.DataFrame) -> pd.DataFrame:
        """A table beside the verdict, as CSV."""
        frame = pd.DataFrame(rows)
        frame.to_csv(self.out / f"{name}.csv", index=False, float_format="%.6g", lineterminator="\n")
        return frame

    def draw(self, name: str, figure: Figure) -> None:
        """A figure beside the verdict, as PNG."""
        figures.save(figure, self.out / f"{name}.png")


def duration(record: Mapping[str, Any]) -> float:
    """About how many seconds the trials of a sweep took, by its record: their own, shared by those side by side."""
    side_by_side = max(trials["workers"] * trials["chunk"] for trials in record["plan"]["programs"])
    return (record["train_seconds"] + record["compile_seconds"]) / side_by_side


class Stopped(CnnJaxError):
    """The experiment was interrupted; the same command goes on with it."""

    def __init__(self, signal: int | None):
        super().__init__("interrupted; the same command goes on")
        self.exit_code = 128 + (signal or 2)


def run(study: Study, investigate: Callable[[Study], Finding], command: str | None = None) -> dict[str, Any]:
    """Investigates and writes verdict.json; what an earlier call found is returned as it is. `command` is how to run it
    again (default: this process's)."""
    folder = Folder(study.out)
    folder.make()
    asked = {
        "quick": study.quick, "seeds": list(study.seeds), "dataset": study.config().dataset,
        "options": {name: str(value) for name, value in study.options.items()},
    }  # fmt: skip
    if folder.has("verdict.json"):
        kept = folder.read_json("verdict.json")
        if changed := [name for name, value in asked.items() if kept[name] != value]:
            raise RequestError(f"{study.out} holds this experiment with another {changed[0]}: give another --out")
        return kept
    started = time.perf_counter()
    finding = investigate(study)
    git = record.git_state()
    verdict = {
        **dataclasses.asdict(study.question),
        **dataclasses.asdict(finding),
        **asked,
        "seconds": round(time.perf_counter() - started + max(study.saved, 0.0), 1),
        "command": command or record.provenance()["command"],
        "git": git and {name: value for name, value in git.items() if name != "diff"},
        "device": record.device(),
        "versions": record.versions(),
        "finished": record.utc_now(),
    }
    folder.write_json("verdict.json", verdict)
    return folder.read_json("verdict.json")


def sentence(verdict: Mapping[str, Any]) -> str:
    """The verdict with its effect, interval and n."""
    found = f"{verdict['effect']:.4g} {verdict['unit']}".strip()
    if verdict["low"] is not None:
        found = (
            f"{verdict['effect']:+.3g} {verdict['unit']} ({verdict['interval']} {verdict['low']:+.3g} to "
            f"{verdict['high']:+.3g}, n = {verdict['n']})"
        )
    return f"{verdict['verdict']}: {verdict['statistic']}: {found}"


@dataclass(frozen=True)
class Comparison:
    """An experiment that trains variants of one network with the same seeds and compares two of them by their test
    accuracy: `better` minus `worse`, in points. Each variant has its own best of the `learning_rates`, chosen on
    validation data."""

    question: Question
    variants: Mapping[str, Mapping[str, Any]]  # name -> fields of the config
    better: str
    worse: str
    learning_rates: Sequence[float] = (0.01, 0.03)
    base: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, study: Study) -> Finding:
        return compare(study, self.train(study), self.better, self.worse)

    def train(self, study: Study) -> dict[str, Outcome]:
        """The variants' sweeps, by name; in quick form of the two that are compared, with one rate."""
        found = {}
        for name in (self.better, self.worse) if study.quick else self.variants:
            own: dict[str, Any] = {**SMALL, **self.base, **self.variants[name]}
            rates = own.pop("learning_rates", self.learning_rates)[: 1 if study.quick else None]
            found[name] = study.sweep(_folder(name), {"learning_rate": rates}, **own)
        return found


SMALL: dict[str, Any] = {
    "network": "conv5-8:same relu max2 conv5-16:same relu max2 dense-64 relu dense-10",
    "train_examples": 4000,
    "validation": 2000,
    "epochs": 4,
    "batch_size": 64,
}


CLASSIC = "conv5-8:same relu max2 conv5-16:same relu max2 conv3-32:same relu max2 dense-64 relu dense-10"


def classic(study: Study) -> Outcome:
    """A network in the manner of the guide's, which several experiments look into: trained once, in a folder beside
    theirs, with a checkpoint of every epoch."""
    fields: dict[str, Any] = {
        "network": CLASSIC,
        "train_examples": 12000,
        "epochs": 6,
        "batch_size": 64,
        "keep_all": True,
    }
    return study.beside("classic").sweep(study.config().dataset.replace("/", "-"), {"learning_rate": (0.02,)}, **fields)


def compare(study: Study, found: Mapping[str, Outcome], better: str, worse: str) -> Finding:
    """The finding, the table and the figure of a comparison of outcomes by test accuracy."""
    values = {
        name: {s: 100 * x for s, x in outcome.by_seed("test.accuracy").items()} for name, outcome in found.items()
    }
    study.write(
        "seeds",
        [
            {"variant": name, "seed": seed, "test_accuracy": value, "learning_rate": found[name].config.learning_rate}
            for name, by_seed in values.items()
            for seed, value in by_seed.items()
        ],
    )
    study.draw("figure", figures.by_variant(values, "%", f"n = {len(study.seeds)}"))
    medians = {name: float(pd.Series(list(by_seed.values())).median()) for name, by_seed in values.items()}
    more = {
        "median_test_accuracy": medians,
        "learning_rate": {name: outcome.config.learning_rate for name, outcome in found.items()},
        "parameters": {name: outcome.parameters for name, outcome in found.items()},
    }
    a, b = ([values[name][seed] for seed in study.seeds] for name in (better, worse))
    return Finding.paired(f"test accuracy, {better} minus {worse}", "points", a, b, more)


def _folder(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-." else "-" for c in name)
