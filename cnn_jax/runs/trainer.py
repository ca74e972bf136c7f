"""Trains configs into folders, one alone or several batched: writes metrics, checkpoints and results.
Resumable at any step."""

import contextlib
import re
import signal
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import jax

from cnn_jax.errors import RunError, shortened
from cnn_jax.runs.callbacks import Callbacks
from cnn_jax.runs.folder import Folder
from cnn_jax.runs.hosts import state_of_leader
from cnn_jax.runs.provenance import Attachments
from cnn_jax.runs.schema import Provenance, Result
from cnn_jax.runs.task import Task
from cnn_jax.runs.writer import RunWriter
from cnn_jax.training.checkpoint import Restored
from cnn_jax.training.devices import gather
from cnn_jax.training.fit import Event, compile_program, fit, together
from cnn_jax.training.memory import free_bytes, largest_batch
from cnn_jax.training.state import Program, TrainState, initial_state

PROFILE_STEPS = 10
XLA_FAILURE = re.compile(r"(UNKNOWN|INTERNAL|UNAVAILABLE|ABORTED|CANCELLED|FAILED_PRECONDITION|DEADLINE_EXCEEDED): ")


class Interrupt:
    """Catches SIGINT and SIGTERM so that the run can be saved first; a second signal acts at once."""

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

    def share(self, hosts: int) -> bool:
        """True if any process of the group has received a signal, which then counts for all."""
        received = int(gather([self.signal or 0], hosts).max())
        self.signal = received or self.signal  # one that arrives during the exchange counts at the next
        return received > 0

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
    program: Program | None = None,
    choices: dict[str, Any] | None = None,
    attachments: Attachments | None = None,
    score_test: bool,
    profile: bool = False,
) -> list[Result]:
    """Trains tasks into folders, or resumes them.

    Args:
      tasks: one task, or with a `program` several with the same data, batch size and epochs.
      folders: the folder of each task, already claimed.
      provenance: how this program runs, for the records.
      interrupt: set by a signal; the runs are then saved and stopped.
      callbacks: called about progress.
      program: of all tasks together; None for a single task.
      choices: added to the record's `choices`.
      attachments: files to write beside each record, by name.
      score_test: score the test split at the end.
      profile: write a profiler trace of some steps.

    Returns:
      The result of each run, as in its result.json.

    Raises:
      RequestError: a folder holds another run.
      RunError: no checkpoint of a resumed run is intact, or the device is out of memory.
    """
    with contextlib.ExitStack() as stack:
        writers = []
        for task, folder in zip(tasks, folders, strict=True):
            writers.append(RunWriter(task, folder, provenance, attachments or {}, choices or {}, callbacks))
            stack.callback(writers[-1].close)
        try:
            return _train(writers, program or tasks[0].program, interrupt, profile, score_test)
        except (jax.errors.JaxRuntimeError, ValueError) as error:
            if tasks[0].program.hosts > 1 and XLA_FAILURE.match(str(error)):
                reason = shortened(str(error).splitlines()[0])
                raise RunError(
                    f"a computation over several processes failed ({reason}); start all processes again with --resume"
                ) from error
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            reason = _out_of_memory(tasks[0], len(tasks))
            for writer in writers:
                writer.fail(reason)
            raise RunError(reason) from error


def _out_of_memory(task: Task, trials: int) -> str:
    """One line that says what did not fit and what would."""
    together = f"{trials} trials at once of " if trials > 1 else ""
    line = (
        f"out of memory with {together}a batch of {task.config.batch_size} for {task.network.parameters:,} parameters"
    )
    fits = largest_batch(task.network, task.program.devices, free_bytes() // trials)
    if 0 < fits < task.config.batch_size:
        parts = -(-task.config.batch_size // fits)
        return f"{line}: by estimate --batch-size {fits} fits, or the same batch in parts with --accumulate {parts}"
    return f"{line}: try a smaller --batch-size, or --accumulate"


def _train(
    writers: list[RunWriter], program: Program, interrupt: Interrupt, profile: bool, score_test: bool
) -> list[Result]:
    """Trains the runs from their common step to their ends or an interruption."""
    task, configs = writers[0].task, [writer.config for writer in writers]
    train, validation = task.train, task.examples("validation")
    with writers[0].callbacks.waiting("compiling the training step"):
        compile_seconds = compile_program(configs, program, train, validation)
    restored = _restore(writers, [initial_state(writer.config, writer.task.program) for writer in writers])
    for writer, checkpoint in zip(writers, restored, strict=True):
        writer.begin(checkpoint)
    states = [
        checkpoint.state if checkpoint else state_of_leader(writer.task.initial_state(), program.hosts)
        for writer, checkpoint in zip(writers, restored, strict=True)
    ]
    state = together(states, configs, program)
    pauses = _profile_steps(writers[0]) if profile else ()
    running, interrupted = list(range(len(writers))), False
    events = fit(configs, program, train, validation, state, pauses)
    with contextlib.closing(events), contextlib.ExitStack() as profiling:
        for per_run in events:
            for i in running:
                writers[i].log(per_run[i])
            interrupted = interrupt.share(program.hosts)
            for i in running:
                writers[i].save(per_run[i], urgent=interrupted)
            running = [i for i in running if not per_run[i].nonfinite]
            if running and per_run[running[0]].paused:
                _profile(writers[0], per_run[running[0]], pauses, profiling)
            elif interrupted:
                break
    return [writer.finish(interrupted, compile_seconds / len(writers), score_test) for writer in writers]


def _restore(writers: list[RunWriter], initial: list[TrainState]) -> list[Restored | None]:
    """Restores every run at the same step: the newest intact checkpoint of the run that is furthest behind."""
    newest = [writer.checkpoints.latest(state) for writer, state in zip(writers, initial, strict=True)]
    step = min(checkpoint.step if checkpoint else 0 for checkpoint in newest)
    if step == 0:
        return [None] * len(writers)
    return [
        checkpoint if checkpoint is not None and checkpoint.step == step else writer.checkpoints.at(step, state)
        for writer, checkpoint, state in zip(writers, newest, initial, strict=True)
    ]


def _profile_steps(writer: RunWriter) -> tuple[int, ...]:
    """First and last step of the profile: ten steps after ten for warm-up, or the last ten of a short run."""
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
