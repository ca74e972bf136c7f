"""What a person at a terminal sees of a run: a bar with images per second and time left, and lines that stay."""

import sys
import time
from typing import Any

from cnn_jax.training.fit import Event


class Progress:
    """Progress on standard error: a bar where that is a terminal and rich is installed, else a line per evaluation."""

    def __init__(self, total_steps: int, batch_size: int, title: str):
        self.total_steps, self.batch_size, self.title = total_steps, batch_size, title
        self.bar: Any = None
        self.started: tuple[float, int] | None = None

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

    def event(self, event: Event) -> None:
        """Shows how far the run has come."""
        now = time.perf_counter()
        if self.started is None:
            self.started = (now, event.step)
        seconds, steps = now - self.started[0], event.step - self.started[1]
        rate = f"{steps * self.batch_size / seconds:,.0f} images/s" if seconds > 0.5 else ""
        if self.bar is not None:
            self.bar.update(self.task, completed=event.step, rate=rate)
        if (line := event.evaluation) is not None:
            self.note(
                f"epoch {line['epoch']:>3}  train loss {line['train_loss']:.4f}  "
                f"validation loss {line['validation_loss']:.4f}  "
                f"validation accuracy {100 * line['validation_accuracy']:6.2f} %  {rate}"
            )

    def trial(self, text: str) -> None:
        """A trial of a sweep has ended."""
        self.note(text)

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

    def event(self, event: Event) -> None:
        pass

    def trial(self, text: str) -> None:
        pass

    def note(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


class SweepProgress(Progress):
    """One bar for all trials of a sweep; a line when a trial ends."""

    def __init__(self, trials: int, steps: int, batch_size: int):
        super().__init__(trials * steps, batch_size, f"{trials} trials")
        self.steps_per_trial, self.trials = steps, trials
        self.done = 0

    def event(self, event: Event) -> None:
        """Shows how far the running trial has come."""
        shifted = Event(self.done * self.steps_per_trial + event.step, event.epoch, event.state)
        super().event(shifted)

    def trial(self, text: str) -> None:
        """A trial has ended, or was found finished."""
        self.done += 1
        if self.bar is not None:
            self.bar.update(self.task, completed=self.done * self.steps_per_trial)
        self.note(f"{self.done:>4}/{self.trials}  {text}")
