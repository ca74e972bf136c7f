"""Real processes for the tests: the commands that a user types, on one simulated device."""

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


# For processes that are killed, or whose disk is full: they would leave broken programs to all others.
NO_SHARED_COMPILATIONS = {"JAX_ENABLE_COMPILATION_CACHE": "false"}


def environment(**more):
    return {**os.environ, "JAX_NUM_CPU_DEVICES": "1", "JAX_PLATFORMS": "cpu", **more}


def start(*arguments, **more):
    """A process of the project's Python, its output kept."""
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)], cwd=ROOT, env=environment(**more), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def finish(*arguments, timeout=900, **more):
    """Runs to the end: (exit code, standard output, standard error)."""
    process = start(*arguments, **more)
    out, err = process.communicate(timeout=timeout)
    return process.returncode, out, err


def refused(*arguments, **more):
    """The one line on standard error with which a command refuses a request: exit code 2, no traceback."""
    code, _, err = finish(*arguments, **more)
    assert code == 2, err
    lines = err.strip().splitlines()
    assert len(lines) == 1, err
    assert lines[0].startswith("error: ")
    return lines[0]


def wait_for(condition, process, seconds=300):
    """Until a condition holds; the process must live until then."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        if time.monotonic() > deadline:
            process.kill()
            raise AssertionError(process.communicate())
        time.sleep(0.005)
