"""What a researcher does: train a network, sweep a grid, look inside, score. Only here do training, runs and report
meet."""

import contextlib
import dataclasses
import functools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from cnn_jax.api.folders import backend_config, existing, extend, refuse_changes, refuse_other_grid, shared
from cnn_jax.api.scoring import Prediction, Scored, predict, score
from cnn_jax.api.sweeping import Sweep, Sweeping
from cnn_jax.data import Dataset, Split, load, open_stream
from cnn_jax.data.load import remember
from cnn_jax.errors import RequestError
from cnn_jax.grids.grid import Grid
from cnn_jax.grids.plan import Parallel
from cnn_jax.runs import manifest, reader
from cnn_jax.runs.callbacks import Callback, Callbacks
from cnn_jax.runs.folder import Folder
from cnn_jax.runs.model import TrainedModel
from cnn_jax.runs.provenance import provenance
from cnn_jax.runs.schema import Result
from cnn_jax.runs.sweeps import SweepReader
from cnn_jax.runs.task import Task
from cnn_jax.runs.trainer import Interrupt, train_runs
from cnn_jax.training.config import Config
from cnn_jax.waiting import print_note, waiting

if TYPE_CHECKING:
    from cnn_jax.report.inspect import Request

__all__ = ["Prediction", "Run", "Scored", "Sweep", "evaluate", "load_data", "predict", "see", "sweep", "train"]


@dataclass(frozen=True)
class Run:
    """A run's folder and its result."""

    path: Path
    result: Result
    signal: int | None = None

    @property
    def status(self) -> str:
        return self.result.status


def train(
    config: Config,
    out: Path | str,
    *,
    data: Dataset | None = None,
    resume: bool = False,
    profile: bool = False,
    show: bool = True,
    callbacks: Iterable[Callback] = (),
) -> Run:
    """Trains one network into a folder.

    Args:
      config: the run.
      out: its folder, which must not exist yet.
      data: a data set of arrays (`Dataset.from_arrays`) instead of the one that the config names; a copy stays in the
        cache, so that the run can be resumed, seen and scored again.
      resume: goes on with what is in the folder; one that is missing or empty is started. With more epochs than it was
        begun with, a run is extended where its schedule does not depend on their number.
      profile: writes a JAX trace of ten steps into the folder.
      show: progress on standard error.
      callbacks: who is told of every event, beside what is shown.

    Returns:
      The folder and the result.

    Raises RequestError for a request that cannot be met.
    """
    from cnn_jax.report.progress import Bar, Progress
    from cnn_jax.report.run import write_report

    if jax.process_count() > 1:
        raise RequestError("one run is trained by one process, on all of its devices; several processes share a sweep")
    if data is not None:
        config = _with_data(config, data)
    folder = existing(out, resume)
    extends = folder is not None and extend(folder, config, dry=True)
    if folder is not None and not extends and folder.has(manifest.NAME):  # the last file that a run writes
        refuse_changes(folder, reader.config_of(folder), config)
        result = reader.Run.open(folder.path).trial.ended
        write_report(folder)
        return Run(folder.path, result)
    with waiting(f"reading {config.dataset}", show=show):
        task = Task.of(config, load_data(config), backend_config(folder))  # refuses before a folder is made
    with Interrupt().listening() as interrupt, Folder(out).claimed() as folder:
        start, attachments = provenance()
        bar = Bar("training", task.steps)
        with bar if show else contextlib.nullcontext():
            say = bar.note if show else print_note
            for warning in task.warnings:
                say(warning)
            if extends and (note := extend(folder, config)):
                say(note)
            told = Callbacks([*([Progress(bar)] if show else []), *callbacks], say, show)
            (result,) = train_runs(
                [task], [folder], start, interrupt, told, attachments=attachments, score_test=True, profile=profile
            )
        write_report(folder)
    return Run(folder.path, result, interrupt.signal)


def sweep(
    grid: Grid,
    out: Path | str,
    *,
    data: Dataset | None = None,
    resume: bool = False,
    parallel: Parallel = "auto",
    show: bool = True,
    callbacks: Iterable[Callback] = (),
) -> Sweep:
    """Trains every trial of a grid, then scores the test split for the seeds of the chosen cell and writes the table,
    the figures and the page.

    Args:
      grid: a base config and the values of its axes.
      out: the sweep's folder, which must not exist yet.
      data: a data set of arrays instead of the one that the config names.
      resume: trains only what is missing in the folder.
      parallel: how trials run side by side: 'one' after another, by several 'workers' (each trial as alone), together
        under 'vmap' or 'map', or 'auto', the fastest of these by a short measurement.
      show: progress on standard error.
      callbacks: who is told of every event of every trial.

    Returns:
      The folder, the status and the table.
    """
    from cnn_jax.report.progress import Bar, SweepProgress

    if data is not None:
        grid = dataclasses.replace(grid, base=_with_data(grid.base, data))
    if resume and (folder := existing(out, resume)) is not None and folder.has(manifest.NAME):
        refuse_other_grid(folder, grid)
        return Sweep.ended(folder.path, SweepReader.open(folder.path).table)

    def task(config: Config) -> Task:
        # Devices are there for the trials, unless the config splits each batch over them.
        return Task.of(config, load_data(config), choices, devices=1)

    before = Folder(out)
    choices = backend_config(before if before.has("record.json") else None)
    with waiting(f"reading {grid.base.dataset}", show=show):
        tasks = [task(config) for config in grid.trials()]  # refuses what cannot be before a folder is made
    with Interrupt().listening() as interrupt, shared(out, lambda: _may_sweep(grid, out, resume)) as folder:
        bar = Bar(f"{len(tasks)} trials", sum(one.steps for one in tasks))
        with bar if show else contextlib.nullcontext():
            say = bar.note if show else print_note
            for warning in dict.fromkeys(warning for one in tasks for warning in one.warnings):
                say(warning)
            progress = SweepProgress(bar, len(tasks)) if show else None
            told = Callbacks([*([progress] if progress else []), *callbacks], say, show)
            return Sweeping(folder, grid, tasks, parallel, interrupt, told, progress).run(task)


def see(
    run: Path | str,
    request: "Request | None" = None,
    out: Path | None = None,
    *,
    network: str | None = None,
    data: Dataset | None = None,
    data_dir: str | None = None,
    command: str = "cnn_jax.see",
    show: bool = True,
) -> Path:
    """Looks inside a trained network.

    Args:
      run: the folder of a run, or of a sweep, whose best run it then is; with `network` a file of weights.
      request: what to look at.
      out: the folder to write, by default `insight` in the run's.
      network: the name or text of the network whose weights are in a file; only the images of the request are then
        looked at.
      data: the run's data, where they were arrays that are not in the cache any more.
      data_dir: where the run's data are looked up, by default where they were.
      command: what the page says made it.
      show: says on standard error which part is being made.

    Returns:
      The page. Raises RequestError for a layer, unit or image that does not fit, RunError for a run without a
      checkpoint.
    """
    from cnn_jax.report.inspect import Request
    from cnn_jax.report.inspect import see as look

    request = request or Request()
    if network is not None:
        model = TrainedModel.of_weights(Path(run), network)
        return look(model, None, out or Path(run).with_suffix(""), request, command, show)
    model = TrainedModel.load(run)
    assert model.folder is not None
    split = (data or load_data(_looked_up(model.config, data_dir))).validation
    return look(model, split, out or model.folder.file("insight"), request, command, show)


def evaluate(
    run: Path | str,
    *,
    split: str = "test",
    dataset: str | None = None,
    data: Dataset | None = None,
    data_dir: str | None = None,
) -> Scored:
    """Scores a trained network on any split of its own or of another data set with the same classes.

    Args:
      run: the folder of a run, or of a sweep, whose best run it then is.
      split: train, validation or test.
      dataset: another data set, by name or path, instead of the run's own.
      data: likewise, arrays.
      data_dir: where data are looked up, by default where they were.

    Returns:
      The metrics, which are also kept in the folder `evaluations` of the run, with the record of this process.
    """
    if split not in ("train", "validation", "test"):
        raise RequestError(f"split {split!r} is unknown; there are train, validation, test")
    model = TrainedModel.load(run)
    config = _looked_up(model.config, data_dir)
    if dataset is not None:
        height, width, _ = model.network.input_shape
        data = load(dataset, data_dir=config.data_dir, image_size=f"{height}x{width}", resize=config.resize)
    return score(run, split, data or load_data(config), config.dataset)


def _looked_up(config: Config, data_dir: str | None) -> Config:
    return config if data_dir is None else dataclasses.replace(config, data_dir=data_dir)


def _with_data(config: Config, data: Dataset) -> Config:
    """A config that names a data set of arrays, which is kept in the cache. RequestError for what would cut it anew."""
    for name in ("validation", "train_examples", "image_size"):
        if getattr(config, name) is not None:
            raise RequestError(f"{name} = {getattr(config, name)!r}: the arrays that are given are cut already")
    return dataclasses.replace(config, dataset=remember(data), without_test=not len(data.test))


def _may_sweep(grid: Grid, out: Path | str, resume: bool) -> None:
    if (folder := existing(out, resume)) is not None:
        refuse_other_grid(folder, grid)


@functools.lru_cache(maxsize=8)
def _load(stream: bool, name: str, **how: Any) -> Dataset:
    return (open_stream if stream else load)(name, **how)


def load_data(config: Config) -> Dataset:
    """The data of a config: loaded once in a process, or opened as a stream."""
    loaded = _load(
        config.stream, config.dataset, data_dir=config.data_dir, image_size=config.image_size, resize=config.resize,
        validation=config.validation, train_examples=config.train_examples, split_seed=config.split_seed,
        without_test=config.without_test,
    )  # fmt: skip
    return _joined(loaded) if config.final_fit else loaded


@functools.lru_cache(maxsize=2)
def _joined(dataset: Dataset) -> Dataset:
    """With the validation images in train too. RequestError for a stream, which cannot be joined."""
    parts = (dataset.train, dataset.validation)
    if not isinstance(dataset.train, Split):
        raise RequestError("final_fit needs the training images in memory: leave out stream")
    train = Split(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("images", "labels")))
    return dataclasses.replace(dataset, train=train, source={**dataset.source, "final_fit": True}, known=None)
