"""Writes a run from start or resumption to its end: events, checkpoints, result."""

import dataclasses
import time
from typing import Any

from cnn_jax import compilations
from cnn_jax.errors import RequestError, RunError
from cnn_jax.metrics import EpochMetrics
from cnn_jax.runs import manifest, record, weights
from cnn_jax.runs.callbacks import Callbacks, RunInfo
from cnn_jax.runs.folder import Folder
from cnn_jax.runs.hosts import checkpoints_of
from cnn_jax.runs.model import arrays_of
from cnn_jax.runs.provenance import Attachments, peak_memory, utc_now
from cnn_jax.runs.schema import Provenance, Result
from cnn_jax.runs.task import Task
from cnn_jax.training.checkpoint import Restored
from cnn_jax.training.config import Config, differences
from cnn_jax.training.fit import Event
from cnn_jax.training.state import TrainState

CHECKPOINT_SECONDS = 30.0  # between checkpoints inside a long epoch
EPOCH_SECONDS = 2.0  # between checkpoints after short epochs, as saving may take longer than an epoch


class RunWriter:
    """Writes a run into its folder. Raises RequestError if the folder holds another run."""

    def __init__(
        self,
        task: Task,
        folder: Folder,
        provenance: Provenance,
        attachments: Attachments,
        choices: dict[str, Any],
        callbacks: Callbacks,
    ):
        self.task, self.folder, self.callbacks = task, folder, callbacks
        self.config = task.config
        start = record.of_run(provenance, self.config, task.dataset, task.choices | choices)
        start = dataclasses.replace(start, notes=task.warnings)
        if self.config.init is not None and not folder.has("record.json"):
            start = dataclasses.replace(start, init_sha256=weights.digest(arrays_of(self.config.init)[0]))
        if task.teacher is not None:
            start = dataclasses.replace(start, teacher_sha256=weights.digest(weights.named(task.teacher.variables)))
        if not folder.has("config.json"):
            folder.write_json("config.json", self.config.to_json())
        elif changed := differences(Config.from_json(folder.read_json("config.json")), self.config):
            raise RequestError(f"{folder.path} holds a run with another config: {'; '.join(changed)}")
        manifest.remove(folder)
        self.record = record.begin(folder, start, attachments, callbacks.say)
        if self.record.teacher_sha256 != start.teacher_sha256:
            raise RequestError(f"{folder.path} cannot be resumed: its teacher {self.config.teacher} has changed")
        self.checkpoints = checkpoints_of(folder, self.config, task.program.hosts)
        self.started = self.saved = time.perf_counter()
        self.state: TrainState | None = None
        self.evaluations: list[EpochMetrics] = []
        self.step = self.first_step = self.images = 0
        self.step_seconds = self.earlier_seconds = 0.0
        self.diverged_step: int | None = None

    def begin(self, restored: Restored | None) -> None:
        """Begins at a checkpoint, or at the start if `restored` is None. Raises RunError if evaluations before the
        checkpoint are missing, which would leave gaps in the history."""
        step = restored.step if restored else 0
        before = [metrics for metrics in self.folder.metrics() if metrics.step <= step]
        epochs = step // self.task.steps_per_epoch
        if len(before) != epochs:
            raise RunError(
                f"{self.folder.file('metrics.jsonl')} has {len(before)} evaluations, but the checkpoint of step {step} "
                f"comes after {epochs} epochs: it is damaged and the run cannot be resumed; give another --out"
            )
        self.checkpoints.discard_after(step)
        self.state = restored.state if restored else None
        self.evaluations = self.folder.keep_metrics(step)
        self.step = self.first_step = step
        notes = restored.skipped if restored else []
        if restored:
            self.earlier_seconds = restored.meta["train_seconds"]
        if notes:
            self.record = dataclasses.replace(self.record, notes=(*self.record.notes, *notes))
        for note in notes:
            self.callbacks.say(note)
        self.started = self.saved = time.perf_counter()
        self.info = RunInfo(self.folder.path, self.config, self.task.steps, step, self.task.network.parameters)
        self.callbacks.on_start(self.info)

    @property
    def train_seconds(self) -> float:
        return self.earlier_seconds + time.perf_counter() - self.started

    def log(self, event: Event) -> None:
        """Records the progress of the run and writes the evaluation, if any."""
        self.step = event.step
        if event.nonfinite:
            self.diverged_step = event.step
            return
        self.images, self.step_seconds = event.images, event.seconds
        if not event.paused:
            speed = event.images / event.seconds if event.seconds > 0.2 else None
            self.callbacks.on_step(self.info, max(event.step, self.first_step), speed)
        if event.evaluation is not None:
            self.state = event.state
            metrics = dataclasses.replace(event.evaluation, seconds=round(self.train_seconds, 3))
            self.folder.append_metrics(self._held_out(metrics))
            self.evaluations.append(metrics)
            self.callbacks.on_evaluation(self.info, self._held_out(metrics))

    def _held_out(self, metrics: EpochMetrics) -> EpochMetrics:
        """The metrics without validation if the run trains on that split too (`final_fit`)."""
        return dataclasses.replace(metrics, validation=None) if self.config.final_fit else metrics

    def save(self, event: Event, urgent: bool) -> None:
        """Saves a checkpoint if one is due: after the last epoch, after an epoch that may be scored, some time after
        the previous checkpoint, or immediately if `urgent`."""
        since = time.perf_counter() - self.saved
        if event.evaluation is None:
            due = since >= CHECKPOINT_SECONDS
        else:
            last = event.epoch == self.config.epochs
            best = self.config.select == "best" and max(self.evaluations, key=_rank).step == event.step
            due = last or best or self.config.keep_all or since >= min(EPOCH_SECONDS, CHECKPOINT_SECONDS)
        if event.nonfinite or event.paused or not (due or urgent):
            return
        assert event.state is not None
        self.checkpoints.save(event.state, {"train_seconds": self.train_seconds}, self.evaluations)
        self.saved = time.perf_counter()

    def finish(self, interrupted: bool, compile_seconds: float, score_test: bool) -> Result:
        """Writes the result and returns it."""
        self.checkpoints.wait()
        result = self._result("interrupted", compile_seconds)
        if self.diverged_step is not None:
            reason = "the loss or a parameter was not finite"
            result = dataclasses.replace(result, status="diverged", reason=reason, diverged_step=self.diverged_step)
        elif not interrupted:
            result = self._complete(result, score_test)
        self.record = dataclasses.replace(
            self.record,
            finished=utc_now(),
            compile_seconds=result.compile_seconds,
            compilations=compilations.counts(),
            train_seconds=result.train_seconds,
            images_per_second=round(self.images / self.step_seconds, 1) if self.step_seconds else None,
            peak_memory=peak_memory(),
        )
        self.folder.write("record.json", self.record)
        self.folder.write("result.json", result)
        if result.ended:
            manifest.write(self.folder)
        self.callbacks.on_end(self.info, result)
        return result

    def fail(self, reason: str) -> None:
        """Records that the run failed, and why; --resume tries again."""
        self.folder.write("result.json", self._result("failed", 0.0, reason))

    def _result(self, status: Any, compile_seconds: float, reason: str | None = None) -> Result:
        """A result without metrics."""
        return Result(
            status=status,
            at_chance=None,
            reason=reason,
            diverged_step=None,
            scored_step=None,
            validation=None,
            test=None,
            epochs=len(self.evaluations),
            steps=self.step,
            parameters=self.task.network.parameters,
            compile_seconds=round(compile_seconds, 3),
            train_seconds=round(self.train_seconds, 3),
        )

    def _complete(self, result: Result, score_test: bool) -> Result:
        """Adds the metrics of the weights selected by `config.select`."""
        assert self.state is not None
        selected, state = self.evaluations[-1], self.state
        if self.config.select == "best":
            selected = max(self.evaluations, key=_rank)
            if selected.step != self.step:
                state = self.task.program.replicate(self.checkpoints.at(selected.step, self.state).state)
        validation = selected.validation or self.task.score(state, "validation")
        return dataclasses.replace(
            result,
            status="complete",
            at_chance=self.task.at_chance(validation),
            scored_step=selected.step,
            validation=self._held_out(selected).validation,
            test=self.task.score_test(state) if score_test else None,
        )

    def close(self) -> None:
        self.checkpoints.close()


def _rank(metrics: EpochMetrics) -> tuple[float, int]:
    return metrics.rank
