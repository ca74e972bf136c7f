"""What a person at a terminal sees of a run: a bar with images per second and time left, and lines that stay."""

import sys
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

    def event(self, event: Event) -> None:
        """Shows how far the run has come."""
        rate = self.show(event.step, event)
        if (line := event.evaluation) is not None:
            self.note(
                f"epoch {line['epoch']:>3}  train loss {line['train_loss']:.4f}  "
                f"validation loss {line['validation_loss']:.4f}  "
                f"validation accuracy {100 * line['validation_accuracy']:6.2f} %  {rate}"
            )

    def show(self, step: int, event: Event) -> str:
        """Moves the bar to `step` of all steps; returns the speed as text."""
        rate = f"{event.images / event.seconds:,.0f} images/s" if event.seconds > 0.2 else ""
        if self.bar is not None:
            self.bar.update(self.task, completed=step, rate=rate)
        return rate

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

    def __init__(self, steps: Sequence[int]):
        super().__init__(sum(steps), f"{len(steps)} trials")
        self.steps = steps
        self.done = 0

    def event(self, event: Event) -> None:
        """Shows how far the running trial has come."""
        self.show(sum(self.steps[: self.done]) + event.step, event)

    def trial(self, text: str) -> None:
        """A trial has ended, or was found finished."""
        self.done += 1
        if self.bar is not None:
            self.bar.update(self.task, completed=sum(self.steps[: self.done]))
        self.note(f"{self.done:>4}/{len(self.steps)}  {text}")
