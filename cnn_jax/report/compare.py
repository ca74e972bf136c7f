"""Runs and sweeps compared seed by seed."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from cnn_jax.errors import RequestError
from cnn_jax.report import tables
from cnn_jax.runs.outcome import Metric, Outcome
from cnn_jax.statistics import (
    MOST_FLIPS,
    SEEDS_FOR_A_VERDICT,
    holm,
    paired_t,
    seeds_needed,
    sign_flips,
)
from cnn_jax.sweep.table import LEVEL

BySeed = Mapping[int, float]
SCALE = {"accuracy": (100.0, "points"), "loss": (1.0, "nats")}


def compare(paths: Sequence[Path], metric: Metric, detect: float | None = None) -> str:
    """A Markdown table: every outcome after the first against the first, over the seeds that both have. One sweep alone
    is compared cell by cell, with the chosen one, on validation accuracy, since no other cell's test split is scored.

    `detect` is a true difference (points of accuracy, or units of the loss): the table says how many seeds would find
    it with a probability of 0.8. RequestError for outcomes that were not scored with the same images.
    """
    outcomes = [Outcome.load(path) for path in paths]
    if len(outcomes) == 1:
        metric, named = "validation.accuracy", _cells(outcomes[0])
    else:
        _refuse_other_scores(outcomes)
        named = [(str(path), one.by_seed(metric)) for path, one in zip(paths, outcomes, strict=True)]
    scale, unit = SCALE[metric.split(".")[1]]
    pairs = [_Pair(named[0][1], values, scale) for _, values in named[1:]]
    corrected = iter(holm([pair.p for pair in pairs if pair.p is not None]))
    rows = []
    for (name, _), pair in zip(named[1:], pairs, strict=True):
        p = None if pair.p is None else next(corrected)
        rows.append({"against the first": name, **pair.row(unit, p, detect)})
    middle = scale * float(np.nanmedian(list(named[0][1].values())))
    heading = f"{metric} against {named[0][0]} (median {middle:.4g})"
    legend = _legend(len(rows), detect, unit, chosen=len(outcomes) == 1)
    return f"{heading}\n\n{tables.markdown(pd.DataFrame(rows))}\n{legend}\n"


class _Pair:
    """Two outcomes over the seeds that they share, in the units of the table."""

    def __init__(self, reference: BySeed, values: BySeed, scale: float):
        shared = sorted(s for s in set(reference) & set(values) if math.isfinite(reference[s] + values[s]))
        self.n = len(shared)
        self.a = [scale * values[seed] for seed in shared]
        self.b = [scale * reference[seed] for seed in shared]
        self.test = paired_t(self.a, self.b) if self.n > 1 else None

    @property
    def p(self) -> float | None:
        """Of the t test, where there are enough seeds for a verdict."""
        return self.test.p if self.test is not None and self.n >= SEEDS_FOR_A_VERDICT else None

    @property
    def deviation(self) -> float:
        """Standard deviation of the differences."""
        return float(np.std(np.subtract(self.a, self.b), ddof=1))

    def row(self, unit: str, corrected: float | None, detect: float | None) -> dict[str, str]:
        row = {"n": str(self.n)}
        if self.test is None:
            what = f"{self.a[0] - self.b[0]:+.3g}" if self.n else "no seed in common"
            row |= {f"mean difference, {unit}": what, "95 % t interval": "–", "p (t, Holm)": "–", "p (sign flips)": "–"}
        else:
            row |= {
                f"mean difference, {unit}": f"{self.test.difference:+.3g}",
                "95 % t interval": f"{self.test.low:+.3g} – {self.test.high:+.3g}",
                "p (t, Holm)": "–" if corrected is None else f"{corrected:.2g}",
                "p (sign flips)": f"{sign_flips(self.a, self.b):.2g}" if self.n <= MOST_FLIPS else "–",
            }
        row["verdict"] = self.verdict(corrected)
        if detect is not None:
            row[f"seeds to find {detect:g}"] = str(seeds_needed(self.deviation, detect)) if self.n > 1 else "–"
        return row

    def verdict(self, corrected: float | None) -> str:
        if corrected is None:
            return f"none: n = {self.n} seeds, {SEEDS_FOR_A_VERDICT} are needed"
        return "not distinguishable" if corrected >= LEVEL else "different"


def _legend(comparisons: int, detect: float | None, unit: str, chosen: bool) -> str:
    lines = [
        "Paired by seed; a seed that diverged counts as accuracy 0, and has no loss. The verdict rests on the t test "
        "at 0.05" + (f", corrected for {comparisons} comparisons." if comparisons > 1 else ".")
    ]
    if chosen:
        lines.append("The first cell was chosen by these very values, which favours it.")
    if detect is not None:
        lines.append(
            f"Seeds to find a true difference of {detect:g} {unit} with probability 0.8, by the deviation seen here."
        )
    return " ".join(lines)


def _cells(outcome: Outcome) -> list[tuple[str, BySeed]]:
    """The cells of a sweep by their values, the chosen one first."""
    if outcome.table is None or len(outcome.table.grid.cells()) < 2:
        raise RequestError(f"{outcome.folder.path} has nothing to be compared with: name another run or sweep")
    table, grid = outcome.table, outcome.table.grid
    cells = sorted(grid.cells(), key=lambda cell: cell != table.chosen)
    seeds = sorted(grid.seeds)
    names = [", ".join(f"{axis} {value:g}" for axis, value in cell.items()) for cell in cells]
    return [
        (name, dict(zip(seeds, table.accuracies(cell), strict=True))) for name, cell in zip(names, cells, strict=True)
    ]


def _refuse_other_scores(outcomes: Sequence[Outcome]) -> None:
    """RequestError where outcomes were not scored with the same images."""
    first, *others = outcomes
    for other in others:
        for what, a, b in (
            ("data", first.data["name"], other.data["name"]),
            ("the seed of the split", first.config.split_seed, other.config.split_seed),
            ("the size of the images", first.data["image_shape"], other.data["image_shape"]),
            ("the number of test images", first.data["splits"]["test"], other.data["splits"]["test"]),
            ("the number of validation images", first.data["splits"]["validation"], other.data["splits"]["validation"]),
        ):
            if a != b:
                raise RequestError(f"{other.folder.path} and {first.folder.path} differ in {what}: {b} and {a}")
