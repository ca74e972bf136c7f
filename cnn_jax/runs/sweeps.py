"""The folder of a sweep: its trials, the seeds of its chosen cell, its tables."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnn_jax.errors import RequestError, RunError
from cnn_jax.grids.grid import Grid, value_of
from cnn_jax.grids.table import Table, TrialRow, to_csv
from cnn_jax.metrics import METRICS, Evaluation
from cnn_jax.runs import manifest
from cnn_jax.runs.folder import Folder
from cnn_jax.runs.reader import Trial, config_of, grid_of, recorded_grid
from cnn_jax.runs.schema import Data, Record, Result
from cnn_jax.training.config import Config, differences
from cnn_jax.variants import first_filters


@dataclass(frozen=True)
class SeedScore:
    """The scores of one seed of the chosen cell, or of a single run. `status` and `at_chance` describe the run whose
    weights were scored on the test split; `validation` is the score of the trial by which the cell was chosen."""

    seed: int
    status: str
    at_chance: bool | None
    validation: Evaluation | None
    test: Evaluation | None

    def to_json(self) -> dict[str, Any]:
        """A row of seeds.csv."""
        scores = (("validation", self.validation), ("test", self.test))
        return {
            "seed": self.seed,
            **{
                f"{split}_{name}": None if score is None else score.means.get(name)
                for split, score in scores
                for name in METRICS
            },
            "examples": 0 if self.test is None else self.test.examples,
            "status": self.status,
            "at_chance": self.at_chance,
        }


def trial_folder(folder: Folder, trial: int) -> Folder:
    return Folder(folder.file("trials") / f"{trial:04d}")


def final_folder(folder: Folder, seed: int) -> Folder:
    """The folder in which a seed of the chosen cell is retrained on training and validation images together."""
    return Folder(folder.file("final") / f"{seed:04d}")


def trial_row(grid: Grid, number: int, config: Config, trial: Trial, data: Data) -> TrialRow:
    """The table row of a trial that has ended. Raises RunError if its folder holds another run."""
    if changed := differences(config, trial.config):
        raise RunError(f"{trial.folder.path} is damaged: it holds another run than the grid's ({changed[0]})")
    result = trial.ended
    return TrialRow(
        trial=number,
        cell={name: value_of(config, name) for name in grid.cell_axes},
        learning_rate=config.learning_rate,
        filters=first_filters(config.build(data.image_shape, len(data.class_names)).layers),
        seed=config.seed,
        status=result.status,
        at_chance=result.at_chance,
        epochs=result.epochs,
        train_loss=trial.history[-1].train.loss if trial.history else None,
        validation=result.validation,
        parameters=result.parameters,
        seconds=round(result.train_seconds, 2),
    )


def restore_trials(folder: Folder) -> None:
    """Gives the trials of kept evidence, which have no record and no manifest of their own, what they had in the folder
    that they were kept from, so that the sweep can go on: their record is the sweep's, for their config."""
    if not folder.has("record.json"):
        return
    of_all, grid = folder.read("record.json", Record), grid_of(folder)
    if grid.base.split_seed is None:
        return  # each had data of its own, which are not in the sweep's record
    trials = [trial_folder(folder, number) for number in range(len(grid.trials()))]
    for trial in (*trials, *(final_folder(folder, seed) for seed in grid.seeds)):
        if trial.has("result.json") and not trial.has("record.json") and trial.read("result.json", Result).ended:
            config = config_of(trial)
            seeds = of_all.seeds | {"run": config.seed}
            own = dataclasses.replace(of_all, config=config.to_json(), config_hash=config.hash(), seeds=seeds)
            trial.write("record.json", dataclasses.replace(own, plan=None, trials=None, test_scored=()))
            manifest.write(trial)


def seed_scores(folder: Folder, table: Table) -> tuple[SeedScore, ...]:
    """Reads the scores of the chosen cell's seeds from their folders, in grid order; empty if no cell is chosen."""
    scores = []
    for row in table.chosen_trials():
        scored_run = final_folder(folder, row.seed) if table.grid.base.final_fit else trial_folder(folder, row.trial)
        result = Trial.open(scored_run.path).ended
        scores.append(SeedScore(row.seed, result.status, result.at_chance, row.validation, result.test))
    return tuple(scores)


@dataclass(frozen=True)
class SweepReader:
    """A finished sweep, read from its trials."""

    folder: Folder
    record: Record
    table: Table
    seeds: tuple[SeedScore, ...]

    @classmethod
    def open(cls, path: Path | str) -> "SweepReader":
        """Reads a sweep. Raises RequestError if the folder is not one, RunError if it is unfinished or damaged."""
        folder = Folder.open(path)
        record, grid = folder.read("record.json", Record), grid_of(folder)
        if not folder.has(manifest.NAME):
            raise RunError(f"{path} has no {manifest.NAME}: the sweep has not ended; --resume continues it")
        manifest.verify(folder)
        if recorded_grid(folder, record) != grid:
            raise RunError(f"{folder.path} is damaged: config.json is not the one that was run, which record.json has")
        rows = [
            trial_row(grid, i, config, Trial.open(trial_folder(folder, i).path), record.data)
            for i, config in enumerate(grid.trials())
        ]
        table = Table(grid, tuple(rows))
        seeds = seed_scores(folder, table)
        files = {"results.csv": to_csv([row.to_json() for row in rows])}
        if seeds:
            files["best/seeds.csv"] = to_csv([seed.to_json() for seed in seeds])
        for name, text in files.items():
            if folder.read_text(name) != text:
                raise RunError(f"{folder.path} is damaged: {name} is not what its trials say")
        return cls(folder, record, table, seeds)

    def scored_outside(self) -> list[int]:
        """The trials whose test split was scored although their cell was not chosen, or before the final fit."""
        allowed = set() if self.table.grid.base.final_fit else {row.trial for row in self.table.chosen_trials()}
        scored = set(self.record.test_scored)
        for row in self.table.rows:
            if Trial.open(trial_folder(self.folder, row.trial).path).ended.test is not None:
                scored.add(row.trial)
        return sorted(scored - allowed)


def sweep_around(path: Path) -> Path | None:
    """The folder of the sweep whose trial, or whose best run, lies at `path`."""
    for folder in list(path.resolve().parents)[:2]:
        try:
            if (folder / "config.json").is_file() and "axes" in Folder(folder).read_json("config.json"):
                return folder
        except (RunError, RequestError, TypeError):
            continue
    return None
