"""What belongs to the process: settings that a command of this package makes before its first computation (the library
never does), the cluster it joins, and what it gives back to a host program.

XLA:CPU frees the temporary arrays of a step when it ends, and the C library of Linux then gives their pages back to the
kernel, which clears them anew for the next step: a quarter of the time of a ResNet-20. Kept, they cost nothing but
memory that stays with the process. Other C libraries are left alone.
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
END_SECONDS = 7 * 86400  # that a process waits at its end for the others, which may still train
# mallopt(3): parameter, value. One heap for all threads, large arrays on it too, never given back.
MALLOC = {"M_ARENA_MAX": (-8, 1), "M_MMAP_THRESHOLD": (-3, 1 << 30), "M_TRIM_THRESHOLD": (-1, 2**31 - 1)}


_applied: tuple[str, ...] = ()


def tune() -> None:
    """Applies the settings; none with CNN_JAX_TUNE=off. Only a command calls this: its process is its own."""
    global _applied
    if os.environ.get(VARIABLE) == "off" or platform.libc_ver()[0] != "glibc":
        return
    mallopt = ctypes.CDLL(None).mallopt
    _applied = tuple(name for name, setting in MALLOC.items() if mallopt(*setting))


def settings() -> tuple[str, ...]:
    """The names of the settings that `tune` has applied to this process. Sets nothing."""
    return _applied


class _HostLogging(contextlib.ContextDecorator):
    """Around calls of Orbax and TFDS: they log through absl, which gives the root logger a handler where the host has
    none. The last to leave takes it away again."""

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
                for handler in [one for one in logging.root.handlers if one not in self._before]:
                    logging.root.removeHandler(handler)


host_logging = _HostLogging()


def quieten_orbax() -> None:
    """Lets other warnings through, but not what Orbax logs through absl from its threads, tracebacks of 60 lines, nor
    the coroutines that it leaves behind: it raises the same errors where they can be told in one line. Only a command
    calls this."""
    warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
    handler = logging.StreamHandler()
    handler.setLevel(logging.WARNING)
    handler.addFilter(lambda record: record.name != "absl")
    logging.root.addHandler(handler)


def join_processes() -> None:
    """Joins the processes of a cluster, where $CNN_JAX_PROCESSES says so: `auto` (SLURM, a TPU pod and what else JAX
    knows), or `HOST:PORT,COUNT,INDEX` with the address of the first of COUNT processes and this one's number."""
    wanted = os.environ.get(PROCESSES)
    if not wanted:
        return
    import jax

    found = re.fullmatch(r"([^\s,]+:\d{1,5}),(\d{1,9}),(\d{1,9})", wanted)
    if found is None and wanted != "auto":
        raise RequestError(f"{PROCESSES} = {quote(wanted)}: write auto, or HOST:PORT,COUNT,INDEX")
    try:
        if found is None:
            jax.distributed.initialize(shutdown_timeout_seconds=END_SECONDS)
        else:
            address, count, index = found[1], int(found[2]), int(found[3])
            jax.distributed.initialize(address, count, index, shutdown_timeout_seconds=END_SECONDS)
    except (RuntimeError, ValueError) as error:
        raise RequestError(f"{PROCESSES} = {wanted}: {str(error).splitlines()[0]}") from error
    threading.Thread(target=_watch, name="watch over processes", daemon=True).start()


_ended = threading.Event()  # this process has said how it ended


def leave_processes(code: int) -> None:
    """Tells the other processes of the cluster, if there is one, that this one ends with an exit code."""
    _ended.set()
    if "jax" in sys.modules and (client := _cluster().client) is not None:
        with contextlib.suppress(RuntimeError):
            client.key_value_set(f"cnn_jax/{_cluster().process_id}", f"ended {code}", allow_overwrite=True)


def _cluster() -> Any:
    from jax._src.distributed import global_state  # there is no public name for its store of keys

    return global_state


def _watch() -> None:
    """Shows the other processes that this one lives, and ends it where another has died or failed: it would wait for
    ever, or JAX would abort it. (Where the first dies, which keeps the store, JAX aborts the others at once.)"""
    client, count, index = _cluster().client, _cluster().num_processes, _cluster().process_id
    seen = {other: ("", time.monotonic()) for other in range(count) if other != index}
    with contextlib.suppress(RuntimeError):  # the store has gone: the cluster is at its end
        for beat in itertools.count():
            if not _ended.is_set():
                client.key_value_set(f"cnn_jax/{index}", str(beat), allow_overwrite=True)
            said = dict(client.key_value_dir_get("cnn_jax/"))
            for other, (last, since) in seen.items():
                word = said.get(f"cnn_jax/{other}", "")
                if word != last:
                    seen[other] = word, time.monotonic()
                elif word.startswith("ended") and word not in ("ended 0", "ended 130", "ended 143"):
                    _end(f"process {other} of {count} has failed")
                elif not word.startswith("ended") and time.monotonic() - since > DEAD_SECONDS:
                    _end(f"process {other} of {count} has died: no sign of it for {DEAD_SECONDS:.0f} s")
            time.sleep(BEAT_SECONDS)


def _end(reason: str) -> None:
    """Ends this process as a scheduler would: what trains is saved first, if that can be done in GRACE_SECONDS."""
    with contextlib.suppress(OSError):
        print(f"error: {reason}; start all processes again with --resume", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    os._exit(1)
