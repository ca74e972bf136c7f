"""Trains one config into one folder, or several together into several: metrics as they come, checkpoints, results.
Resumable at any step."""

import contextlib
import dataclasses
import signal
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import jax

from cnn_jax.errors import RunError
from cnn_jax.runs.callbacks import Callbacks
from cnn_jax.runs.folder import Folder
from cnn_jax.runs.provenance import Attachments
from cnn_jax.runs.schema import Provenance, Result
from cnn_jax.runs.task import Task
from cnn_jax.runs.writer import RunWriter
from cnn_jax.training.checkpoint import Restored
from cnn_jax.training.fit import Event, compile_program, fit
from cnn_jax.training.state import TrainState, initial_state
from cnn_jax.training.trials import Transform, stack

PROFILE_STEPS = 10


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


def train_runs(
    tasks: Sequence[Task],
    folders: Sequence[Folder],
    provenance: Provenance,
    interrupt: Interrupt,
    callbacks: Callbacks,
    *,
    transform: Transform = None,
    choices: dict[str, Any] | None = None,
    attachments: Attachments | None = None,
    score_test: bool,
    profile: bool = False,
) -> list[Result]:
    """Trains, or goes on training, into the folders, which are claimed, and returns what each result.json says.

    With a `transform` the tasks are one program (the same Program, batch size and epochs), else there is one. `choices`
    are added to those that the record keeps, `attachments` written beside it. Raises RequestError where a folder holds
    another run and RunError where none of its checkpoints is good.
    """
    with contextlib.ExitStack() as stack:
        writers = []
        for task, folder in zip(tasks, folders, strict=True):
            writers.append(RunWriter(task, folder, provenance, attachments or {}, choices or {}, callbacks))
            stack.callback(writers[-1].close)
        try:
            return _train(writers, transform, interrupt, profile, score_test)
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            wanted = f"a batch of {tasks[0].config.batch_size} for {tasks[0].network.parameters:,} parameters"
            reason = f"out of memory with {wanted}: try a smaller --batch-size, or --accumulate"
            for writer in writers:
                writer.fail(reason)
            raise RunError(reason) from error


def _train(
    writers: list[RunWriter], transform: Transform, interrupt: Interrupt, profile: bool, score_test: bool
) -> list[Result]:
    """From a common state of the runs to their ends, or to an interruption."""
    task, configs = writers[0].task, [writer.config for writer in writers]
    train, validation = task.train, task.examples("validation")
    program = dataclasses.replace(task.program, transform=transform)
    with writers[0].callbacks.waiting("compiling the training step"):
        compile_seconds = compile_program(configs, program, train, validation)
    restored = _restore(writers, [initial_state(config, task.program) for config in configs])
    for writer, checkpoint in zip(writers, restored, strict=True):
        writer.begin(checkpoint)
    states = [
        checkpoint.state if checkpoint else writer.task.initial_state()
        for writer, checkpoint in zip(writers, restored, strict=True)
    ]
    state = task.replicate(stack(transform, states))
    pauses = _profile_steps(writers[0]) if profile else ()
    running, interrupted = list(range(len(writers))), False
    events = fit(configs, program, train, validation, state, pauses)
    with contextlib.closing(events), contextlib.ExitStack() as profiling:
        for several in events:
            for i in running:
                writers[i].take(several[i])
            interrupted = interrupt.signal is not None
            for i in running:
                writers[i].save(several[i], urgent=interrupted)
            running = [i for i in running if not several[i].nonfinite]
            if running and several[running[0]].paused:
                _profile(writers[0], several[running[0]], pauses, profiling)
            elif interrupted:
                break
    return [writer.finish(interrupted, compile_seconds, score_test) for writer in writers]


def _restore(writers: list[RunWriter], initial: list[TrainState]) -> list[Restored | None]:
    """The newest good checkpoint of every run, of the same step: that of the one that lies furthest back."""
    newest = [writer.checkpoints.latest(state) for writer, state in zip(writers, initial, strict=True)]
    step = min(checkpoint.step if checkpoint else 0 for checkpoint in newest)
    if step == 0:
        return [None] * len(writers)
    return [
        checkpoint if checkpoint is not None and checkpoint.step == step else writer.checkpoints.at(step, state)
        for writer, checkpoint, state in zip(writers, newest, initial, strict=True)
    ]


def _profile_steps(writer: RunWriter) -> tuple[int, ...]:
    """The steps between which the trace is taken: ten, after ten to warm up, or the last ones of a short run."""
    last = writer.task.steps
    begin = min(writer.step + PROFILE_STEPS, last - PROFILE_STEPS)
    if begin <= writer.step:
        writer.callbacks.say(f"no profile: it needs more than {PROFILE_STEPS} steps, {last - writer.step} are left")
        return ()
    return begin, begin + PROFILE_STEPS


def _profile(writer: RunWriter, event: Event, pauses: tuple[int, ...], profiling: contextlib.ExitStack) -> None:
    if event.step == pauses[0]:
        profiling.enter_context(jax.profiler.trace(str(writer.folder.file("profile"))))
    else:
        profiling.close()
