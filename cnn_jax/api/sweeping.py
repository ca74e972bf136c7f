"""Runs a sweep: plan, trials, table, and the seeds of the chosen cell."""

import contextlib
import dataclasses
import functools
import shutil
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax

from cnn_jax import compilations
from cnn_jax.api.folders import agree
from cnn_jax.errors import RequestError
from cnn_jax.grids import engine
from cnn_jax.grids.engine import POLL_SECONDS
from cnn_jax.grids.grid import Grid, show, value_of
from cnn_jax.grids.plan import Parallel, Trials, devices_of, make_plan
from cnn_jax.grids.table import Table, to_csv
from cnn_jax.runs import manifest, record
from cnn_jax.runs.callbacks import Callbacks
from cnn_jax.runs.folder import Folder
from cnn_jax.runs.model import load_state
from cnn_jax.runs.provenance import peak_memory, provenance, utc_now
from cnn_jax.runs.reader import Trial, grid_of
from cnn_jax.runs.schema import Provenance, Record, Result
from cnn_jax.runs.sweeps import final_folder, restore_trials, seed_scores, trial_folder, trial_row
from cnn_jax.runs.task import Task
from cnn_jax.runs.trainer import Interrupt, train_runs
from cnn_jax.training.state import Program
from cnn_jax.training.union import union


@dataclass(frozen=True)
class Sweep:
    """A sweep's folder and, unless it was interrupted, its table (only in the first of several processes). Its status
    is `diverged` if no cell could be chosen."""

    path: Path
    status: str  # complete, diverged or interrupted
    table: Table | None = None
    signal: int | None = None

    @classmethod
    def ended(cls, path: Path, table: Table) -> "Sweep":
        return cls(path, "diverged" if table.chosen_cell is None else "complete", table)


class SweepRunner:
    """Runs a sweep in its folder."""

    def __init__(
        self,
        folder: Folder,
        grid: Grid,
        tasks: list[Task],
        parallel: Parallel,
        interrupt: Interrupt,
        callbacks: Callbacks,
        progress: Any = None,
    ):
        """`progress` receives a line for every finished trial."""
        self.folder, self.grid, self.tasks, self.interrupt = folder, grid, tasks, interrupt
        self.callbacks, self.progress = callbacks, progress
        self.provenance, attachments = provenance()
        self.first = jax.process_index() == 0
        if self.first:
            manifest.remove(folder)
            restore_trials(folder)
            self._leave_out()
            folder.write_json("config.json", grid.to_json())
            start = _record(grid, tasks[0], self.provenance)
            begun = record.begin(folder, start, attachments, callbacks.say)
            self.record = dataclasses.replace(
                begun, config=start.config, config_hash=start.config_hash, seeds=start.seeds,
                notes=(*begun.notes, *_other_seeds(begun, grid)),
            )  # fmt: skip
            self.plan = self._plan(parallel)
        agree(True)
        if not self.first:
            self.record = folder.read("record.json", Record)
            self.plan = self._plan("auto")
        self.results: dict[int, Result] = {}
        self.lock = threading.Lock()

    def _leave_out(self) -> None:
        """Moves the trials whose seeds are not in the grid any more to the folder `left-out`."""
        before = len(grid_of(self.folder).trials()) if self.folder.has("config.json") else 0
        for number in range(len(self.tasks), before):
            left = trial_folder(self.folder, number).path
            if left.is_dir():
                kept = self.folder.file("left-out")
                kept.mkdir(exist_ok=True)
                left.rename(kept / f"{left.name}-{sum(1 for _ in kept.iterdir())}")

    def _plan(self, parallel: Parallel) -> list[Trials]:
        """The recorded plan, without the trials that are left out and with a new one for those that are not in it."""
        before = self.record.plan or {"parallel": parallel, "programs": []}
        if before["parallel"] != parallel and parallel != "auto":
            raise RequestError(
                f"{self.folder.path} was started with parallel = {before['parallel']!r}, not {parallel!r}"
            )
        earlier = [Trials.from_json(trials).among(len(self.tasks)) for trials in before["programs"]]
        plan = [trials for trials in earlier if trials.numbers]
        planned = {number for trials in plan for number in trials.numbers}
        new = [number for number in range(len(self.tasks)) if number not in planned]
        if new and self.first:
            tasks = [self.tasks[number] for number in new]

            def data(i: int) -> tuple[Any, Any]:
                return tasks[i].train, tasks[i].examples("validation")

            configs, programs = [task.config for task in tasks], [task.program for task in tasks]
            with self.callbacks.waiting("measuring how trials are best run side by side"):
                plan += [t.renumbered(new) for t in make_plan(before["parallel"], configs, programs, data)]
        if self.first:
            recorded = {"parallel": before["parallel"], "programs": [trials.to_json() for trials in plan]}
            self.record = dataclasses.replace(self.record, plan=recorded)
            self.folder.write("record.json", self.record)
        return plan

    def run(self, make_task: Any) -> Sweep:
        """Trains the trials, scores the seeds of the chosen cell and reports. `make_task` is for the final fit."""
        from cnn_jax.report.sweep import report_sweep

        for trials in self.plan:
            mine = trials.batches()[jax.process_index() :: jax.process_count()]
            engine.run(mine, functools.partial(self._train, trials), devices_of(trials.workers))
        self._await_others()
        if self.interrupt.signal is not None:
            return Sweep(self.folder.path, "interrupted", None, self.interrupt.signal)
        if not self.first:
            return Sweep(self.folder.path, "complete")
        table = self._table()
        if self.grid.base.final_fit:
            self._final_fit(table, make_task)
            if self.interrupt.signal is not None:
                return Sweep(self.folder.path, "interrupted", None, self.interrupt.signal)
        else:
            self._score_chosen(table)
        self._keep_best(table)
        self._finish_record(table)
        report_sweep(self.folder, table)
        manifest.write(self.folder)
        return Sweep.ended(self.folder.path, table)

    def _await_others(self) -> None:
        """Waits in the first process for the trials of the others."""
        for i in range(len(self.tasks)) if self.first else ():
            folder = trial_folder(self.folder, i)
            while i not in self.results and self.interrupt.signal is None:
                if folder.has(manifest.NAME):
                    self.results[i] = folder.read("result.json", Result)
                else:
                    time.sleep(POLL_SECONDS)

    def _train(self, trials: Trials, numbers: tuple[int, ...]) -> None:
        """Trains one group of trials, unless they have ended already."""
        if self.interrupt.signal is not None:
            return
        group = [self.tasks[i] for i in numbers]
        folders = [trial_folder(self.folder, i) for i in numbers]
        program, choices = None, {}
        if trials.transform is not None:
            program = union([self.tasks[i].program for i in trials.numbers], trials.transform)
            choices = {"transform": trials.transform, "trials": list(numbers)}
        results = self._results(group, folders, program, choices, score_test=False)
        if not all(result.ended for result in results):
            return
        with self.lock:
            self.results |= dict(zip(numbers, results, strict=True))
            self._table()
        if self.progress is not None:
            self.progress.lines([_line(self.grid, task, result) for task, result in zip(group, results, strict=True)])

    def _results(
        self,
        group: list[Task],
        folders: list[Folder],
        program: Program | None,
        choices: dict[str, Any],
        score_test: bool,
    ) -> list[Result]:
        """The results of runs, trained now unless they have ended already."""
        if all(folder.has(manifest.NAME) for folder in folders):
            return [Trial.open(folder.path).ended for folder in folders]
        with contextlib.ExitStack() as stack:
            for folder in folders:
                stack.enter_context(folder.claimed())
            return train_runs(
                group, folders, self.provenance, self.interrupt, self.callbacks, program=program, choices=choices,
                score_test=score_test,
            )  # fmt: skip

    def _table(self) -> Table:
        """Makes the table of the trials that have ended, and writes it to results.csv."""
        rows = []
        for i in sorted(self.results):
            trial = Trial.open(trial_folder(self.folder, i).path)
            rows.append(trial_row(self.grid, i, self.tasks[i].config, trial, self.record.data))
        self.folder.write_text("results.csv", to_csv([row.to_json() for row in rows]))
        return Table(self.grid, tuple(rows))

    def _score_chosen(self, table: Table) -> None:
        """Scores the test split once for each seed of the chosen cell that did not diverge."""
        for row in table.chosen_trials():
            folder, task = trial_folder(self.folder, row.trial), self.tasks[row.trial]
            trial = Trial.open(folder.path)
            if trial.ended.status == "complete" and trial.ended.test is None and len(task.dataset.test):
                state = task.program.replicate(load_state(trial, task.program))
                manifest.remove(folder)
                folder.write("result.json", dataclasses.replace(trial.ended, test=task.score_test(state)))
            manifest.write(folder)

    def _final_fit(self, table: Table, make_task: Any) -> None:
        """Retrains the chosen cell on training and validation images together, with the same seeds, and scores the test
        split."""
        for row in table.chosen_trials():
            if self.interrupt.signal is not None:
                return
            config = dataclasses.replace(self.tasks[row.trial].config, final_fit=True)
            self._results([make_task(config)], [final_folder(self.folder, row.seed)], None, {}, score_test=True)

    def _keep_best(self, table: Table) -> None:
        """Copies the run of the chosen cell's lower-median seed to `best`, with the scores of all its seeds."""
        from cnn_jax.report.run import write_report

        shutil.rmtree(self.folder.file("best"), ignore_errors=True)
        if table.chosen_cell is None:
            return
        row = table.representative()
        final = self.grid.base.final_fit
        source = final_folder(self.folder, row.seed) if final else trial_folder(self.folder, row.trial)
        shutil.copytree(source.path, self.folder.file("best"), ignore=shutil.ignore_patterns(".*"))
        best = Folder(self.folder.file("best"))
        write_report(best)
        best.write_text("seeds.csv", to_csv([seed.to_json() for seed in seed_scores(self.folder, table)]))

    def _finish_record(self, table: Table) -> None:
        """Adds the final fields to the sweep's record."""
        results = self.results.values()
        scored = [] if self.grid.base.final_fit else [row.trial for row in table.chosen_trials()]
        self.record = dataclasses.replace(
            self.record,
            trials=len(self.tasks),
            test_scored=tuple(scored),
            finished=utc_now(),
            compile_seconds=round(sum(result.compile_seconds for result in results), 3),
            compilations=compilations.counts(),
            train_seconds=round(sum(result.train_seconds for result in results), 3),
            peak_memory=peak_memory(),
        )
        self.folder.write("record.json", self.record)


def _line(grid: Grid, task: Task, result: Result) -> str:
    where = "  ".join(f"{name} {show(value_of(task.config, name)):<6}" for name in (*grid.cell_axes, "seed"))
    if result.validation is None:
        return f"{where}  diverged (step {result.diverged_step})"
    chance = "  (at chance)" if result.at_chance else ""
    return f"{where}  validation accuracy {100 * result.validation.accuracy:6.2f} %{chance}"


def _other_seeds(before: Record, grid: Grid) -> list[str]:
    """A note if the sweep was begun with other seeds."""
    old = tuple(before.seeds["run"])
    return [] if old == grid.seeds else [f"resumed with the seeds {show(grid.seeds)} in the place of {show(old)}"]


def _record(grid: Grid, task: Task, start: Provenance) -> Record:
    trial_record = record.of_run(start, grid.base, task.dataset, task.choices)
    return dataclasses.replace(
        trial_record,
        config=grid.to_json(),
        config_hash=grid.hash(),
        seeds=trial_record.seeds | {"run": list(grid.seeds)},
    )
