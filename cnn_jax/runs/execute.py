"""Trains one config into one folder, or several together into several: metrics as they come, checkpoints, results.
Resumable at any step."""

import contextlib
import signal
import threading
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import jax

from cnn_jax.errors import RunError
from cnn_jax.runs.folder import Folder
from cnn_jax.runs.prepared import Prepared
from cnn_jax.runs.provenance import Attachments
from cnn_jax.runs.schema import Provenance, Result
from cnn_jax.runs.session import Session
from cnn_jax.training.checkpoint import Restored
from cnn_jax.training.epoch import stacked
from cnn_jax.training.fit import Event, compile_program, fit
from cnn_jax.training.state import TrainState, initial_state
from cnn_jax.training.step import Together

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


class Listener(Protocol):
    """Who is told how a run goes on."""

    def event(self, event: Event, steps: int) -> None:
        """`steps` steps of all that is asked for have been taken since the last word."""

    def note(self, text: str) -> None: ...


def execute(
    group: Sequence[Prepared],
    folders: Sequence[Folder],
    provenance: Provenance,
    interrupt: Interrupt,
    listener: Listener,
    *,
    together: Together = None,
    choices: dict[str, Any] | None = None,
    attachments: Attachments | None = None,
    score_test: bool,
    profile: bool = False,
) -> list[Result]:
    """Trains, or goes on training, into the folders, which are claimed, and returns what each result.json says.

    With `together` the group is one program (the same Program, batch size and epochs), else a group of one. `choices`
    are added to those that the record keeps, `attachments` written beside it. Raises RequestError where a folder holds
    another run and RunError where none of its checkpoints is good.
    """
    first = group[0]
    with contextlib.ExitStack() as stack:
        sessions = []
        for prepared, folder in zip(group, folders, strict=True):
            sessions.append(Session(prepared, folder, provenance, attachments or {}, choices or {}))
            stack.callback(sessions[-1].close)
        try:
            return _Execution(sessions, together, interrupt, listener, profile).run(score_test)
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            wanted = f"a batch of {first.config.batch_size} for {first.network.parameters:,} parameters"
            reason = f"out of memory with {wanted}: try a smaller --batch-size, or --accumulate"
            for session in sessions:
                session.fail(reason)
            raise RunError(reason) from error


class _Execution:
    """One pass from a common state of the sessions to their ends, or to an interruption."""

    def __init__(
        self, sessions: list[Session], together: Together, interrupt: Interrupt, listener: Listener, profile: bool
    ):
        self.sessions, self.together, self.interrupt, self.listener = sessions, together, interrupt, listener
        self.prepared = sessions[0].prepared
        self.configs = [session.config for session in sessions]
        self.train, self.validation = self.prepared.train, self.prepared.examples("validation")
        program = self.prepared.program
        self.compile_seconds = compile_program(self.configs, program, together, self.train, self.validation)
        found = self._common([initial_state(config, program) for config in self.configs])
        for session, one in zip(sessions, found, strict=True):
            session.state = one.state if one else None
            for note in session.begin(one):
                listener.note(note)
        states = [
            one.state if one else session.prepared.initial_state() for session, one in zip(sessions, found, strict=True)
        ]
        self.state = self.prepared.replicate(stacked(states, together))
        self.step = found[0].step if found[0] else 0
        self.profile = self._profile_steps() if profile else ()

    def _common(self, initial: list[TrainState]) -> list[Restored | None]:
        """The newest good checkpoint of every session, of the same step: that of the one that lies furthest back."""
        found = [session.checkpoints.latest(state) for session, state in zip(self.sessions, initial, strict=True)]
        step = min(one.step if one else 0 for one in found)
        if step == 0:
            return [None] * len(found)
        return [
            one if one is not None and one.step == step else session.checkpoints.at(step, state)
            for session, one, state in zip(self.sessions, found, initial, strict=True)
        ]

    def run(self, score_test: bool) -> list[Result]:
        before, step = self.step, self.step
        interrupted = False
        running = list(range(len(self.sessions)))
        events = fit(
            self.configs, self.prepared.program, self.together, self.train, self.validation, self.state, self.profile
        )
        with contextlib.closing(events), contextlib.ExitStack() as profiling:
            for several in events:
                for i in running:
                    self.sessions[i].take(several[i])
                urgent = self.interrupt.signal is not None
                for i in running:
                    self.sessions[i].save(several[i], urgent)
                running = [i for i in running if not several[i].nonfinite]
                heard = several[running[0]] if running else several[0]
                if heard.paused:
                    self._profiled(heard.step, profiling)
                    continue
                step = max(before, heard.step)
                self.listener.event(heard, (step - before) * len(self.sessions))
                before = step
                if urgent:
                    interrupted = True
                    break
        return [session.finish(interrupted, self.compile_seconds, score_test) for session in self.sessions]

    def _profile_steps(self) -> tuple[int, ...]:
        """The steps between which the trace is taken: ten, after ten to warm up, or the last ones of a short run."""
        last = self.prepared.steps_per_epoch * self.configs[0].epochs
        begin = min(self.step + PROFILE_STEPS, last - PROFILE_STEPS)
        if begin <= self.step:
            self.listener.note(f"no profile: it needs more than {PROFILE_STEPS} steps, {last - self.step} are left")
            return ()
        return begin, begin + PROFILE_STEPS

    def _profiled(self, step: int, profiling: contextlib.ExitStack) -> None:
        if step == self.profile[0]:
            profiling.enter_context(jax.profiler.trace(str(self.sessions[0].folder.file("profile"))))
        else:
            profiling.close()
