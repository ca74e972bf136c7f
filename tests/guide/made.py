"""Sweeps that nobody trained: a table of a grid whose trials end as the test says."""

from dataclasses import dataclass
from types import SimpleNamespace

from cnn_jax.grids.grid import Grid
from cnn_jax.grids.table import Table, TrialRow
from cnn_jax.metrics import Evaluation
from cnn_jax.runs.folder import Folder
from cnn_jax.study import Study

CHANCE = 0.1


@dataclass
class Told(Study):
    """A study whose trials are not trained: `ends(cell, seed)` is a validation accuracy, None for a run that diverges;
    one of CHANCE ends at chance."""

    ends: object = None

    def trials(self, name, axes=None, *, seeds=None, parallel="auto", **fields):
        grid = Grid(
            self.config(**fields), {**{axis: tuple(v) for axis, v in axes.items()}, "seed": seeds or self.seeds}
        )
        rows = []
        for number, (cell, seed) in enumerate((cell, seed) for cell in grid.cells() for seed in grid.seeds):
            accuracy = self.ends(cell, seed)
            rows.append(
                TrialRow(
                    trial=number, cell=cell, learning_rate=cell["learning_rate"], filters=cell.get("filters", 8),
                    seed=seed, status="complete" if accuracy is not None else "diverged",
                    at_chance=None if accuracy is None else accuracy == CHANCE, epochs=1, train_loss=1.0,
                    validation=None if accuracy is None else Evaluation({"accuracy": accuracy, "loss": 1.0}, 100),
                    parameters=1, seconds=1.0,
                )
            )  # fmt: skip
        return SimpleNamespace(table=Table(grid, tuple(rows)), folder=Folder(self.out / name))
