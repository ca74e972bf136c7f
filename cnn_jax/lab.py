"""What a researcher does: train a network, sweep a grid. Only here do training, runs and report meet."""

import contextlib
import functools
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from cnn_jax.data import Dataset, load, open_stream
from cnn_jax.errors import RequestError
from cnn_jax.runs import record
from cnn_jax.runs.execute import Interrupt, execute
from cnn_jax.runs.folder import LOCK, Folder
from cnn_jax.runs.prepared import Prepared
from cnn_jax.runs.trained import load_state
from cnn_jax.sweep import engine
from cnn_jax.sweep.engine import POLL_SECONDS
from cnn_jax.sweep.grid import Grid
from cnn_jax.sweep.plan import Parallel, Trials, choose, devices_of, groups
from cnn_jax.sweep.table import Table, row
from cnn_jax.training.config import Config, differences
from cnn_jax.variants import first_filters


@dataclass(frozen=True)
class Run:
    """A run's folder and its result."""

    path: Path
    result: dict[str, Any]
    signal: int | None = None

    @property
    def status(self) -> str:
        return self.result["status"]


@dataclass(frozen=True)
class Sweep:
    """A sweep's folder and, unless it was interrupted, its table (in the first of several processes)."""

    path: Path
    status: str  # complete or interrupted
    table: Table | None = None
    signal: int | None = None


def train(config: Config, out: Path | str, *, resume: bool = False, profile: bool = False, show: bool = True) -> Run:
    """Trains one network into the folder `out`, or with `resume` goes on with what is there (a folder that is missing
    or empty is started). Raises RequestError for a request that cannot be met."""
    from cnn_jax.report.progress import Progress, Silent
    from cnn_jax.report.run import write_report

    if (there := _going_on(out, resume)) is not None:
        _refuse_changes(there, Config.from_json(there.read_json("config.json")), config)
        if there.has("result.json") and there.read_json("result.json")["status"] != "interrupted":
            write_report(there)  # a kill may have come between the result and its report
            return Run(there.path, there.read_json("result.json"))
    prepared = Prepared.of(config, _dataset(config), _decided(there))  # refuses what cannot be before a folder is made
    with Interrupt().listening() as interrupt, _claimed(out) as folder:
        steps = prepared.steps_per_epoch * config.epochs
        with Progress(steps, "training") if show else Silent() as listener:
            (result,) = execute(
                [prepared], [folder], record.provenance(), interrupt, listener, score_test=True, profile=profile
            )
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

    with Interrupt().listening() as interrupt, _shared(out, lambda: _may_sweep(grid, out, resume)) as folder:
        # Refuses a bad trial now. Devices are there for the trials, unless the config splits each batch over them.
        decided = _decided(folder)
        prepared = [Prepared.of(config, _dataset(config), decided, devices=1) for config in grid.trials()]
        steps = [one.steps_per_epoch * one.config.epochs for one in prepared]
        with SweepProgress(steps) if show else Silent() as bar:
            return _Sweeping(folder, grid, prepared, parallel, interrupt, bar).run()


def _may_sweep(grid: Grid, out: Path | str, resume: bool) -> None:
    if (there := _going_on(out, resume)) is not None:
        _refuse_other_grid(there, grid)
    decided = _decided(there)
    for config in grid.trials():  # refuses what cannot be before a folder is made
        Prepared.of(config, _dataset(config), decided, devices=1)


class _Sweeping:
    """A sweep while it runs."""

    def __init__(
        self, folder: Folder, grid: Grid, prepared: list[Prepared], parallel: Parallel, interrupt: Interrupt, bar: Any
    ):
        self.folder, self.grid, self.prepared, self.interrupt, self.bar = folder, grid, prepared, interrupt, bar
        self.provenance = record.provenance()
        self.first = jax.process_index() == 0
        if self.first:
            if not folder.has("config.json"):
                folder.write_json("config.json", grid.to_json())
            self.begun = record.begin(folder, _sweep_record(grid, prepared[0], self.provenance))
            self.plan = self._plan(parallel)
        _agree(True)
        if not self.first:
            self.begun = folder.read_json("record.json")
            self.plan = self._plan("auto")
        self.results: dict[int, dict[str, Any]] = {}
        self.lock = threading.Lock()

    def _plan(self, parallel: Parallel) -> list[Trials]:
        """What was decided before, else what is decided now."""
        kept = self.begun.get("plan")
        if kept is not None:
            if kept["parallel"] != parallel and parallel != "auto":
                raise RequestError(
                    f"{self.folder.path} was begun with parallel = {kept['parallel']!r}, not {parallel!r}"
                )
            return [Trials.from_json(trials) for trials in kept["programs"]]
        configs = [one.config for one in self.prepared]
        made = []
        for numbers in groups(configs, [one.program for one in self.prepared]):
            first = self.prepared[numbers[0]]
            own = [configs[i] for i in numbers]
            made.append(choose(parallel, numbers, own, first.program, first.train, first.examples("validation")))
        self.begun["plan"] = {"parallel": parallel, "programs": [trials.to_json() for trials in made]}
        self.folder.write_json("record.json", self.begun)
        return made

    def run(self) -> Sweep:
        from cnn_jax.report.sweep import report_sweep

        for trials in self.plan:
            mine = trials.units()[jax.process_index() :: jax.process_count()]
            engine.run(mine, functools.partial(self._train, trials), devices_of(trials.workers))
        self._await_others()
        if self.interrupt.signal is not None:
            return Sweep(self.folder.path, "interrupted", None, self.interrupt.signal)
        if not self.first:
            return Sweep(self.folder.path, "complete")
        table = self._table()
        _score_chosen(self.folder, table, self.prepared)
        self.folder.write_json("record.json", self.begun | _totals(self.folder, len(self.prepared)))
        report_sweep(self.folder, table)
        return Sweep(self.folder.path, "complete", table)

    def _await_others(self) -> None:
        """The first process waits for the trials of the others."""
        for i in range(len(self.prepared)) if self.first else ():
            folder = _trial_folder(self.folder, i)
            while i not in self.results and self.interrupt.signal is None:
                if folder.has("result.json") and (result := folder.read_json("result.json"))["status"] != "interrupted":
                    self.results[i] = result
                else:
                    time.sleep(POLL_SECONDS)

    def _train(self, trials: Trials, numbers: tuple[int, ...]) -> None:
        """Trains the trials of one unit, unless they are found finished."""
        if self.interrupt.signal is not None:
            return
        group = [self.prepared[i] for i in numbers]
        folders = [_trial_folder(self.folder, i) for i in numbers]
        for one, folder in zip(group, folders, strict=True):
            if folder.has("config.json"):
                _refuse_changes(folder, Config.from_json(folder.read_json("config.json")), one.config)
        results = [folder.read_json("result.json") for folder in folders if folder.has("result.json")]
        progress = self.bar.unit()
        if len(results) < len(numbers) or any(result["status"] == "interrupted" for result in results):
            for folder in folders:
                folder.make()
            together = {} if trials.together is None else {"together": trials.together, "trials": list(numbers)}
            results = execute(
                group, folders, self.provenance, self.interrupt, progress, together=trials.together, choices=together,
                score_test=False,
            )  # fmt: skip
        if any(result["status"] == "interrupted" for result in results):
            return
        steps = sum(one.steps_per_epoch * one.config.epochs for one in group)
        with self.lock:
            self.results |= dict(zip(numbers, results, strict=True))
            self._table()
        lines = [_line(self.grid, one.config, result) for one, result in zip(group, results, strict=True)]
        progress.ended(steps, lines)

    def _table(self) -> Table:
        """The table of the trials that have ended, written to results.csv."""
        rows = []
        for i in sorted(self.results):
            last = _trial_folder(self.folder, i).metrics()[-1:]
            one, train_loss = self.prepared[i], last[0]["train_loss"] if last else None
            rows.append(row(self.grid, one.config, self.results[i], train_loss, first_filters(one.network.layers)))
        table = Table.of(self.grid, rows)
        self.folder.write_text("results.csv", table.trials.to_csv(index=False, lineterminator="\n"))
        return table


@functools.lru_cache(maxsize=4)
def _load(
    name: str, stream: bool, data_dir: str | None, image_size: int | None, validation: int | None, seed: int
) -> Dataset:
    how = open_stream if stream else load
    return how(name, data_dir=data_dir, image_size=image_size, validation=validation, split_seed=seed)


def _dataset(config: Config) -> Dataset:
    return _load(
        config.dataset, config.stream, config.data_dir, config.image_size, config.validation, config.split_seed
    )


def _going_on(out: Path | str, resume: bool) -> Folder | None:
    """The folder to go on with; None where a new one is to be made. RequestError where something is in the way."""
    folder = Folder(out)
    if not folder.occupied:
        return None
    if not resume:
        raise RequestError(f"{out} exists already; give another --out, or --resume to go on with it")
    return Folder.open(out)


@contextlib.contextmanager
def _claimed(out: Path | str) -> Iterator[Folder]:
    """The folder `out`, made where it is missing, and no other process's at the same time."""
    from filelock import FileLock, Timeout

    folder = Folder(out)
    folder.make()
    try:
        with FileLock(folder.file(LOCK), timeout=0):
            yield folder
    except Timeout:
        raise RequestError(f"{out} is in use by another process") from None


@contextlib.contextmanager
def _shared(out: Path | str, check: Callable[[], None]) -> Iterator[Folder]:
    """The folder `out`, claimed by the first process for all, after a check that may refuse it."""
    if jax.process_index() > 0:
        if not _agree(None):
            raise RequestError(f"{out}: refused by the first process")
        yield Folder(out)
        return
    with contextlib.ExitStack() as stack:
        try:
            check()
            folder = stack.enter_context(_claimed(out))
        except BaseException:
            _agree(False)
            raise
        _agree(True)
        yield folder


def _agree(word: bool | None) -> bool:
    """What the first process says, in all of them; each waits here for the others."""
    if jax.process_count() == 1:
        return bool(word)
    from jax.experimental.multihost_utils import broadcast_one_to_all

    return bool(broadcast_one_to_all(np.int32(bool(word))))


def _refuse_changes(folder: Folder, old: Config, new: Config) -> None:
    if changed := differences(old, new):
        raise RequestError(f"{folder.path} holds a run with another config: {'; '.join(changed)}")


def _refuse_other_grid(folder: Folder, grid: Grid) -> None:
    old = Grid.from_json(folder.read_json("config.json"))
    _refuse_changes(folder, old.base, grid.base)
    if list(old.axes.items()) != list(grid.axes.items()):  # in their order, which numbers the trials
        raise RequestError(f"{folder.path} holds a sweep over other axes: {dict(old.axes)} -> {dict(grid.axes)}")


def _decided(folder: Folder | None) -> dict[str, Any] | None:
    """The choices that a run or a sweep made when it began."""
    return folder.read_json("record.json")["choices"] if folder and folder.has("record.json") else None


def _trial_folder(folder: Folder, i: int) -> Folder:
    return Folder(folder.file("trials") / f"{i:04d}")


def _line(grid: Grid, config: Config, result: dict[str, Any]) -> str:
    where = "  ".join(f"{name} {getattr(config, name):<6g}" for name in (*grid.cell_axes, "seed"))
    if result["status"] == "diverged":
        return f"{where}  diverged ({result['reason']}, step {result['diverged_step']})"
    return f"{where}  validation accuracy {100 * result['validation']['accuracy']:6.2f} %"


def _score_chosen(folder: Folder, table: Table, prepared: list[Prepared]) -> None:
    """Scores the test split once for each seed of the chosen cell that did not diverge, and makes `best` the run of the
    lower-median seed."""
    import pandas as pd

    from cnn_jax.report.run import write_report

    if folder.has("best/seeds.csv"):
        return
    rows, chosen = [], table.chosen_trials()
    for i, trial in chosen.iterrows():
        folder_of_trial = _trial_folder(folder, int(i))
        result = folder_of_trial.read_json("result.json")
        if result["status"] == "complete" and result["test"] is None:
            one = prepared[int(i)]
            result["test"] = one.score(one.replicate(load_state(one.config, one.program, folder_of_trial)), "test")
            folder_of_trial.write_json("result.json", result)
        rows.append(_seed_row(trial, result))
    seed = table.representative_seed()
    source = _trial_folder(folder, int(chosen.index[list(chosen["seed"]).index(seed)])).path
    shutil.rmtree(folder.file("best"), ignore_errors=True)
    shutil.copytree(source, folder.file("best"))
    best = Folder(folder.file("best"))
    write_report(best)
    best.write_text("seeds.csv", pd.DataFrame(rows).to_csv(index=False, lineterminator="\n"))  # last: best is whole


def _seed_row(trial: Any, result: dict[str, Any]) -> dict[str, Any]:
    validation, test = result["validation"] or {}, result["test"] or {}
    return {
        "seed": trial["seed"],
        "validation_accuracy": validation.get("accuracy", np.nan),
        "validation_loss": validation.get("loss", np.nan),
        "test_accuracy": test.get("accuracy", np.nan),
        "test_loss": test.get("loss", np.nan),
        "examples": test.get("examples", 0),
    }


def _sweep_record(grid: Grid, prepared: Prepared, provenance: dict[str, Any]) -> dict[str, Any]:
    made = record.run_record(provenance, grid.base, prepared.dataset, prepared.choices)
    return made | {
        "config": grid.to_json(),
        "config_hash": grid.hash(),
        "seeds": made["seeds"] | {"run": list(grid.seeds)},
        "weights_scored": grid.base.select,
    }


def _totals(folder: Folder, trials: int) -> dict[str, Any]:
    """What the record of a sweep gains at its end."""
    results = [_trial_folder(folder, i).read_json("result.json") for i in range(trials)]
    return {
        "trials": trials,
        "finished": record.utc_now(),
        "compile_seconds": round(sum(result["compile_seconds"] for result in results), 3),
        "train_seconds": round(sum(result["train_seconds"] for result in results), 3),
        "peak_memory": record.peak_memory(),
    }
