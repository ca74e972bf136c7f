"""Callbacks of runs: progress, logs, and loggers of your own."""

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnn_jax.metrics import EpochMetrics
from cnn_jax.runs.schema import Result
from cnn_jax.training.config import Config
from cnn_jax.waiting import print_note, waiting


@dataclass(frozen=True)
class RunInfo:
    """The run of an event. `steps` is the total number of steps of the run, `first_step` the number already taken when
    it was started or resumed, `parameters` the parameter count."""

    folder: Path
    config: Config
    steps: int
    first_step: int
    parameters: int


class Callback:
    """Base class of loggers; override the methods you need. Trials of a sweep call them from several threads."""

    def on_start(self, run: RunInfo) -> None:
        """Called before the first step, once the programs are compiled."""

    def on_step(self, run: RunInfo, step: int, images_per_second: float | None) -> None:
        """Called about five times a second with the number of steps done."""

    def on_evaluation(self, run: RunInfo, metrics: EpochMetrics) -> None:
        """Called at the end of each epoch."""

    def on_end(self, run: RunInfo, result: Result) -> None:
        """Called when the result is written."""


class Callbacks:
    """Combines several callbacks. A callback that fails is removed with a message, so a logger never stops a run."""

    def __init__(self, callbacks: Iterable[Callback] = (), say: Callable[[str], None] | None = None, show: bool = True):
        """`say` receives messages for the user, and if `show` also notes about slow operations."""
        self._callbacks, self.say, self.show = list(callbacks), say or print_note, show

    def waiting(self, what: str) -> contextlib.AbstractContextManager[None]:
        """Says that `what` is being done if it takes long."""
        return waiting(what, self.say, show=self.show)

    def __getattr__(self, event: str) -> Callable[..., None]:
        if not event.startswith("on_"):
            raise AttributeError(event)

        def tell(*arguments: Any) -> None:
            for callback in list(self._callbacks):
                try:
                    getattr(callback, event)(*arguments)
                except Exception as error:  # the user's code may raise anything
                    if callback in self._callbacks:
                        self._callbacks.remove(callback)
                        self.say(
                            f"{type(callback).__name__} failed in {event} and is left out: "
                            f"{type(error).__name__}: {error}"
                        )

        return tell
