"""The part of a run's life that one process sees: its folder claimed, its events kept, its result written."""

import time
from typing import Any

from cnn_jax.errors import RequestError
from cnn_jax.runs import record, weights
from cnn_jax.runs.folder import Folder
from cnn_jax.runs.prepared import Prepared
from cnn_jax.training.checkpoint import Checkpoints, Restored, rank
from cnn_jax.training.config import Config, differences
from cnn_jax.training.fit import Event, at_chance
from cnn_jax.training.state import State

CHECKPOINT_SECONDS = 30.0  # between checkpoints inside a long epoch
EPOCH_SECONDS = 2.0  # between checkpoints at the ends of short epochs: one takes longer than many an epoch


class Session:
    """Writes what becomes of a run into its folder. Raises RequestError where the folder holds another run."""

    def __init__(self, prepared: Prepared, folder: Folder, provenance: dict[str, Any], choices: dict[str, Any]):
        self.prepared, self.folder = prepared, folder
        self.config = prepared.config
        made = record.run_record(provenance, self.config, prepared.dataset, prepared.choices | choices)
        if self.config.init is not None and not folder.has("record.json"):
            made["init_sha256"] = weights.digest(weights.read(self.config.init)[0])
        if not folder.has("config.json"):
            folder.write_json("config.json", self.config.to_json())
        elif changed := differences(Config.from_json(folder.read_json("config.json")), self.config):
            raise RequestError(f"{folder.path} holds a run with another config: {'; '.join(changed)}")
        self.record = record.begin(folder, made)
        self.checkpoints = Checkpoints(folder.file("checkpoints"), self.config.keep_all)
        self.state: State | None = None
        self.step = self.first_step = self.images = 0
        self.step_seconds = self.earlier_seconds = 0.0
        self.diverged_step: int | None = None

    def begin(self, found: Restored | None) -> list[str]:
        """Goes on from a checkpoint, or from the start; returns what is to be said about it."""
        step = found.step if found else 0
        self.checkpoints.discard_after(step)
        self.evaluations = self.folder.keep_metrics(step)
        self.step = self.first_step = step
        notes = found.skipped if found else []
        if found:
            self.earlier_seconds = found.meta["train_seconds"]
        if notes:
            self.record["notes"] = [*self.record.get("notes", []), *notes]
        self.started = self.saved = time.perf_counter()
        return notes

    @property
    def train_seconds(self) -> float:
        return self.earlier_seconds + time.perf_counter() - self.started

    def take(self, event: Event) -> None:
        """Notes how far the run has come and writes an evaluation down."""
        self.step = event.step
        if event.nonfinite:
            self.diverged_step = event.step
            return
        self.state, self.images, self.step_seconds = event.state, event.images, event.seconds
        if event.evaluation is not None:
            line = {**event.evaluation, "seconds": round(self.train_seconds, 3)}
            self.folder.append_metrics(line)
            self.evaluations.append(line)

    def save(self, event: Event, urgent: bool) -> None:
        """Saves a checkpoint where one is due: after the last epoch, after one that may be scored, some time after the
        one before, at once where it is urgent."""
        since = time.perf_counter() - self.saved
        if event.evaluation is None:
            due = since >= CHECKPOINT_SECONDS
        else:
            last = event.epoch == self.config.epochs
            best = self.config.select == "best" and max(self.evaluations, key=rank)["step"] == event.step
            due = last or best or self.config.keep_all or since >= min(EPOCH_SECONDS, CHECKPOINT_SECONDS)
        if event.nonfinite or event.paused or not (due or urgent):
            return
        self.checkpoints.save(event.state, {"train_seconds": self.train_seconds}, event.evaluation)
        self.saved = time.perf_counter()

    def finish(self, interrupted: bool, compile_seconds: float, score_test: bool) -> dict[str, Any]:
        """Writes the result and returns it."""
        self.checkpoints.wait()
        status, reason = "interrupted" if interrupted else "complete", None
        train_seconds = self.train_seconds
        last = self.evaluations[-1] if self.evaluations else None
        if self.diverged_step is not None:
            status, reason = "diverged", "nonfinite"
        elif status == "complete" and last and at_chance(self.config, self.prepared.dataset.train.labels, last):
            status, reason, self.diverged_step = "diverged", "chance", self.step
        result: dict[str, Any] = {
            "status": status,
            "reason": reason,
            "diverged_step": self.diverged_step,
            "validation": None,
            "test": None,
            "epochs": len(self.evaluations),
            "steps": self.step,
            "parameters": self.prepared.network.parameters,
            "compile_seconds": round(compile_seconds, 3),
            "train_seconds": round(train_seconds, 3),
        }
        if last is not None and reason != "nonfinite":
            result["validation"] = _validation(last)
        if status == "complete":
            state, result["validation"] = self._selected(last)
            if score_test:
                result["test"] = self.prepared.score(state, "test")
        self.record |= {
            "finished": record.utc_now(),
            "compile_seconds": result["compile_seconds"],
            "train_seconds": result["train_seconds"],
            "images_per_second": round(self.images / self.step_seconds, 1) if self.step_seconds else None,
            "peak_memory": record.peak_memory(),
            "weights_scored": self.config.select,
        }
        self.folder.write_json("record.json", self.record)
        self.folder.write_json("result.json", result)
        return result

    def _selected(self, last: dict[str, Any] | None) -> tuple[State, dict[str, Any]]:
        """The state whose weights are scored, and its validation metrics."""
        assert last is not None
        assert self.state is not None
        if self.config.select == "final":
            return self.state, _validation(last)
        line = max(self.evaluations, key=rank)
        return self.prepared.replicate(self.checkpoints.at(line["step"], self.state).state), _validation(line)

    def close(self) -> None:
        self.checkpoints.close()


def _validation(line: dict[str, Any]) -> dict[str, Any]:
    return {
        "accuracy": line["validation_accuracy"],
        "loss": line["validation_loss"],
        "examples": line["examples"],
    }
