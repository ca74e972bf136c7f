"""What a person at a terminal sees of a run: a bar with images per second and time left, and lines that stay."""

import sys
import threading
from collections.abc import Sequence
from typing import Any

from cnn_jax.training.fit import Event


class Progress:
    """Progress on standard error: a bar where that is a terminal and rich is installed, else a line per evaluation."""

    def __init__(self, total_steps: int, title: str):
        self.total_steps, self.title = total_steps, title
        self.bar: Any = None

    def __enter__(self) -> "Progress":
        if sys.stderr.isatty():
            try:
                from rich import progress
                from rich.console import Console
            except ImportError:
                return self
            self.bar = progress.Progress(
                progress.TextColumn("{task.description}"),
                progress.BarColumn(),
                progress.TaskProgressColumn(),
                progress.TextColumn("{task.fields[rate]}"),
                progress.TimeRemainingColumn(),
                console=Console(stderr=True),
            )
            self.task = self.bar.add_task(self.title, total=self.total_steps, rate="")
            self.bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self.bar is not None:
            self.bar.stop()

    def event(self, event: Event, steps: int) -> None:
        """Shows how far the run has come."""
        rate = f"{event.images / event.seconds:,.0f} images/s" if event.seconds > 0.2 else ""
        if self.bar is not None:
            self.bar.update(self.task, completed=event.step, rate=rate)
        if (metrics := event.evaluation) is not None and metrics.validation is not None:
            self.note(
                f"epoch {metrics.epoch:>3}  train loss {metrics.train.loss:.4f}  "
                f"validation loss {metrics.validation.loss:.4f}  "
                f"validation accuracy {100 * metrics.validation.accuracy:6.2f} %  {rate}"
            )

    def note(self, text: str) -> None:
        """A line that stays."""
        if self.bar is not None:
            self.bar.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            print(text, file=sys.stderr, flush=True)


class Silent:
    """Shows nothing but warnings."""

    def __enter__(self) -> "Silent":
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def event(self, event: Event, steps: int) -> None:
        pass

    def unit(self) -> "Silent":
        return self

    def ended(self, steps: int, texts: Sequence[str]) -> None:
        pass

    def note(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


class SweepProgress(Progress):
    """One bar for all trials of a sweep; a line when a trial ends."""

    def __init__(self, steps: Sequence[int]):
        super().__init__(sum(steps), f"{len(steps)} trials")
        self.trials, self.done, self.steps = len(steps), 0, 0
        self.lock = threading.Lock()

    def unit(self) -> "UnitProgress":
        """Listens to trials that are trained by one worker."""
        return UnitProgress(self)

    def advance(self, steps: int) -> None:
        """So many steps more have been taken, of whatever trial."""
        with self.lock:
            self.steps += steps
            if self.bar is not None:
                self.bar.update(self.task, completed=self.steps)

    def ended(self, texts: Sequence[str]) -> None:
        """Trials have ended, or were found finished."""
        for text in texts:
            with self.lock:
                self.done += 1
                self.note(f"{self.done:>4}/{self.trials}  {text}")


class UnitProgress:
    """The part of a sweep's progress that one worker makes with some trials."""

    def __init__(self, whole: SweepProgress):
        self.whole, self.counted = whole, 0

    def event(self, event: Event, steps: int) -> None:
        self.counted += steps
        self.whole.advance(steps)

    def note(self, text: str) -> None:
        self.whole.note(text)

    def ended(self, steps: int, texts: Sequence[str]) -> None:
        """The trials, of so many steps in all, have ended; steps not taken now count as done."""
        self.whole.advance(steps - self.counted)
        self.whole.ended(texts)
