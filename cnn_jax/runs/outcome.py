"""What a finished run or sweep says: its numbers by seed, and whether they deserve to be cited."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from cnn_jax.errors import RunError
from cnn_jax.runs.folder import Folder
from cnn_jax.sweep.grid import Grid
from cnn_jax.sweep.table import WORST, Table
from cnn_jax.training.config import Config

Metric = Literal["test.accuracy", "validation.accuracy", "test.loss", "validation.loss"]
METRICS: tuple[Metric, ...] = ("test.accuracy", "validation.accuracy", "test.loss", "validation.loss")
EVIDENCE = ("config.json", "result.json", "results.csv", "best/seeds.csv", "verdict.json")
CODE = (".py", ".cc", ".h")
CODE_FOLDERS = ("cnn_jax/", "experiments/", "scripts/")


def digest(path: Path) -> str:
    """The first 12 hex digits of the sha256 of what a folder's numbers are read from; of a file, its own."""
    files = [path] if path.is_file() else [path / name for name in EVIDENCE if (path / name).is_file()]
    found = hashlib.sha256()
    for file in files:
        found.update(f"{file.relative_to(path)}\0".encode() + file.read_bytes())
    return found.hexdigest()[:12]


@dataclass(frozen=True)
class Outcome:
    """A finished run, or the chosen cell of a finished sweep: a row for each seed, with accuracies as fractions; a seed
    that `diverged` has the worst accuracy and no loss."""

    folder: Folder
    config: Config
    record: Mapping[str, Any]
    seeds: pd.DataFrame
    parameters: int
    table: Table | None  # of a sweep

    @classmethod
    def load(cls, path: Path | str) -> "Outcome":
        """RequestError for what is no run's folder, RunError for one that has not ended."""
        folder = Folder.open(path)
        record = folder.read_json("record.json")
        stored = folder.read_json("config.json")
        try:
            return cls._sweep(folder, stored, record) if "axes" in stored else cls._run(folder, stored, record)
        except (KeyError, IndexError, TypeError) as error:
            raise RunError(f"{path} is damaged: its files lack {error}") from None

    @classmethod
    def _run(cls, folder: Folder, stored: Any, record: Mapping[str, Any]) -> "Outcome":
        config, result = Config.from_json(stored), folder.read_json("result.json")
        if result["status"] == "interrupted":
            raise RunError(f"{folder.path} was interrupted; --resume goes on with it")
        diverged = result["status"] == "diverged"
        row: dict[str, Any] = {"seed": config.seed, "examples": 0, "diverged": diverged}
        for split in ("validation", "test"):
            scored = result[split] or {}
            row[f"{split}_accuracy"] = WORST if diverged else scored.get("accuracy", np.nan)
            row[f"{split}_loss"] = np.nan if diverged else scored.get("loss", np.nan)
            row["examples"] = scored.get("examples", row["examples"])
        return cls(folder, config, record, pd.DataFrame([row]), result["parameters"], None)

    @classmethod
    def _sweep(cls, folder: Folder, stored: Any, record: Mapping[str, Any]) -> "Outcome":
        for name in ("results.csv", "best/seeds.csv"):
            if not folder.has(name):
                raise RunError(f"{folder.path} has no {name}: the sweep has not ended; --resume goes on with it")
        if stored != record["config"]:
            raise RunError(_not_as_run(folder))
        table = Table(Grid.from_json(stored), pd.read_csv(folder.file("results.csv")))
        seeds = pd.read_csv(folder.file("best/seeds.csv")).sort_values("seed", ignore_index=True)
        chosen = table.chosen_trials()
        seeds["diverged"] = seeds["seed"].isin(chosen[chosen["status"] == "diverged"]["seed"])
        for split in ("validation", "test"):
            seeds.loc[seeds["diverged"], f"{split}_accuracy"] = WORST
            seeds.loc[seeds["diverged"], f"{split}_loss"] = np.nan
        config = Config.from_json(table.grid.base.to_json() | table.chosen)
        return cls(folder, config, record, seeds, int(chosen["parameters"].iloc[0]), table)

    @property
    def n(self) -> int:
        return len(self.seeds)

    @property
    def data(self) -> Mapping[str, Any]:
        """What the record says of the data."""
        return self.record["data"]

    @property
    def scored(self) -> int:
        """How many images of the test split each seed was scored with."""
        return int(self.seeds["examples"].max())

    def by_seed(self, metric: Metric) -> dict[int, float]:
        """The values of a metric by seed. RunError where the split was not scored."""
        values = self.seeds[metric.replace(".", "_")]
        if values.isna().all():
            raise RunError(f"{self.folder.path} has no {metric}")
        return dict(zip(self.seeds["seed"].astype(int).tolist(), values.astype(float).tolist(), strict=True))

    def objections(self) -> Iterator[str]:
        """Why these numbers should not be cited, if they should not."""
        yield from _of_code(self.folder, self.record)
        if self.folder.read_json("config.json") != self.record["config"]:
            yield _not_as_run(self.folder)
        if self.seeds["diverged"].all():
            yield "every seed of it diverged"
        if self.table is not None:
            yield from self._of_the_test_split(self.table)
        elif (sweep := _sweep_around(self.folder.path)) is not None:
            yield f"it is one trial of a sweep, chosen or not: cite {sweep}"
        elif not self.folder.read_json("result.json")["test"]:
            yield "its test split was never scored"

    def _of_the_test_split(self, table: Table) -> Iterator[str]:
        chosen = set(map(int, table.chosen_trials().index))
        found = set(self.record.get("test_scored", ()))
        for path in self.folder.path.glob("trials/*/result.json"):
            if Folder(path.parent).read_json(path.name)["test"]:
                found.add(int(path.parent.name))
        if more := sorted(found - chosen):
            yield (
                "its test split was scored for more than the chosen cell "
                f"({table.chosen}): trials {', '.join(map(str, more))}"
            )
        if sorted(self.seeds["seed"]) != sorted(table.grid.seeds):
            yield (
                f"best/seeds.csv lists the seeds {sorted(self.seeds['seed'])}, "
                f"the chosen cell has {sorted(table.grid.seeds)}"
            )
        by_seed = table.chosen_trials().set_index("seed")["scored"]
        for _, row in self.seeds.iterrows():
            known = by_seed.get(int(row["seed"]))
            if known is not None and abs(known - row["validation_accuracy"]) > 1e-9:
                yield (
                    f"best/seeds.csv is not of the cell that results.csv chooses, {table.chosen}: "
                    f"seed {int(row['seed'])} has another validation accuracy"
                )
                return
        for seed, accuracy in self._scored_by_trials(table):
            cited = self.seeds[self.seeds["seed"] == seed]["test_accuracy"]
            if len(cited) and not abs(float(cited.iloc[0]) - accuracy) < 1e-9:
                yield f"best/seeds.csv has another test accuracy of seed {seed} than its trial: {accuracy:g}"

    def _scored_by_trials(self, table: Table) -> Iterator[tuple[int, float]]:
        """(seed, test accuracy) of the chosen trials whose result is there."""
        alive = table.chosen_trials().query("status != 'diverged'")
        places = [(int(row["seed"]), f"trials/{number:04d}") for number, row in alive.iterrows()]
        if self.folder.has("best/config.json"):
            places.append((self.folder.read_json("best/config.json")["seed"], "best"))
        for seed, place in places:
            if seed in set(alive["seed"]) and self.folder.has(f"{place}/result.json"):
                test = self.folder.read_json(f"{place}/result.json")["test"]
                if test:
                    yield seed, float(test["accuracy"])


def _not_as_run(folder: Folder) -> str:
    return f"{folder.path}/config.json is not the one it was run with, which record.json has"


def _sweep_around(path: Path) -> Path | None:
    """The folder of the sweep whose trial, or whose best run, lies at `path`."""
    for folder in list(path.resolve().parents)[:2]:
        if (folder / "config.json").is_file() and "axes" in Folder(folder).read_json("config.json"):
            return folder
    return None


def _of_code(folder: Folder, record: Mapping[str, Any]) -> Iterator[str]:
    """Objections to what is known of the code of a run and of its resumptions."""
    for i, started in enumerate([record, *record.get("resumed", ())]):
        git, diff = started["git"], f"uncommitted{f'-{i}' if i else ''}.diff"
        if git is None:
            yield "its record names no commit: it did not run from a git checkout"
            continue
        if not git["dirty"]:
            continue
        untracked = [
            name
            for name in git["untracked"]
            if name.endswith(CODE) or (name.endswith("/") and name.startswith(CODE_FOLDERS))
        ]
        if untracked:
            yield f"it ran with code that no commit has: {', '.join(untracked)}"
        if git.get("modified", True) and not folder.has(diff):
            yield f"its tree was dirty at commit {git['commit'][:12]} and {diff}, the difference, is not kept"


def outcome_of(path: Path | str) -> Outcome:
    """The outcome in a folder that deserves to be cited. RunError with the reasons where it does not."""
    outcome = Outcome.load(path)
    if reasons := list(dict.fromkeys(outcome.objections())):
        raise RunError(f"{path} cannot be cited: {'; '.join(reasons)}")
    return outcome
