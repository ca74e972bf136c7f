"""Process-wide state: settings that commands (never the library) apply before the first computation, joining a
cluster, and restoring a host program's logging.

XLA:CPU frees the temporary arrays of a step at its end. glibc then returns their pages to the kernel, which clears them
again for the next step: a quarter of the time of a ResNet-20. `tune` makes glibc keep them, at the cost of memory that
stays with the process. Other C libraries are not touched. JAX takes three quarters of a GPU's memory when it starts, so
that a second process would find none; `tune` makes it take what it needs, as it needs it.
"""

import contextlib
import ctypes
import itertools
import logging
import os
import platform
import re
import signal
import sys
import threading
import time
import warnings
from typing import Any

from cnn_jax.errors import RequestError, quote

VARIABLE = "CNN_JAX_TUNE"
PROCESSES = "CNN_JAX_PROCESSES"
BEAT_SECONDS, DEAD_SECONDS, GRACE_SECONDS = 2.0, 15.0, 8.0
END_SECONDS = 7 * 86400  # that a process waits at its end for others that still train
GPU_MEMORY = "XLA_PYTHON_CLIENT_"
# mallopt(3): parameter, value. One heap for all threads, also for large arrays, never returned to the kernel.
MALLOC = {"M_ARENA_MAX": (-8, 1), "M_MMAP_THRESHOLD": (-3, 1 << 30), "M_TRIM_THRESHOLD": (-1, 2**31 - 1)}


_applied: tuple[str, ...] = ()
QUICK_COMPILATION = "xla_backend_optimization_level"


def tune() -> None:
    """Applies the settings, unless CNN_JAX_TUNE=off. Called only by commands, which own their process."""
    global _applied
    if os.environ.get(VARIABLE) == "off":
        return
    if not any(name.startswith(GPU_MEMORY) for name in os.environ):  # the user's own setting stands
        os.environ[f"{GPU_MEMORY}PREALLOCATE"] = "false"
    if platform.libc_ver()[0] != "glibc":
        return
    mallopt = ctypes.CDLL(None).mallopt
    _applied = tuple(name for name, setting in MALLOC.items() if mallopt(*setting))


def compile_quickly() -> None:
    """Lets XLA compile with few of LLVM's optimisations, unless the user's flags say otherwise. For commands that
    compile many programs and run each for a moment; the native operations are compiled before."""
    flags = os.environ.get("XLA_FLAGS", "")
    if QUICK_COMPILATION not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} --{QUICK_COMPILATION}=1".strip()


def settings() -> tuple[str, ...]:
    """The names of the settings that `tune` has applied to this process."""
    return _applied


class _HostLogging(contextlib.ContextDecorator):
    """Wraps calls of Orbax and TFDS, which log through absl: absl adds a handler to the root logger if there is none.
    When the last concurrent call ends, the handler is removed."""

    def __init__(self) -> None:
        self._lock, self._inside, self._before = threading.Lock(), 0, list[logging.Handler]()

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._before = list(logging.root.handlers)
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                for handler in [new for new in logging.root.handlers if new not in self._before]:
                    logging.root.removeHandler(handler)


host_logging = _HostLogging()


def quieten_orbax() -> None:
    """Suppresses what Orbax logs through absl from its threads (tracebacks of 60 lines) and warnings about coroutines
    it leaves behind; it also raises these errors, so they are still reported. Other warnings are shown. Called only by
    commands."""
    warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
    handler = logging.StreamHandler()
    handler.setLevel(logging.WARNING)
    handler.addFilter(lambda record: record.name != "absl")
    logging.root.addHandler(handler)


def join_processes() -> None:
    """Joins a cluster of processes if $CNN_JAX_PROCESSES is set: to `auto` (SLURM, TPU pods and others that JAX
    detects) or `HOST:PORT,COUNT,INDEX` with the address of the first of COUNT processes and this one's index. Raises
    RequestError for other values or if joining fails."""
    setting = os.environ.get(PROCESSES)
    if not setting:
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # the death of another process is one line here
    import jax

    match = re.fullmatch(r"([^\s,]+:\d{1,5}),(\d{1,9}),(\d{1,9})", setting)
    if match is None and setting != "auto":
        raise RequestError(f"{PROCESSES} = {quote(setting)}: write auto, or HOST:PORT,COUNT,INDEX")
    jax.config.update("jax_enable_preemption_service", False)  # it would catch SIGTERM, which here saves the run
    try:
        if match is None:
            jax.distributed.initialize(shutdown_timeout_seconds=END_SECONDS)
        else:
            address, count, index = match[1], int(match[2]), int(match[3])
            jax.distributed.initialize(address, count, index, shutdown_timeout_seconds=END_SECONDS)
    except (RuntimeError, ValueError) as error:
        raise RequestError(f"{PROCESSES} = {setting}: {str(error).splitlines()[0]}") from error
    threading.Thread(target=_watch, name="watch over processes", daemon=True).start()


_ended = threading.Event()  # set once this process has reported how it ended
_exit_code = 0


def leave_processes(code: int) -> None:
    """Tells the other processes of the cluster, if any, the exit code of this one."""
    global _exit_code
    _exit_code = code
    _ended.set()
    if "jax" in sys.modules and (client := _cluster().client) is not None:
        with contextlib.suppress(RuntimeError):
            client.key_value_set(f"cnn_jax/{_cluster().process_id}", f"ended {code}", allow_overwrite=True)


def _cluster() -> Any:
    from jax._src.distributed import global_state  # the key-value store has no public name

    return global_state


def _watch() -> None:
    """Sends heartbeats, and ends this process if another has died or failed: it would otherwise wait forever, or be
    aborted by JAX. (If the first process dies, which holds the store, JAX aborts the others at once.)"""
    client, count, index = _cluster().client, _cluster().num_processes, _cluster().process_id
    last_seen = {other: ("", time.monotonic()) for other in range(count) if other != index}
    with contextlib.suppress(RuntimeError):  # the store is gone: the cluster has ended
        for beat in itertools.count():
            if not _ended.is_set():
                client.key_value_set(f"cnn_jax/{index}", str(beat), allow_overwrite=True)
            beats = dict(client.key_value_dir_get("cnn_jax/"))
            for other, (last, since) in last_seen.items():
                value = beats.get(f"cnn_jax/{other}", "")
                if value != last:
                    last_seen[other] = value, time.monotonic()
                elif value.startswith("ended") and value not in ("ended 0", "ended 130", "ended 143"):
                    _end(f"process {other} of {count} has failed")
                elif value != "ended 0" and time.monotonic() - since > DEAD_SECONDS:
                    what = "was interrupted" if value.startswith("ended") else "has died"
                    _end(f"process {other} of {count} {what}: no sign of it for {DEAD_SECONDS:.0f} s")
            time.sleep(BEAT_SECONDS)


def _end(reason: str) -> None:
    """Ends this process by SIGTERM, so that runs are saved first, and forcibly after GRACE_SECONDS; at once if it has
    ended and only waits for the others."""
    if _ended.is_set():
        os._exit(_exit_code)
    with contextlib.suppress(OSError):
        print(f"error: {reason}; start all processes again with --resume", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    os._exit(1)
