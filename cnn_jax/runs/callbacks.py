"""Who is told how runs go on: an event protocol for progress, logs and a researcher's own loggers."""

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
    """The run that an event is about: its folder, its config, the steps it will have taken at its end and those that
    an earlier start has taken, and the number of its parameters."""

    folder: Path
    config: Config
    steps: int
    first_step: int
    parameters: int


class Callback:
    """Base of a logger: every method may be left out. The trials of a sweep call from several threads."""

    def on_start(self, run: RunInfo) -> None:
        """Before the first step, when the programs are compiled."""

    def on_step(self, run: RunInfo, step: int, images_per_second: float | None) -> None:
        """About five times a second: so many steps are done."""

    def on_evaluation(self, run: RunInfo, metrics: EpochMetrics) -> None:
        """At the end of an epoch."""

    def on_end(self, run: RunInfo, result: Result) -> None:
        """When the result is written."""


class Callbacks:
    """Several callbacks as one. One that fails is left out from then on, with a line that says so: a logger never stops
    a run."""

    def __init__(self, callbacks: Iterable[Callback] = (), say: Callable[[str], None] | None = None, show: bool = True):
        """`say` is told what a person must know, and with `show` also what takes long."""
        self._callbacks, self.say, self.show = list(callbacks), say or print_note, show

    def waiting(self, what: str) -> contextlib.AbstractContextManager[None]:
        """Says that `what` is being done where that takes long."""
        return waiting(what, self.say, show=self.show)

    def __getattr__(self, event: str) -> Callable[..., None]:
        if not event.startswith("on_"):
            raise AttributeError(event)

        def tell(*arguments: Any) -> None:
            for callback in list(self._callbacks):
                try:
                    getattr(callback, event)(*arguments)
                except Exception as error:  # of any type, from code that is not ours
                    if callback in self._callbacks:
                        self._callbacks.remove(callback)
                        self.say(
                            f"{type(callback).__name__} failed in {event} and is left out: "
                            f"{type(error).__name__}: {error}"
                        )

        return tell
