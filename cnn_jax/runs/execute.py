"""Trains one config into one folder: metrics as they come, checkpoints, the result. Resumable at any step."""

import contextlib
import functools
import math
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import jax
import numpy as np

from cnn_jax.data import Dataset, Split
from cnn_jax.errors import RequestError, RunError
from cnn_jax.network import Network
from cnn_jax.runs import record
from cnn_jax.runs.folder import Folder
from cnn_jax.training.checkpoint import Checkpoints, rank
from cnn_jax.training.config import Config, differences
from cnn_jax.training.fit import Event, at_chance, compile_program, evaluate, fit
from cnn_jax.training.state import Examples, Program, State, initial_state
from cnn_jax.training.step import replicate
from cnn_jax.zoo import build

CHECKPOINT_SECONDS = 30.0  # between checkpoints inside a long epoch; every epoch ends with one
PROFILE_STEPS = 10


@dataclass(frozen=True)
class Prepared:
    """A config with its data on the device and its network and program made."""

    config: Config
    dataset: Dataset
    network: Network
    program: Program

    @classmethod
    def of(cls, config: Config, dataset: Dataset) -> "Prepared":
        network = build(config.network, dataset.image_shape, dataset.classes, config.filters)
        return cls(config, dataset, network, Program.of(config, network))

    def replicate(self, tree: Any) -> Any:
        """`tree` on every device of the program."""
        return replicate(self.program.devices, tree)

    def examples(self, split: str) -> Examples:
        return _on_device(self.dataset, split, self.program.devices)

    @property
    def steps_per_epoch(self) -> int:
        return math.ceil(len(self.dataset.train) / self.config.batch_size)

    @property
    def choices(self) -> dict[str, Any]:
        """What was decided for speed; another choice rounds differently, so a resumed run must make the same."""
        return {
            "backend": jax.default_backend(),
            "devices": self.program.devices,
            "implementation": self.program.implementation,
        }


@functools.lru_cache(maxsize=8)
def _on_device(dataset: Dataset, split: str, devices: int) -> Examples:
    part: Split = getattr(dataset, split)
    arrays = map(np.asarray, (part.images, part.labels, dataset.mean, dataset.std))
    return replicate(devices, Examples(*arrays))  # type: ignore[arg-type]


class Interrupt:
    """Notes SIGINT and SIGTERM instead of dying, so that the run can be saved; a second signal acts at once."""

    def __init__(self) -> None:
        self.signal: int | None = None

    @contextlib.contextmanager
    def listening(self) -> Iterator["Interrupt"]:
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self._note) for number in numbers}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note(self, number: int, _frame: Any) -> None:
        self.signal = number
        signal.signal(number, signal.SIG_DFL if number == signal.SIGTERM else signal.default_int_handler)


class Listener(Protocol):
    """Who is told how a run goes on."""

    def event(self, event: Event) -> None: ...

    def note(self, text: str) -> None: ...


def execute(
    prepared: Prepared,
    folder: Folder,
    provenance: dict[str, Any],
    interrupt: Interrupt,
    listener: Listener,
    *,
    score_test: bool,
    profile: bool = False,
) -> dict[str, Any]:
    """Trains, or goes on training, into `folder` and returns what result.json says. Raises RequestError where the
    folder holds another run and RunError where none of its checkpoints is good."""
    try:
        session = _Session(prepared, folder, provenance, profile)
        with contextlib.closing(session):
            return session.run(interrupt, listener, score_test)
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        wanted = f"a batch of {prepared.config.batch_size} for {prepared.network.parameters:,} parameters"
        raise RunError(f"out of memory with {wanted}: try a smaller --batch-size, or --accumulate") from error


class _Session:
    """The part of a run's life that one process sees."""

    def __init__(self, prepared: Prepared, folder: Folder, provenance: dict[str, Any], profile: bool):
        self.prepared, self.folder, self.profile = prepared, folder, profile
        self.config, self.program = prepared.config, prepared.program
        self.notes: list[str] = []
        self._claim(provenance)
        self.checkpoints = Checkpoints(folder.file("checkpoints"))
        self.compile_seconds = compile_program(
            self.program, self.config, prepared.examples("train"), prepared.examples("validation")
        )
        self.state = prepared.replicate(initial_state(self.config, self.program))
        self.earlier_seconds = 0.0
        self.first_step = self.images = 0
        self.step_seconds = 0.0
        self._restore()
        self.started = self.saved = time.perf_counter()

    def _claim(self, provenance: dict[str, Any]) -> None:
        """Writes config and record, or checks that they are this run's."""
        prepared, folder = self.prepared, self.folder
        made = record.run_record(provenance, self.config, prepared.dataset, prepared.choices)
        if not folder.has("config.json"):
            folder.write_json("config.json", self.config.to_json())
        elif changed := differences(Config.from_json(folder.read_json("config.json")), self.config):
            raise RequestError(f"{folder.path} holds a run with another config: {'; '.join(changed)}")
        self.record = record.begin(folder, made)

    def _write_record(self) -> None:
        self.folder.write_json("record.json", self.record)

    def _restore(self) -> None:
        found = self.checkpoints.latest(self.state)
        self.checkpoints.discard_after(found.step if found else 0)
        self.evaluations = self.folder.keep_metrics(found.step if found else 0)
        if found is None:
            return
        self.notes += found.skipped
        self.state = self.prepared.replicate(found.state)
        self.first_step = found.step
        self.earlier_seconds = found.meta["train_seconds"]

    @property
    def train_seconds(self) -> float:
        return self.earlier_seconds + time.perf_counter() - self.started

    def run(self, interrupt: Interrupt, listener: Listener, score_test: bool) -> dict[str, Any]:
        for note in self.notes:
            listener.note(note)
            self.record.setdefault("notes", []).append(note)
        status, step = "complete", self.first_step
        diverged_step = None
        examples = self.prepared.examples
        profile = self._profile_steps(listener) if self.profile else ()
        events = fit(self.config, self.program, examples("train"), examples("validation"), self.state, pause_at=profile)
        with contextlib.closing(events), contextlib.ExitStack() as profiling:
            for event in events:
                step = event.step
                if event.nonfinite:
                    status, diverged_step = "diverged", step
                    break
                self.state, self.images, self.step_seconds = event.state, event.images, event.seconds
                if event.paused:
                    if step == profile[0]:
                        profiling.enter_context(jax.profiler.trace(str(self.folder.file("profile"))))
                    else:
                        profiling.close()
                    continue
                self._keep(event, urgent=interrupt.signal is not None)
                listener.event(event)
                if interrupt.signal is not None:
                    status = "interrupted"
                    break
        self.checkpoints.wait()
        return self._finish(status, step, diverged_step, score_test)

    def _profile_steps(self, listener: Listener) -> tuple[int, ...]:
        """The steps between which the trace is taken: ten, after ten to warm up, or the last ones of a short run."""
        last = self.prepared.steps_per_epoch * self.config.epochs
        begin = min(self.first_step + PROFILE_STEPS, last - PROFILE_STEPS)
        if begin <= self.first_step:
            listener.note(f"no profile: it needs more than {PROFILE_STEPS} steps, {last - self.first_step} are left")
            return ()
        return begin, begin + PROFILE_STEPS

    def _keep(self, event: Event, urgent: bool) -> None:
        """Writes an evaluation down and saves a checkpoint where one is due."""
        if event.evaluation is not None:
            line = {**event.evaluation, "seconds": round(self.train_seconds, 3)}
            self.folder.append_metrics(line)
            self.evaluations.append(line)
        elif not urgent and time.perf_counter() - self.saved < CHECKPOINT_SECONDS:
            return
        self.checkpoints.save(event.state, {"train_seconds": self.train_seconds}, event.evaluation)
        self.saved = time.perf_counter()

    def _finish(self, status: str, step: int, diverged_step: int | None, score_test: bool) -> dict[str, Any]:
        train_seconds = self.train_seconds
        reason = "nonfinite" if diverged_step is not None else None
        last = self.evaluations[-1] if self.evaluations else None
        if status == "complete" and last and at_chance(self.config, self.prepared.examples("train"), last):
            status, reason, diverged_step = "diverged", "chance", step
        result: dict[str, Any] = {
            "status": status,
            "reason": reason,
            "diverged_step": diverged_step,
            "validation": None,
            "test": None,
            "epochs": len(self.evaluations),
            "steps": step,
            "parameters": self.prepared.network.parameters,
            "compile_seconds": round(self.compile_seconds, 3),
            "train_seconds": round(train_seconds, 3),
        }
        if last is not None and reason != "nonfinite":
            result["validation"] = _validation(last)
        if status == "complete":
            state, chosen = self._selected(last)
            result["validation"] = chosen
            if score_test:
                result["test"] = score(self.prepared, state, "test")
        self.record |= {
            "finished": record.utc_now(),
            "compile_seconds": result["compile_seconds"],
            "train_seconds": result["train_seconds"],
            "images_per_second": round(self.images / self.step_seconds, 1) if self.step_seconds else None,
            "peak_memory": record.peak_memory(),
            "weights_scored": self.config.select,
        }
        self._write_record()
        self.folder.write_json("result.json", result)
        return result

    def _selected(self, last: dict[str, Any] | None) -> tuple[State, dict[str, Any]]:
        """The state whose weights are scored, and its validation metrics."""
        assert last is not None
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


def score(prepared: Prepared, state: State, split: str) -> dict[str, Any]:
    """Accuracy, mean loss and number of examples of a split."""
    sums = evaluate(prepared.program, state, prepared.examples(split), prepared.config.batch_size)
    return {"accuracy": float(sums.accuracy), "loss": float(sums.mean_loss), "examples": int(sums.examples)}
