"""The commands that a user types, each in a process of its own, on one simulated device."""

import multiprocessing
import os
import re
import runpy
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

_FORKS = multiprocessing.get_context("forkserver")  # processes that have imported the program already: saves 4 s each
_FORKS.set_forkserver_preload(["cnn_jax.cli.main", "cnn_jax.api", "cnn_jax.report.run", "cnn_jax.report.cite"])
_AT_IMPORT = {name: value for name, value in os.environ.items() if name.startswith(("JAX", "XLA"))}


def environment(**more):
    return {**os.environ, "JAX_NUM_CPU_DEVICES": "1", "JAX_PLATFORMS": "cpu", **more}


def start(*arguments, **more):
    """A process of the project's Python, its output kept."""
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)], cwd=ROOT, env=environment(**more), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def finish(*arguments, timeout=900, **more):
    """Runs to the end: (exit code, standard output, standard error). Forked where nothing is asked for that Python or
    JAX read as they start."""
    same = {name: value for name, value in os.environ.items() if name.startswith(("JAX", "XLA"))} == _AT_IMPORT
    if same and not more and arguments[0] != "-c":
        return _finish_forked([*map(str, arguments)], timeout)
    process = start(*arguments, **more)
    out, err = process.communicate(timeout=timeout)
    return process.returncode, out, err


def _finish_forked(arguments, timeout):
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / name for name in ("out", "err")]
        process = _FORKS.Process(target=_as_program, args=(arguments, environment(), files))
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            raise subprocess.TimeoutExpired(arguments, timeout)
        return process.exitcode, *(file.read_text() for file in files)


def _as_program(arguments, variables, files):
    """In the forked process: `python ARGUMENTS…`, with its output in `files`."""
    import jax

    os.environ.clear()
    os.environ.update(variables)
    os.chdir(ROOT)
    jax.config.update("jax_num_cpu_devices", 1)
    jax.config.update("jax_platforms", "cpu")
    for number, file in enumerate(files, 1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    sys.orig_argv = [sys.executable, *arguments]
    try:
        if arguments[0] == "-m":
            sys.argv, sys.path[0] = arguments[1:], str(ROOT)
            runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv, sys.path[0] = arguments, str((ROOT / arguments[0]).parent)
            runpy.run_path(arguments[0], run_name="__main__")
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def messages(err):
    """The lines of standard error but those that only say what takes long."""
    return [line for line in err.strip().splitlines() if not re.search(r" …( \d+ s)?$", line)]


def refused(*arguments, **more):
    """The one line on standard error with which a command refuses a request: exit code 2, no traceback."""
    code, _, err = finish(*arguments, **more)
    assert code == 2, err
    lines = messages(err)
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
