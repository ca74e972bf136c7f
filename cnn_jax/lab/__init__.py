"""What a researcher does: train a network, sweep a grid. Only here do training, runs and report meet."""

import dataclasses
import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import jax
import numpy as np

from cnn_jax.data import Dataset, Split, load, open_stream
from cnn_jax.errors import RequestError
from cnn_jax.lab.folders import backend_config, going_on, refuse_changes, refuse_other_grid, shared
from cnn_jax.lab.sweeping import Sweep, Sweeping
from cnn_jax.runs import manifest, reader
from cnn_jax.runs.execute import Interrupt, execute
from cnn_jax.runs.folder import Folder
from cnn_jax.runs.prepared import Prepared
from cnn_jax.runs.provenance import provenance
from cnn_jax.runs.schema import Result
from cnn_jax.runs.sweeps import SweepReader
from cnn_jax.runs.trained import Trained
from cnn_jax.sweep.grid import Grid
from cnn_jax.sweep.plan import Parallel
from cnn_jax.training.config import Config

if TYPE_CHECKING:
    from cnn_jax.report.inside import Request

__all__ = ["Run", "Sweep", "dataset", "see", "sweep", "train"]


@dataclass(frozen=True)
class Run:
    """A run's folder and its result."""

    path: Path
    result: Result
    signal: int | None = None

    @property
    def status(self) -> str:
        return self.result.status


def train(config: Config, out: Path | str, *, resume: bool = False, profile: bool = False, show: bool = True) -> Run:
    """Trains one network into the folder `out`, or with `resume` goes on with what is there (a folder that is missing
    or empty is started). Raises RequestError for a request that cannot be met."""
    from cnn_jax.report.progress import Progress, Silent
    from cnn_jax.report.run import write_report

    if jax.process_count() > 1:
        raise RequestError("one run is trained by one process, on all of its devices; several processes share a sweep")
    if (there := going_on(out, resume)) is not None:
        refuse_changes(there, reader.config_of(there), config)
        if there.has(manifest.NAME):  # the last file that a run writes
            result = reader.Run.open(there.path).trial.ended
            write_report(there)
            return Run(there.path, result)
    prepared = Prepared.of(config, dataset(config), backend_config(there))  # refuses before a folder is made
    with Interrupt().listening() as interrupt, Folder(out).claimed() as folder:
        steps = prepared.steps_per_epoch * config.epochs
        start, attachments = provenance()
        with Progress(steps, "training") if show else Silent() as listener:
            for warning in prepared.warnings:
                listener.note(warning)
            (result,) = execute(
                [prepared], [folder], start, interrupt, listener, attachments=attachments, score_test=True,
                profile=profile,
            )  # fmt: skip
        write_report(folder)
    return Run(folder.path, result, interrupt.signal)


def sweep(
    grid: Grid, out: Path | str, *, resume: bool = False, parallel: Parallel = "auto", show: bool = True
) -> Sweep:
    """Trains every trial of `grid` into `out`/trials, then scores the test split for the seeds of the chosen cell and
    writes the table, the figures and the page. With `resume` only what is missing is trained.

    `parallel` says how trials run side by side: 'one' after another, by several 'workers' (each trial as alone),
    together under 'vmap' or 'map', or 'auto', the fastest of these by a short measurement.
    """
    from cnn_jax.report.progress import Silent, SweepProgress

    if resume and (there := going_on(out, resume)) is not None and there.has(manifest.NAME):
        refuse_other_grid(there, grid)
        return Sweep.ended(there.path, SweepReader.open(there.path).table)
    with Interrupt().listening() as interrupt, shared(out, lambda: _may_sweep(grid, out, resume)) as folder:
        # Refuses a bad trial now. Devices are there for the trials, unless the config splits each batch over them.
        choices = backend_config(folder)
        prepared = [Prepared.of(config, dataset(config), choices, devices=1) for config in grid.trials()]
        steps = [one.steps_per_epoch * one.config.epochs for one in prepared]
        with SweepProgress(steps) if show else Silent() as bar:
            for warning in dict.fromkeys(warning for one in prepared for warning in one.warnings):
                bar.note(warning)
            sweeping = Sweeping(folder, grid, prepared, parallel, interrupt, bar)
            return sweeping.run(lambda config: Prepared.of(config, dataset(config), choices, devices=1))


def see(
    run: Path | str,
    request: "Request | None" = None,
    out: Path | None = None,
    *,
    network: str | None = None,
    data_dir: str | None = None,
    command: str = "cnn_jax.lab.see",
) -> Path:
    """Looks inside a run's trained network (a sweep's best one) and returns the page it writes into `out`, by default
    the folder `insight` of the run. Its data is looked up in `data_dir` where that is given. With `network`, `run` is
    a file of weights for that network instead, and only the images of the request are looked at. RequestError for a
    layer, unit or image that does not fit, RunError for a run without a checkpoint."""
    from cnn_jax.report.inside import Request
    from cnn_jax.report.inside import see as look

    request = request or Request()
    if network is not None:
        trained = Trained.of_weights(Path(run), network)
        return look(trained, None, out or Path(run).with_suffix(""), request, command)
    trained = Trained.load(run)
    assert trained.folder is not None
    config = trained.config if data_dir is None else dataclasses.replace(trained.config, data_dir=data_dir)
    return look(trained, dataset(config).validation, out or trained.folder.file("insight"), request, command)


def _may_sweep(grid: Grid, out: Path | str, resume: bool) -> None:
    if (there := going_on(out, resume)) is not None:
        refuse_other_grid(there, grid)
    choices = backend_config(there)
    for config in grid.trials():  # refuses what cannot be before a folder is made
        Prepared.of(config, dataset(config), choices, devices=1)


@functools.lru_cache(maxsize=8)
def _load(
    name: str,
    stream: bool,
    data_dir: str | None,
    image_size: int | None,
    validation: int | None,
    train_examples: int | None,
    seed: int,
    without_test: bool,
) -> Dataset:
    how = open_stream if stream else load
    return how(
        name, data_dir=data_dir, image_size=image_size, validation=validation, train_examples=train_examples,
        split_seed=seed, without_test=without_test,
    )  # fmt: skip


def dataset(config: Config) -> Dataset:
    """The data of a config: loaded once in a process, or opened as a stream."""
    loaded = _load(
        config.dataset, config.stream, config.data_dir, config.image_size, config.validation, config.train_examples,
        config.split_seed, config.without_test,
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
