"""Progress of runs in a terminal: a bar with images per second and time left, and lines above it."""

import contextlib
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cnn_jax.metrics import EpochMetrics
from cnn_jax.runs.callbacks import Callback, RunInfo
from cnn_jax.runs.schema import Result
from cnn_jax.waiting import print_note

QUIET_SECONDS = 10.0  # between progress lines if there is no bar


class Bar:
    """A progress bar if standard error is a terminal and rich is installed, else lines on standard error."""

    def __init__(self, title: str, total: int):
        self.title, self.total = title, total
        self._rich: Any = None
        self._lock, self._last_line = threading.Lock(), time.monotonic()

    def __enter__(self) -> "Bar":
        if sys.stderr.isatty():
            with contextlib.suppress(ImportError):
                from rich import progress
                from rich.console import Console

                columns = (progress.BarColumn(), progress.TaskProgressColumn())
                self._rich = progress.Progress(
                    progress.TextColumn("{task.description}"), *columns, progress.TextColumn("{task.fields[rate]}"),
                    progress.TimeRemainingColumn(), console=Console(stderr=True),
                )  # fmt: skip
                self._task = self._rich.add_task(self.title, total=self.total, rate="")
                self._rich.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._rich is not None:
            self._rich.stop()

    def show(self, done: int, rate: str = "") -> None:
        """Shows that `done` of the total are done."""
        if self._rich is not None:
            self._rich.update(self._task, completed=done, rate=rate)
        elif time.monotonic() - self._last_line > QUIET_SECONDS and 0 < done < self.total:
            self.note(f"{self.title}: {100 * done / self.total:.0f} %  {rate}".rstrip())

    def note(self, text: str) -> None:
        """Prints a line above the bar."""
        with self._lock:
            self._last_line = time.monotonic()
            if self._rich is not None:
                self._rich.console.print(text, markup=False, highlight=False, soft_wrap=True)
            else:
                print_note(text)


class Progress(Callback):
    """The progress of one run: a bar, and a line for each evaluation."""

    def __init__(self, bar: Bar):
        self.bar, self.rate = bar, ""

    def on_step(self, run: RunInfo, step: int, images_per_second: float | None) -> None:
        self.rate = f"{images_per_second:,.0f} images/s" if images_per_second else ""
        self.bar.show(step, self.rate)

    def on_evaluation(self, run: RunInfo, metrics: EpochMetrics) -> None:
        if metrics.validation is not None:
            self.bar.note(
                f"epoch {metrics.epoch:>3}  train loss {metrics.train.loss:.4f}  "
                f"validation loss {metrics.validation.loss:.4f}  "
                f"validation accuracy {100 * metrics.validation.accuracy:6.2f} %  {self.rate}"
            )


class SweepProgress(Callback):
    """The progress of the trials of a sweep: one bar for all trials, and a line when one ends."""

    def __init__(self, bar: Bar, trials: int):
        self.bar, self.trials, self.ended = bar, trials, 0
        self.steps: dict[Path, int] = {}
        self._lock = threading.Lock()

    def on_step(self, run: RunInfo, step: int, images_per_second: float | None) -> None:
        with self._lock:
            self.steps[run.folder] = step
            self.bar.show(sum(self.steps.values()))

    def on_end(self, run: RunInfo, result: Result) -> None:
        if result.ended:
            self.on_step(run, run.steps, None)

    def lines(self, texts: Sequence[str]) -> None:
        """Prints a line for each trial that has ended or was already finished."""
        for text in texts:
            with self._lock:
                self.ended += 1
            self.bar.note(f"{self.ended:>4}/{self.trials}  {text}")
