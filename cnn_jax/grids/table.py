"""From the results of trials to a table of cells, the choice of the best, and its comparison with the others.

A trial that diverged has no accuracy and ranks below every number; it is counted, never averaged. A trial at chance
keeps its measured accuracy and is counted, too.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

from cnn_jax.errors import RequestError
from cnn_jax.grids.grid import Grid
from cnn_jax.metrics import METRICS, Evaluation
from cnn_jax.statistics import SEEDS_FOR_A_VERDICT, compare_with_best, median, median_interval, quantile

COMPARISON = ("difference", "difference_low", "difference_high", "p", "detectable", "against_best")


@dataclass(frozen=True)
class TrialRow:
    """A row of results.csv.

    Attributes:
      trial: number of the trial in the grid.
      cell: values of the axes.
      filters: number of filters of the first convolution.
      train_loss: mean over the last epoch.
      validation: None for a trial that diverged.
    """

    trial: int
    cell: dict[str, Any]
    learning_rate: float
    filters: int | None
    seed: int
    status: str
    at_chance: bool | None
    epochs: int
    train_loss: float | None
    validation: Evaluation | None
    parameters: int
    seconds: float

    @property
    def accuracy(self) -> float | None:
        return None if self.validation is None else self.validation.accuracy

    def to_json(self) -> dict[str, Any]:
        """The columns of results.csv."""
        means = {} if self.validation is None else self.validation.means
        return {
            "learning_rate": self.learning_rate,
            "filters": self.filters,
            **{name: value for name, value in self.cell.items() if name not in ("learning_rate", "filters")},
            "seed": self.seed,
            "status": self.status,
            "at_chance": self.at_chance,
            "epochs": self.epochs,
            "train_loss": self.train_loss,
            **{f"validation_{name}": means.get(name) for name in METRICS},
            "parameters": self.parameters,
            "seconds": self.seconds,
            "trial": self.trial,
        }


def to_csv(rows: Sequence[dict[str, Any]]) -> str:
    """The CSV of rows with the same columns: numbers in full precision, None as an empty field."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: "" if value is None else value for name, value in row.items()} for row in rows)
    return text.getvalue()


@dataclass(frozen=True)
class Table:
    """The finished trials of a grid, in order of their numbers, and statistics of them."""

    grid: Grid
    rows: tuple[TrialRow, ...]

    def __post_init__(self) -> None:
        trials = [row.trial for row in self.rows]
        if trials != sorted(set(trials)) or (trials and trials[-1] >= len(self.grid.cells()) * len(self.grid.seeds)):
            raise RequestError("the rows of a table must be of different trials of its grid, in order")

    @cached_property
    def by_cell(self) -> list[list[TrialRow]]:
        """The rows of each cell, in the order of its seeds."""
        n = len(self.grid.seeds)
        cells: list[list[TrialRow]] = [[] for _ in self.grid.cells()]
        for row in self.rows:
            cells[row.trial // n].append(row)
        return cells

    def accuracies(self, cell: int) -> list[float | None]:
        """Validation accuracies of cell number `cell` in the order of its seeds; None for a diverged trial."""
        return [row.accuracy for row in self.by_cell[cell]]

    @cached_property
    def medians(self) -> list[float | None]:
        """The median validation accuracy of each cell; None if it falls on a diverged trial."""
        return [median(self.accuracies(i)) for i in range(len(self.by_cell))]

    @cached_property
    def chosen_cell(self) -> int | None:
        """The number of the (first) cell with the highest median validation accuracy; None if no cell has a median."""
        alive = {i: value for i, value in enumerate(self.medians) if value is not None}
        return max(alive, key=lambda i: (alive[i], -i)) if alive else None

    @property
    def chosen(self) -> dict[str, Any] | None:
        """The values of the chosen cell by axis."""
        return None if self.chosen_cell is None else self.grid.cells()[self.chosen_cell]

    def chosen_trials(self) -> list[TrialRow]:
        """The trials of the chosen cell in the order of its seeds; empty if no cell is chosen."""
        return [] if self.chosen_cell is None else self.by_cell[self.chosen_cell]

    def representative(self) -> TrialRow:
        """The trial of the chosen cell whose accuracy is its lower median."""
        ranked = sorted(
            self.chosen_trials(), key=lambda row: (-1.0 if row.accuracy is None else row.accuracy, row.seed)
        )
        return ranked[(len(ranked) - 1) // 2]

    def summary(self) -> "pd.DataFrame":
        """A row per cell: median, quartiles, interval or range, n, how many diverged and are at chance, whether it is
        chosen, and the comparison with the best (empty if there is none)."""
        compared = self._against_the_best()
        rows = []
        for i, cell in enumerate(self.grid.cells()):
            values, trials = self.accuracies(i), self.by_cell[i]
            interval = median_interval(values)
            rows.append(
                {
                    **cell,
                    "median": self.medians[i],
                    "q1": quantile(values, 0.25),
                    "q3": quantile(values, 0.75),
                    "low": interval.low,
                    "high": interval.high,
                    "interval": interval.kind,
                    "n": len(values),
                    "diverged": values.count(None),
                    "at_chance": sum(row.at_chance is True for row in trials),
                    "parameters": trials[0].parameters,
                    "chosen": i == self.chosen_cell,
                    **dict.fromkeys(COMPARISON),
                    **compared[i],
                }
            )
        import pandas as pd  # takes half a second to import

        return pd.DataFrame(rows).astype(dict.fromkeys(self.grid.cell_axes, object))

    def _against_the_best(self) -> list[dict[str, Any]]:
        """For every cell without diverged trials: the difference to the best of the others with a simultaneous
        interval, and 'worse' or 'not distinguishable'. Empty below SEEDS_FOR_A_VERDICT seeds."""
        cells = range(len(self.by_cell))
        if len(self.grid.seeds) < SEEDS_FOR_A_VERDICT:
            return [{} for _ in cells]
        rows: list[dict[str, Any]] = []
        for compared in compare_with_best([self.accuracies(i) for i in cells]):
            if compared is None:
                rows.append({})
                continue
            verdict = "worse" if compared.worse else "not distinguishable"
            numbers = (compared.difference, compared.low, compared.high, compared.p, compared.detectable)
            rows.append(dict(zip(COMPARISON, (*numbers, verdict), strict=True)))
        return rows

    def remarks(self) -> list[str]:
        """Warnings for a reader of the table: the chosen cell is on an edge of the grid, too few seeds for a verdict,
        trials that diverged or are at chance."""
        remarks = []
        for name, value in (self.chosen or {}).items():
            if edge := self.grid.edge(name, value):
                side, more = edge
                add = "" if more is None else f": add {more}"
                remarks.append(
                    f"the best {name}, {value}, lies on the {side} edge of the grid; the optimum may lie outside{add}"
                )
        n = len(self.grid.seeds)
        if n < SEEDS_FOR_A_VERDICT and len(self.grid.cells()) > 1:
            remarks.append(
                f"n = {n} seeds: too few to say which cells are not distinguishable from the best (at least "
                f"{SEEDS_FOR_A_VERDICT}); the interval given is the range"
            )
        if diverged := sum(row.status == "diverged" for row in self.rows):
            remarks.append(
                f"{diverged} of {len(self.rows)} trials diverged; they have no accuracy and rank below every other"
            )
        if chance := sum(row.at_chance is True for row in self.rows):
            remarks.append(f"{chance} of {len(self.rows)} trials ended at chance; they keep their measured accuracy")
        return remarks
