"""From the results of trials to a table of cells, the choice of one, and what can be said about the others."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from cnn_jax.statistics import SEEDS_FOR_A_VERDICT, holm, median_interval, paired_t
from cnn_jax.sweep.grid import Grid
from cnn_jax.training.config import Config

WORST = 0.0  # the accuracy that a diverged seed counts as
LEVEL = 0.05
COMPARISON = ("difference", "difference_low", "difference_high", "p_holm", "against_chosen")


def row(
    grid: Grid, config: Config, result: dict[str, Any], train_loss: float | None, filters: int | None
) -> dict[str, Any]:
    """A trial's row in results.csv; `filters` is the count of its first convolution."""
    validation = result["validation"] or {}
    return {
        "learning_rate": config.learning_rate,
        "filters": filters,
        **{name: getattr(config, name) for name in grid.cell_axes if name != "filters"},
        "seed": config.seed,
        "status": result["status"],
        "epochs": result["epochs"],
        "train_loss": train_loss,
        "validation_accuracy": validation.get("accuracy"),
        "validation_loss": validation.get("loss"),
        "parameters": result["parameters"],
        "seconds": round(result["train_seconds"], 2),
    }


@dataclass(frozen=True)
class Table:
    """The trials of a grid as a frame, and what follows from them."""

    grid: Grid
    trials: pd.DataFrame

    @classmethod
    def of(cls, grid: Grid, rows: Sequence[dict[str, Any]]) -> "Table":
        return cls(grid, pd.DataFrame(rows))

    def accuracies(self, cell: dict[str, Any]) -> list[float]:
        """Validation accuracies of a cell in the order of its seeds, the worst value for a diverged one."""
        return list(self._scored(cell)["scored"])

    def _scored(self, cell: dict[str, Any]) -> pd.DataFrame:
        rows = self.trials
        for name, value in cell.items():
            rows = rows[rows[name] == value]
        rows = rows.sort_values("seed")
        accuracy = rows["validation_accuracy"].astype(float).fillna(WORST)
        return rows.assign(scored=accuracy.where(rows["status"] != "diverged", WORST))

    def summary(self) -> pd.DataFrame:
        """A row per cell: median, quartiles, interval or range, n, diverged, chosen, and the comparison with the chosen
        cell (empty where nothing can be said)."""
        rows = []
        for cell in self.grid.cells():
            scored = self._scored(cell)
            values = list(scored["scored"])
            lower, median, upper = np.quantile(values, [0.25, 0.5, 0.75])
            interval = median_interval(values)
            rows.append(
                {
                    **cell,
                    "median": median,
                    "q1": lower,
                    "q3": upper,
                    "low": interval.low,
                    "high": interval.high,
                    "interval": interval.kind,
                    "n": len(values),
                    "diverged": int((scored["status"] == "diverged").sum()),
                    "parameters": int(scored["parameters"].iloc[0]),
                }
            )
        summary = pd.DataFrame(rows)
        best = int(summary["median"].to_numpy().argmax())
        summary["chosen"] = [i == best for i in range(len(summary))]
        return summary.join(pd.DataFrame(self._against(best), columns=COMPARISON))

    def _against(self, best: int) -> list[dict[str, Any]]:
        """For every cell but the chosen one: its mean difference to it over paired seeds, the t interval, the p value
        after Holm's correction and 'different' or 'not distinguishable'; nothing with too few seeds."""
        cells = self.grid.cells()
        found: list[dict[str, Any]] = [{} for _ in cells]
        if len(self.grid.seeds) < SEEDS_FOR_A_VERDICT:
            return found
        reference = self.accuracies(cells[best])
        others = [i for i in range(len(cells)) if i != best]
        tests = [paired_t(self.accuracies(cells[i]), reference) for i in others]
        for i, test, p in zip(others, tests, holm([test.p for test in tests]), strict=True):
            verdict = "not distinguishable" if p >= LEVEL else "different"
            values = (test.difference, test.low, test.high, p, verdict)
            found[i] = dict(zip(COMPARISON, values, strict=True))
        return found

    @property
    def chosen(self) -> dict[str, Any]:
        """The cell of the highest median validation accuracy, the first of several."""
        medians = [float(np.median(self.accuracies(cell))) for cell in self.grid.cells()]
        return self.grid.cells()[int(np.argmax(medians))]

    def chosen_trials(self) -> pd.DataFrame:
        """The trials of the chosen cell by seed."""
        return self._scored(self.chosen)

    def representative_seed(self) -> int:
        """The seed of the chosen cell whose accuracy is its lower median."""
        ranked = self.chosen_trials().sort_values(["scored", "seed"])
        return int(ranked["seed"].iloc[(len(ranked) - 1) // 2])

    def remarks(self) -> list[str]:
        """What a reader of the table must know: the chosen cell on an edge of the grid, too few seeds for a verdict,
        seeds that diverged."""
        remarks = []
        for name, value in self.chosen.items():
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
        if diverged := int((self.trials["status"] == "diverged").sum()):
            remarks.append(f"{diverged} of {len(self.trials)} trials diverged; each counts as accuracy {WORST:g}")
        return remarks
