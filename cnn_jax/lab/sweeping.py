"""A sweep while it runs: its plan, its trials, its table."""

import functools
import shutil
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from cnn_jax.errors import RequestError
from cnn_jax.lab.folders import agree, refuse_changes
from cnn_jax.runs import record
from cnn_jax.runs.execute import Interrupt, execute
from cnn_jax.runs.folder import Folder
from cnn_jax.runs.prepared import Prepared
from cnn_jax.runs.weights import load_state
from cnn_jax.sweep import engine
from cnn_jax.sweep.engine import POLL_SECONDS
from cnn_jax.sweep.grid import Grid
from cnn_jax.sweep.plan import Parallel, Trials, choose, devices_of, groups
from cnn_jax.sweep.table import Table, row
from cnn_jax.training.config import Config
from cnn_jax.variants import first_filters


@dataclass(frozen=True)
class Sweep:
    """A sweep's folder and, unless it was interrupted, its table (in the first of several processes)."""

    path: Path
    status: str  # complete or interrupted
    table: Table | None = None
    signal: int | None = None


class Sweeping:
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
        agree(True)
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
        if "finished" not in self.begun:  # a sweep that is found finished stays as it ended
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
                refuse_changes(folder, Config.from_json(folder.read_json("config.json")), one.config)
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
        "test_scored": [i for i, result in enumerate(results) if result["test"] is not None],
        "finished": record.utc_now(),
        "compile_seconds": round(sum(result["compile_seconds"] for result in results), 3),
        "train_seconds": round(sum(result["train_seconds"] for result in results), 3),
        "peak_memory": record.peak_memory(),
    }
