"""The main functions: train a network, sweep a grid, inspect, evaluate, predict. Only here do training, runs and
report meet."""

import contextlib
import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax

from cnn_jax.api.folders import backend_config, claim_shared, extend, open_existing, refuse_changes, refuse_other_grid
from cnn_jax.api.loading import load_data, with_data_dir
from cnn_jax.api.scoring import Prediction, Scored, predict, score
from cnn_jax.api.seeing import rank, see
from cnn_jax.api.sweeping import Sweep, SweepRunner
from cnn_jax.data import Dataset, load
from cnn_jax.data.load import remember
from cnn_jax.errors import RequestError
from cnn_jax.grids.grid import Grid
from cnn_jax.grids.plan import Parallel, check_parallel
from cnn_jax.runs import manifest, reader
from cnn_jax.runs.callbacks import Callback, Callbacks
from cnn_jax.runs.folder import Folder
from cnn_jax.runs.hosts import check_same, claimed, decided
from cnn_jax.runs.model import TrainedModel
from cnn_jax.runs.provenance import provenance
from cnn_jax.runs.schema import Result
from cnn_jax.runs.sweeps import SweepReader
from cnn_jax.runs.task import Task
from cnn_jax.runs.trainer import Interrupt, train_runs
from cnn_jax.training.config import Config
from cnn_jax.training.devices import gather, leads
from cnn_jax.waiting import print_note, waiting

__all__ = ["Prediction", "Run", "Scored", "Sweep", "evaluate", "load_data", "predict", "rank", "see", "sweep", "train"]


@dataclass(frozen=True)
class Run:
    """The folder and result of a run. `signal` is the signal that interrupted it, if any."""

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
      config: the configuration of the run.
      out: the folder of the run, which must not exist yet unless `resume`.
      data: a data set of arrays (`Dataset.from_arrays`) instead of the one named by the config; a copy is cached, so
        that the run can be resumed, inspected and evaluated later.
      resume: continues the run in the folder, or starts one if the folder is missing or empty. With more epochs than
        before, the run is extended, provided its schedule does not depend on the number of epochs.
      profile: writes a JAX trace of ten steps into the folder.
      show: shows progress on standard error.
      callbacks: further callbacks, called on every event.

    Returns:
      The folder and the result.

    Raises:
      RequestError: impossible arguments, such as an existing folder or a network that does not fit the data.
      RunError: training failed, e.g. out of memory, no checkpoint is intact, or another process has died.

    With several processes (`$CNN_JAX_PROCESSES`) all must call this, with the same arguments: they train one run
    together, and the first reads and writes the folder.
    """
    from cnn_jax.report.progress import Bar, Progress

    hosts = jax.process_count()
    first = leads(hosts)
    show = show and first
    if config.hosts not in (None, hosts):
        raise RequestError(f"hosts = {config.hosts}, but all processes train one run, and there are {hosts}")
    if data is not None:
        config = _with_data(config, data)
    before = decided(lambda: _before(config, out, resume), hosts)
    config = Config.from_json(before["config"])
    if before["result"] is not None:
        return Run(Path(out), Result.from_json(before["result"]))
    with waiting(f"reading {config.dataset}", show=show):
        # may raise, so before the folder is created
        task = Task.of(config, load_data(config), before["choices"], hosts=hosts)
    check_same(task, hosts)
    with Interrupt().listening() as interrupt, claimed(Folder(out), hosts) as folder:
        start, attachments = provenance()
        bar = Bar("training", task.steps)
        with bar if show else contextlib.nullcontext():
            say = bar.note if show else print_note if first else _silent
            for warning in task.warnings:
                say(warning)
            if before["extends"] and (note := extend(folder, config)):
                say(note)
            heard = [*([Progress(bar)] if show else []), *callbacks] if first else []
            listeners = Callbacks(heard, say, show)
            (result,) = train_runs(
                [task], [folder], start, interrupt, listeners, attachments=attachments, score_test=True, profile=profile
            )
        if first:
            from cnn_jax.report.run import write_report  # late: it takes a second

            write_report(folder)
        gather([0], hosts)  # none ends before the first has written everything
    return Run(Path(out), result, interrupt.signal)


def _before(config: Config, out: Path | str, resume: bool) -> dict[str, Any]:
    """What all processes must know before they train, as JSON: the config, the result of a run that has ended, whether
    the config extends the run in the folder, and the settings that it recorded."""
    folder = open_existing(out, resume)
    extends = folder is not None and extend(folder, config, dry=True) is not None
    result = None
    # The manifest is the last file that a run writes.
    if folder is not None and not extends and folder.has(manifest.NAME):
        refuse_changes(folder, reader.config_of(folder), config)
        from cnn_jax.report.run import write_report

        result = reader.Run.open(folder.path).trial.ended.to_json()
        write_report(folder)
    choices = backend_config(folder)
    return {"config": config.to_json(), "result": result, "extends": extends, "choices": choices}


def _silent(_: str) -> None:
    """What processes but the first say to the user."""


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
    """Trains every trial of a grid, scores the seeds of the chosen cell on the test split, and writes table, figures
    and report page.

    Args:
      grid: a base config and the values of its axes.
      out: the folder of the sweep, which must not exist yet unless `resume`.
      data: a data set of arrays instead of the one named by the config.
      resume: trains only the trials missing in the folder; a sweep of a single cell may get more seeds.
      parallel: how trials run in parallel: 'one' at a time, several 'workers' (each trial runs as if alone), batched by
        'vmap' or 'map', the whole 'grid' of widths in one program, or 'auto' for the fastest in a short benchmark.
      show: shows progress on standard error.
      callbacks: further callbacks, called on every event of every trial.

    Returns:
      The folder, the status and the table.

    Raises:
      RequestError: impossible arguments, such as an existing folder or a network that does not fit the data.
      RunError: training failed, e.g. out of memory, or no checkpoint is intact.
    """
    from cnn_jax.report.progress import Bar, SweepProgress

    if grid.base.hosts not in (None, 1):
        raise RequestError(f"hosts = {grid.base.hosts}: in a sweep every trial is trained by one process")
    if data is not None:
        grid = dataclasses.replace(grid, base=_with_data(grid.base, data))
    if resume and (folder := open_existing(out, resume)) is not None and folder.has(manifest.NAME):
        refuse_other_grid(folder, grid)
        finished = SweepReader.open(folder.path)  # verifies its manifest
        if finished.table.grid.seeds == grid.seeds:
            return Sweep.ended(folder.path, finished.table)

    def make_task(config: Config) -> Task:
        # Devices are shared out among trials, unless the config splits each batch over them.
        return Task.of(config, load_data(config), choices, devices=1)

    earlier = Folder(out)
    choices = backend_config(earlier if earlier.has("record.json") else None)
    with waiting(f"reading {grid.base.dataset}", show=show):
        tasks = [make_task(config) for config in grid.trials()]  # may raise, so before the folder is created
    check_parallel(parallel, [task.config for task in tasks], [task.program for task in tasks])
    with Interrupt().listening() as interrupt, claim_shared(out, lambda: _check_folder(grid, out, resume)) as folder:
        bar = Bar(f"{len(tasks)} trials", sum(task.steps for task in tasks))
        with bar if show else contextlib.nullcontext():
            say = bar.note if show else print_note
            for warning in dict.fromkeys(warning for task in tasks for warning in task.warnings):
                say(warning)
            progress = SweepProgress(bar, len(tasks)) if show else None
            listeners = Callbacks([*([progress] if progress else []), *callbacks], say, show)
            return SweepRunner(folder, grid, tasks, parallel, interrupt, listeners, progress).run(make_task)


def evaluate(
    run: Path | str,
    *,
    split: str = "test",
    dataset: str | None = None,
    data: Dataset | None = None,
    data_dir: str | None = None,
) -> Scored:
    """Evaluates a trained network on any split of its own data or of another data set with the same classes.

    Args:
      run: the folder of a run, or of a sweep to use its best run.
      split: train, validation or test.
      dataset: the name or path of another data set instead of the run's own.
      data: another data set, of arrays.
      data_dir: the folder of the data; by default as in the run.

    Returns:
      The metrics, which are also saved in the folder `evaluations` of the run with the provenance of this process.

    Raises:
      RequestError: an unknown or empty split, or data with other classes or shape.
      RunError: the run is damaged or has no checkpoint.
    """
    if split not in ("train", "validation", "test"):
        raise RequestError(f"split {split!r} is unknown; there are train, validation, test")
    model = TrainedModel.load(run)
    config = with_data_dir(model.config, data_dir)
    if dataset is not None:
        height, width, _ = model.network.input_shape
        data = load(dataset, data_dir=config.data_dir, image_size=f"{height}x{width}", resize=config.resize)
    return score(run, split, data or load_data(config), config.dataset)


def _with_data(config: Config, data: Dataset) -> Config:
    """Caches a data set of arrays and names it in the config. Raises RequestError for options that would change it."""
    for name in ("validation", "train_examples", "image_size"):
        if getattr(config, name) is not None:
            raise RequestError(f"{name} = {getattr(config, name)!r}: the given arrays are already divided into splits")
    return dataclasses.replace(config, dataset=remember(data), without_test=not len(data.test))


def _check_folder(grid: Grid, out: Path | str, resume: bool) -> None:
    if (folder := open_existing(out, resume)) is not None:
        refuse_other_grid(folder, grid)
