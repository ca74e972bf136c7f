"""Process-wide state: settings that a command of this package makes before its first computation (the library never
does), the cluster that it joins, and the logging that it restores for a host program.

XLA:CPU frees the temporary arrays of a step at its end. The C library of Linux then returns their pages to the kernel,
which has to clear them again for the next step: a quarter of the time of a ResNet-20. `tune` makes glibc keep the
pages, at the cost of memory that stays with the process. Other C libraries are left alone.
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
BEAT_SECONDS, DEAD_SECONDS, GRACE_SECONDS = 2.0, 30.0, 20.0
END_SECONDS = 7 * 86400  # how long a finished process waits for the others, which may still train
# mallopt(3): parameter, value. One heap for all threads, also for large arrays, and never returned to the kernel.
MALLOC = {"M_ARENA_MAX": (-8, 1), "M_MMAP_THRESHOLD": (-3, 1 << 30), "M_TRIM_THRESHOLD": (-1, 2**31 - 1)}


_applied: tuple[str, ...] = ()


def tune() -> None:
    """Applies the settings, unless CNN_JAX_TUNE=off. Only commands call this, since they own their process."""
    global _applied
    if os.environ.get(VARIABLE) == "off" or platform.libc_ver()[0] != "glibc":
        return
    mallopt = ctypes.CDLL(None).mallopt
    _applied = tuple(name for name, setting in MALLOC.items() if mallopt(*setting))


def settings() -> tuple[str, ...]:
    """The names of the settings that `tune` has applied to this process."""
    return _applied


class _HostLogging(contextlib.ContextDecorator):
    """Context manager around calls of Orbax and TFDS. They log through absl, which adds a handler to the root logger if
    the host has none; the last context to exit removes it."""

    def __init__(self) -> None:
        self._lock, self._depth, self._handlers = threading.Lock(), 0, list[logging.Handler]()

    def __enter__(self) -> None:
        with self._lock:
            if not self._depth:
                self._handlers = list(logging.root.handlers)
            self._depth += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._depth -= 1
            if not self._depth:
                for handler in list(logging.root.handlers):
                    if handler not in self._handlers:
                        logging.root.removeHandler(handler)


host_logging = _HostLogging()


def quieten_orbax() -> None:
    """Silences what Orbax logs through absl from its threads (tracebacks of 60 lines) and warnings about coroutines
    that it leaves behind, but no other warnings. Orbax also raises these errors, which are then reported in one line.
    Only commands call this."""
    warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
    handler = logging.StreamHandler()
    handler.setLevel(logging.WARNING)
    handler.addFilter(lambda record: record.name != "absl")
    logging.root.addHandler(handler)


def join_processes() -> None:
    """Joins the cluster given by $CNN_JAX_PROCESSES, if it is set: `auto` (SLURM, a TPU pod and whatever else JAX
    detects), or `HOST:PORT,COUNT,INDEX` with the address of the first of COUNT processes and the index of this one."""
    wanted = os.environ.get(PROCESSES)
    if not wanted:
        return
    import jax

    match = re.fullmatch(r"([^\s,]+:\d{1,5}),(\d{1,9}),(\d{1,9})", wanted)
    if match is None and wanted != "auto":
        raise RequestError(f"{PROCESSES} = {quote(wanted)}: write auto, or HOST:PORT,COUNT,INDEX")
    try:
        if match is None:
            jax.distributed.initialize(shutdown_timeout_seconds=END_SECONDS)
        else:
            address, count, index = match[1], int(match[2]), int(match[3])
            jax.distributed.initialize(address, count, index, shutdown_timeout_seconds=END_SECONDS)
    except (RuntimeError, ValueError) as error:
        raise RequestError(f"{PROCESSES} = {wanted}: {str(error).splitlines()[0]}") from error
    threading.Thread(target=_watch, name="watch over processes", daemon=True).start()


_ended = threading.Event()  # set once this process has reported its exit code


def leave_processes(code: int) -> None:
    """Tells the other processes of the cluster, if there is one, that this process ends with exit code `code`."""
    _ended.set()
    if "jax" in sys.modules and (client := _cluster().client) is not None:
        with contextlib.suppress(RuntimeError):
            client.key_value_set(f"cnn_jax/{_cluster().process_id}", f"ended {code}", allow_overwrite=True)


def _cluster() -> Any:
    from jax._src.distributed import global_state  # the key-value store has no public name

    return global_state


def _watch() -> None:
    """Sends heartbeats to the other processes, and ends this one if another has died or failed, since it would wait
    forever or be aborted by JAX. (If the first process dies, which holds the store, JAX aborts the others at once.)"""
    client, count, index = _cluster().client, _cluster().num_processes, _cluster().process_id
    seen = {other: ("", time.monotonic()) for other in range(count) if other != index}
    with contextlib.suppress(RuntimeError):  # the store is gone: the cluster has ended
        for beat in itertools.count():
            if not _ended.is_set():
                client.key_value_set(f"cnn_jax/{index}", str(beat), allow_overwrite=True)
            statuses = dict(client.key_value_dir_get("cnn_jax/"))
            for other, (last, since) in seen.items():
                status = statuses.get(f"cnn_jax/{other}", "")
                if status != last:
                    seen[other] = status, time.monotonic()
                elif status.startswith("ended") and status not in ("ended 0", "ended 130", "ended 143"):
                    _end(f"process {other} of {count} has failed")
                elif not status.startswith("ended") and time.monotonic() - since > DEAD_SECONDS:
                    _end(f"process {other} of {count} has died: no sign of it for {DEAD_SECONDS:.0f} s")
            time.sleep(BEAT_SECONDS)


def _end(reason: str) -> None:
    """Ends this process as a scheduler would: by SIGTERM, with GRACE_SECONDS for a run to save its state."""
    with contextlib.suppress(OSError):
        print(f"error: {reason}; start all processes again with --resume", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    os._exit(1)
