"""What belongs to the process: settings that a command of this package makes before its first computation (the library
never does), the cluster it joins, and what it gives back to a host program.

XLA:CPU frees the temporary arrays of a step when it ends, and the C library of Linux then gives their pages back to the
kernel, which clears them anew for the next step: a quarter of the time of a ResNet-20. Kept, they cost nothing but
memory that stays with the process. Other C libraries are left alone.
"""

import contextlib
import ctypes
import logging
import os
import platform
import re
import threading
import warnings

from cnn_jax.errors import RequestError, quote

VARIABLE = "CNN_JAX_TUNE"
PROCESSES = "CNN_JAX_PROCESSES"
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

    found = re.fullmatch(r"(\S+:\d+),(\d+),(\d+)", wanted)
    if found is None and wanted != "auto":
        raise RequestError(f"{PROCESSES} = {quote(wanted)}: write auto, or HOST:PORT,COUNT,INDEX")
    try:
        if found is None:
            jax.distributed.initialize()
        else:
            jax.distributed.initialize(found[1], int(found[2]), int(found[3]))
    except (RuntimeError, ValueError) as error:
        raise RequestError(f"{PROCESSES} = {wanted}: {str(error).splitlines()[0]}") from error
