"""Comparisons of variants of a network: tuned alike, trained on the same seeds, judged by test accuracy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cnn_jax.errors import RunError
from cnn_jax.report import figures
from cnn_jax.runs.outcome import Outcome
from cnn_jax.runs.sweeps import trial_folder
from cnn_jax.runs.verdict import Finding
from cnn_jax.statistics import median
from cnn_jax.study import tuning
from cnn_jax.study.experiment import Question, Study
from cnn_jax.study.tuning import Space, Tuned, Value

TUNING_SEEDS = 2  # of the pilot's
SHARES = (0.125, 0.25, 0.5, 1.0)  # of the budget, at which a verdict is looked at
RATES = Space(1e-3, 0.3)
FLAT = 0.01  # a loss is flat if the last quarter of the budget lowers it by no more than this share
SMALL: dict[str, Any] = {
    "network": "conv5-8:same relu max2 conv5-16:same relu max2 dense-64 relu dense-10",
    "train_examples": 4000,
    "validation": 2000,
    "epochs": 20,
    "batch_size": 32,
    "select": "best",
}


@dataclass(frozen=True)
class Comparison:
    """An experiment that trains variants of a network with the same seeds and compares two by test accuracy: `better`
    minus `worse`, in percentage points.

    In a pilot each variant gets equally many values from its space, and the one with the best validation accuracy is
    used; a registered study uses the values that its pilot chose.

    Attributes:
      question: what is asked.
      variants: the fields of the config of each variant; `space` is a space of its own.
      better, worse: the two that are compared.
      space: the space of all variants.
      base: fields of all variants.
    """

    question: Question
    variants: Mapping[str, Mapping[str, Any]]
    better: str
    worse: str
    space: Space = RATES
    base: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, study: Study) -> Finding:
        outcomes, tuned = self.train(study)
        more: dict[str, Any] = {"chosen": self.chosen(outcomes)}
        if tuned:
            more["on the edge of its space"] = [name for name, one in tuned.items() if one.on_edge]
        return compare(study, outcomes, self.better, self.worse, more)

    @property
    def arms(self) -> dict[str, dict[str, Any]]:
        """The fields of each variant, without what is tuned."""
        return {name: self.fields(name) for name in self.variants}

    def fields(self, name: str) -> dict[str, Any]:
        """The fields of a variant, without what is tuned."""
        own = {key: value for key, value in self.variants[name].items() if key != "space"}
        return {**SMALL, **self.base, **own}

    def space_of(self, name: str) -> Space:
        return self.variants[name].get("space", self.space)

    def chosen(self, outcomes: Mapping[str, Outcome]) -> dict[str, dict[str, Any]]:
        """The tuned field of each variant."""
        fields = {name: self.space_of(name).field for name in outcomes}
        return {name: {fields[name]: getattr(outcome.config, fields[name])} for name, outcome in outcomes.items()}

    def train(self, study: Study) -> tuple[dict[str, Outcome], dict[str, Tuned]]:
        """The outcome of each variant, by name, and, in a pilot, what was tried; in the quick form only of the two
        compared, with the middle of the space."""
        names = (self.better, self.worse) if study.quick else tuple(self.variants)
        tuned: dict[str, Tuned] = {}
        chosen = study.chosen
        if study.quick:
            spaces = {name: self.space_of(name) for name in names}
            chosen = {name: {space.field: (space.low * space.high) ** 0.5} for name, space in spaces.items()}
        elif not chosen:
            tuned = self._tune(study, names)
            chosen = {name: {one.field: one.chosen} for name, one in tuned.items()}
        outcomes = {}
        for name in names:
            fields = {**self.fields(name), **chosen[name]}
            rate = fields.pop("learning_rate")
            outcomes[name] = study.sweep(folder_of(name), {"learning_rate": (rate,)}, **fields)
        return outcomes, tuned

    def _tune(self, study: Study, names: Sequence[str]) -> dict[str, Tuned]:
        """Tries values for each variant, and writes them as a table and a figure."""
        rows: list[dict[str, Any]] = []

        def score(name: str, round_: int, values: Sequence[float]) -> list[Value]:
            tuned = self.space_of(name).field
            folder = f"tuning-{folder_of(name)}-{round_}"
            sweep = study.trials(folder, {tuned: values}, seeds=study.seeds[:TUNING_SEEDS], **self.fields(name))
            for row in sweep.table.rows:
                found = None if row.accuracy is None else 100 * row.accuracy
                rows.append(
                    {"variant": name, "round": round_, tuned: row.cell[tuned], "seed": row.seed, "accuracy": found}
                )
            cells = [cell[tuned] for cell in sweep.table.grid.cells()]
            medians = dict(zip(cells, (median(sweep.table.accuracies(i)) for i in range(len(cells))), strict=True))
            return [medians[value] for value in values]

        tuned = tuning.tune({name: self.space_of(name) for name in names}, score)
        study.write("tuning", rows)
        study.draw("tuning", tuning.figure(tuned, f"{study.dataset}, {TUNING_SEEDS} seeds for each value"))
        return tuned


def compare(
    study: Study, outcomes: Mapping[str, Outcome], better: str, worse: str, more: Mapping[str, Any] | None = None
) -> Finding:
    """Compares outcomes by test accuracy: returns the finding, and writes tables and a figure."""
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
    study.draw("figure", figures.by_variant(values, "%"), f"n = {len(study.seeds)}")
    everything = {
        **(more or {}),
        "median_test_accuracy": {name: median(list(by_seed.values())) for name, by_seed in values.items()},
        "learning_rate": {name: outcome.config.learning_rate for name, outcome in outcomes.items()},
        "parameters": {name: outcome.parameters for name, outcome in outcomes.items()},
        "diverged": {name: outcome.diverged for name, outcome in outcomes.items()},
        "at chance": {name: outcome.at_chance for name, outcome in outcomes.items()},
        **over_budget(study, outcomes, better, worse),
    }
    a, b = ([values[name][seed] for seed in study.seeds] for name in (better, worse))
    chance = (outcomes[better].at_chance, outcomes[worse].at_chance)
    statistic = f"test accuracy, {better} minus {worse}"
    return study.paired(statistic, "points", a, b, everything, at_chance=chance)


def over_budget(study: Study, outcomes: Mapping[str, Outcome], better: str, worse: str) -> dict[str, Any]:
    """The comparison at shares of the budget, by the best validation accuracy until then, and the arms whose loss is
    not flat at the end. Writes the table `budget`."""
    curves = {name: _curves(outcome) for name, outcome in outcomes.items()}
    rows = []
    for share in SHARES:
        until = {name: [curve.best_until(share) for curve in curves[name]] for name in (better, worse)}
        found = study.paired("", "points", until[better], until[worse])
        rows.append(
            {"share": share, "effect": found.effect, "low": found.low, "high": found.high, "answer": found.answer}
        )
    study.write("budget", rows)
    unfinished = [name for name, of_arm in curves.items() if not _flat([c.losses for c in of_arm if c.losses])]
    return {
        "validation, at shares of the budget": {f"{row['share']:g}": row["answer"] for row in rows},
        "updates": {name: max((c.steps for c in of_arm), default=0) for name, of_arm in curves.items()},
        "loss not flat": unfinished,
    }


@dataclass(frozen=True)
class _Curve:
    """The validation accuracies (percent) and losses of a run by epoch, and its number of steps."""

    accuracies: tuple[float, ...]
    losses: tuple[float, ...]
    steps: int

    def best_until(self, share: float) -> float | None:
        """The best accuracy in a share of the epochs; None for a run that diverged."""
        if not self.accuracies:
            return None
        return max(self.accuracies[: max(1, round(share * len(self.accuracies)))])


def _curves(outcome: Outcome) -> list[_Curve]:
    """Of every seed, in the order of the seeds; empty for one that diverged."""
    if outcome.table is None:
        raise RunError(f"{outcome.folder.path} is no sweep")
    curves = []
    for row in outcome.table.chosen_trials():
        history = trial_folder(outcome.folder, row.trial).metrics() if row.status == "complete" else []
        scored = [(entry.validation, entry.step) for entry in history if entry.validation is not None and entry.epoch]
        curves.append(
            _Curve(
                tuple(100 * evaluation.accuracy for evaluation, _ in scored),
                tuple(evaluation.loss for evaluation, _ in scored),
                scored[-1][1] if scored else 0,
            )
        )
    return curves


def _flat(losses: Sequence[Sequence[float]]) -> bool:
    """Whether the lowest median loss so far falls by no more than a share FLAT in the last quarter."""
    if not losses:
        return True
    middle = np.median(np.array(losses), axis=0)
    before = middle[: max(1, 3 * len(middle) // 4)].min()
    return bool(middle.min() >= (1 - FLAT) * before)


def percentages(outcome: Outcome, score: str = "test.accuracy") -> dict[int, float | None]:
    """An accuracy of the chosen cell by seed, in percent; None for diverged seeds."""
    return {seed: None if x is None else 100 * x for seed, x in outcome.by_seed(score).items()}


def folder_of(name: str) -> str:
    """The folder of a variant."""
    return "".join(c if c.isalnum() or c in "-." else "-" for c in name)
