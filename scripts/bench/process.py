"""Worker processes on the parent's side: starts them, queries them, closes them."""

import contextlib
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.contenders import Contender
from bench.works import Work
from cnn_jax.errors import RequestError, RunError
from cnn_jax.runs import provenance

SCRIPTS = Path(__file__).resolve().parent.parent


def commit() -> dict[str, Any] | None:
    """The commit being measured and whether tracked files differ from it; None outside a git checkout."""
    repository = provenance.repository_of(provenance.ROOT, {})
    return None if repository is None else {"commit": repository.commit, "dirty": repository.dirty}


class Worker:
    """A process that has run its first step. Every method raises RunError with the process's reason if it fails.

    `ready` is its first answer, `start_seconds` the time from its start to that answer.
    """

    def __init__(self, name: str, python: str, arguments: Sequence[str], environment: Mapping[str, str]):
        self.name = name
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the worker
        started = time.perf_counter()
        self.process = subprocess.Popen(
            [python, "-m", *arguments], env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=self.log,
        )  # fmt: skip
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.questions, self.answers = self.process.stdin, self.process.stdout
        try:
            self.ready = self._answer()
        except BaseException:
            self.close()
            raise
        self.start_seconds = time.perf_counter() - started

    def ask(self, line: str) -> dict[str, Any]:
        with contextlib.suppress(BrokenPipeError):  # the process is dead: _answer raises the reason
            print(line, file=self.questions, flush=True)
        return self._answer()

    def run(self, steps: int) -> tuple[float, int]:
        """Runs at least `steps` steps; returns the milliseconds per step and the number of steps."""
        answer = self.ask(f"run {steps}")
        if not math.isfinite(answer["loss"]):
            raise RunError(f"{self.name}: the loss is {answer['loss']}")
        return answer["milliseconds"] / answer["steps"], answer["steps"]

    def _answer(self) -> dict[str, Any]:
        line = self.answers.readline()
        values = json.loads(line) if line else {"error": self._last_words()}
        if "error" in values:
            raise RunError(f"{self.name}: {values['error']}")
        return values

    def _last_words(self) -> str:
        code = self.process.wait()
        self.log.seek(0)
        lines = [line for line in self.log if line.strip()]
        return lines[-1].strip() if lines else f"exit code {code}"

    def close(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            self.questions.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.answers.close()
        self.log.close()


def environment(framework: str, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The user's environment variables, without caches of compiled programs. With torch, only scripts/ of this project
    can be imported."""
    path = [str(SCRIPTS)]
    if framework != "torch":
        path += [str(SCRIPTS.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(path), "TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1"}
    variables |= {"JAX_ENABLE_COMPILATION_CACHE": "false", "JAX_NUM_CPU_DEVICES": "1"}
    variables.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.2")  # the workers of a network share the GPU
    return variables | dict(more or {})


def start(
    contender: Contender,
    work: Work,
    mode: str,
    batch_size: int,
    trials: int = 1,
    torch_python: str | None = None,
    device: str = "cpu",
) -> Worker:
    """Starts the worker of a contender for a network."""
    arguments = [contender.module, "--work", work.name, "--batch-size", str(batch_size), "--mode", mode]
    arguments += ["--trials", str(trials), "--precision", contender.precision, "--device", device]
    arguments += ["--width", str(work.filters[0])] if work.filters else []
    arguments += ["--variant", contender.variant] if contender.variant else []
    arguments += ["--malloc"] if contender.malloc else []
    python = torch_python if contender.framework == "torch" else sys.executable
    assert python is not None
    variables = environment(contender.framework, contender.environment)
    return Worker(f"{contender.name} on {work.name}", python, arguments, variables)


def prepare() -> None:
    """Lets cnn_jax build what it builds once per machine, so that no measurement includes it. Raises RequestError if
    the requested operations are unavailable."""
    command = [sys.executable, "-c", "from cnn_jax import ops; ops.resolve()"]
    result = subprocess.run(command, env=environment("cnn_jax"), stderr=subprocess.PIPE, text=True)
    if result.returncode:
        raise RequestError(f"cnn_jax cannot choose its operations: {result.stderr.strip().splitlines()[-1]}")


def check_torch(python: str) -> None:
    """Raises RequestError unless this Python can import what the torch workers need."""
    try:
        result = subprocess.run([python, "-c", "import numpy, torch"], capture_output=True, text=True)
    except OSError as error:
        raise RequestError(f"--torch {python} cannot be started: {error.strerror}") from None
    if result.returncode:
        last = (result.stderr.strip().splitlines() or ["it ended without a message"])[-1]
        raise RequestError(f"--torch {python} does not import numpy and torch: {last}")
