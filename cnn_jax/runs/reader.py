"""The reader of run folders: returns consistent content or raises an error that says what is damaged."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cnn_jax.errors import RequestError, RunError
from cnn_jax.grids.grid import Grid
from cnn_jax.metrics import EpochMetrics
from cnn_jax.runs import manifest
from cnn_jax.runs.folder import Folder
from cnn_jax.runs.schema import Record, Result
from cnn_jax.training.config import Config, differences


def is_sweep(folder: Folder) -> bool:
    """True if the folder is a sweep's. Raises RunError if its config is unreadable."""
    config = folder.read_json("config.json")
    return isinstance(config, dict) and "axes" in config


def config_of(folder: Folder) -> Config:
    """Reads config.json. Raises RunError if it is damaged."""
    try:
        return Config.from_json(folder.read_json("config.json"))
    except RequestError as error:
        raise RunError(f"{folder.file('config.json')} is damaged: {error}") from None


def grid_of(folder: Folder) -> Grid:
    """Reads config.json. Raises RunError if it is damaged."""
    try:
        return Grid.from_json(folder.read_json("config.json"))
    except RequestError as error:
        raise RunError(f"{folder.file('config.json')} is damaged: {error}") from None


@dataclass(frozen=True)
class Trial:
    """The content of a run's folder except its record, which a sweep keeps once for all trials. `result` is None if the
    run was killed before it wrote one."""

    folder: Folder
    config: Config
    result: Result | None
    history: list[EpochMetrics]

    @classmethod
    def open(cls, path: Path | str) -> "Trial":
        """Reads the folder of a run. Raises RequestError if it is not one, RunError if damaged or contradictory."""
        folder = Folder.open(path)
        result = folder.read("result.json", Result) if folder.has("result.json") else None
        trial = cls(folder, config_of(folder), result, folder.metrics())
        if problem := next(trial._contradictions(), None):
            raise RunError(f"{folder.path} is damaged: {problem}")
        return trial

    @property
    def ended(self) -> Result:
        """The result. Raises RunError if the run has not ended."""
        if self.result is None or not self.result.ended:
            status = "was killed" if self.result is None else self.result.status
            raise RunError(f"{self.folder.path} has not ended ({status}); --resume continues it")
        return self.result

    @property
    def scored_step(self) -> int:
        """The step of the weights that were scored; for a run that has not ended, the last evaluated step. Raises
        RunError if there is none."""
        if self.result is not None and self.result.scored_step is not None:
            return self.result.scored_step
        if self.result is not None and self.result.status == "diverged":
            raise RunError(f"{self.folder.path} diverged at step {self.result.diverged_step}: it has no weights to use")
        if not self.history:
            raise RunError(f"{self.folder.path} has no checkpoint of a finished epoch yet")
        return self.history[-1].step

    def _contradictions(self) -> Iterator[str]:
        if self.result is None:
            return
        result, history = self.result, {metrics.step: metrics for metrics in self.history}
        if result.status != "failed" and result.epochs != len(history):
            yield f"result.json says {result.epochs} epochs, metrics.jsonl has {len(history)}"
        if result.status != "complete":
            return
        if result.epochs != self.config.epochs or not history or result.steps != max(history):
            yield f"result.json says {result.epochs} epochs, {result.steps} steps; config.json and metrics.jsonl differ"
        elif result.scored_step not in history:
            yield f"result.json scored step {result.scored_step}, of which metrics.jsonl has no evaluation"
        elif result.validation != history[result.scored_step].validation:
            yield "result.json has another validation score than metrics.jsonl"


@dataclass(frozen=True)
class Run:
    """A run: its folder's content and its record."""

    trial: Trial
    record: Record

    @classmethod
    def open(cls, path: Path | str) -> "Run":
        """Reads the folder of a run. Raises RequestError if it is not one, RunError if it is damaged or was changed."""
        folder = Folder.open(path)
        if is_sweep(folder):
            raise RequestError(f"{path} is a sweep's folder, not a run's")
        run = cls(Trial.open(path), folder.read("record.json", Record))
        if changed := differences(recorded_config(folder, run.record), run.trial.config):
            raise RunError(f"{folder.path} is damaged: config.json is not the one that was run ({changed[0]})")
        if run.trial.result is not None and run.trial.result.ended:
            manifest.verify(folder)
        return run


def recorded_grid(folder: Folder, record: Record) -> Grid:
    """The grid in the record. Raises RunError if it is invalid."""
    try:
        return Grid.from_json(record.config)
    except RequestError as error:
        raise RunError(f"{folder.file('record.json')} is damaged: {error}") from None


def recorded_config(folder: Folder, record: Record) -> Config:
    """The config in the record. Raises RunError if it is invalid."""
    try:
        return Config.from_json(record.config)
    except RequestError as error:
        raise RunError(f"{folder.file('record.json')} is damaged: {error}") from None
