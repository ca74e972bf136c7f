"""The built-in loggers, by their names for `--log`."""

import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from cnn_jax.errors import RequestError, reason
from cnn_jax.metrics import EpochMetrics
from cnn_jax.registry import Registry
from cnn_jax.runs.callbacks import Callback, RunInfo
from cnn_jax.runs.schema import Result

LOGGERS: Registry[Callable[[], Callback]] = Registry("logger")
C = TypeVar("C", bound=Callable[[], Callback])


def register_logger(name: str) -> Callable[[C], C]:
    """Registers a subclass of `Callback` that is constructed without arguments."""

    def add(logger: C) -> C:
        LOGGERS.add(name, logger)
        return logger

    return add


def loggers(names: Iterable[str]) -> list[Callback]:
    """Constructs the loggers with these names. Raises RequestError if one is unknown or its constructor fails."""
    instances = []
    for name in names:
        try:
            instances.append(LOGGERS[name]())
        except RequestError:
            raise
        except Exception as error:  # of any type, from code that is not ours
            raise RequestError(f"logger {name} cannot be made: {type(error).__name__}: {reason(error)}") from error
    return instances


@register_logger("json")
class JsonLines(Callback):
    """Writes events.jsonl in the run's folder: one line per event, with its time."""

    def on_start(self, run: RunInfo) -> None:
        self._write(run, "start", step=run.first_step, steps=run.steps, parameters=run.parameters)

    def on_step(self, run: RunInfo, step: int, images_per_second: float | None) -> None:
        self._write(run, "step", step=step, images_per_second=images_per_second)

    def on_evaluation(self, run: RunInfo, metrics: EpochMetrics) -> None:
        self._write(run, "evaluation", **metrics.to_json())

    def on_end(self, run: RunInfo, result: Result) -> None:
        self._write(run, "end", status=result.status, steps=result.steps)

    def _write(self, run: RunInfo, event: str, **values: Any) -> None:
        with (run.folder / "events.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({"event": event, "time": round(time.time(), 3), **values}) + "\n")


@register_logger("tensorboard")
class TensorBoard(Callback):
    """Writes TensorBoard event files, with tensorboardX, in the folder `tensorboard` of the run: the metrics of both
    splits, the learning rate and the speed by step, and the config as text."""

    def __init__(self) -> None:
        try:
            import tensorboardX
        except ImportError as error:
            raise RequestError(
                f"--log tensorboard needs tensorboardX ({error}): install cnn_jax[tensorboard]"
            ) from None
        self._open = tensorboardX.SummaryWriter
        self._writers: dict[Path, Any] = {}

    def on_start(self, run: RunInfo) -> None:
        writer = self._open(str(run.folder / "tensorboard"))
        self._writers[run.folder] = writer
        writer.add_text("config", f"```\n{json.dumps(run.config.to_json(), indent=2)}\n```")

    def on_step(self, run: RunInfo, step: int, images_per_second: float | None) -> None:
        if images_per_second:
            self._writers[run.folder].add_scalar("images_per_second", images_per_second, step)

    def on_evaluation(self, run: RunInfo, metrics: EpochMetrics) -> None:
        writer = self._writers[run.folder]
        for name, split in (("train", metrics.train), ("validation", metrics.validation)):
            for metric, value in {} if split is None else split.means.items():
                writer.add_scalar(f"{metric}/{name}", value, metrics.step)
        writer.add_scalar("learning_rate", metrics.learning_rate, metrics.step)

    def on_end(self, run: RunInfo, result: Result) -> None:
        self._writers.pop(run.folder).close()


LOGGERS.seal()
