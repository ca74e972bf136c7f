"""What is set in this process before the first computation, and why.

XLA:CPU frees the temporary arrays of a step when it ends, and the C library of Linux then gives their pages back to the
kernel, which clears them anew for the next step: a quarter of the time of a ResNet-20. Kept, they cost nothing but
memory that stays with the process. Other C libraries are left alone.
"""

import ctypes
import functools
import os
import platform
import re

from cnn_jax.errors import RequestError

VARIABLE = "CNN_JAX_TUNE"
PROCESSES = "CNN_JAX_PROCESSES"
# mallopt(3): parameter, value. One heap for all threads, large arrays on it too, never given back.
MALLOC = {"M_ARENA_MAX": (-8, 1), "M_MMAP_THRESHOLD": (-3, 1 << 30), "M_TRIM_THRESHOLD": (-1, 2**31 - 1)}


@functools.cache
def tune() -> tuple[str, ...]:
    """Applies the settings once and returns the names of those that hold; none with CNN_JAX_TUNE=off."""
    if os.environ.get(VARIABLE) == "off" or platform.libc_ver()[0] != "glibc":
        return ()
    mallopt = ctypes.CDLL(None).mallopt
    return tuple(name for name, setting in MALLOC.items() if mallopt(*setting))


def join_processes() -> None:
    """Joins the processes of a cluster, where $CNN_JAX_PROCESSES says so: `auto` (SLURM, a TPU pod and what else JAX
    knows), or `HOST:PORT,COUNT,INDEX` with the address of the first of COUNT processes and this one's number."""
    wanted = os.environ.get(PROCESSES)
    if not wanted:
        return
    import jax

    found = re.fullmatch(r"(\S+:\d+),(\d+),(\d+)", wanted)
    if found is None and wanted != "auto":
        raise RequestError(f"{PROCESSES} = {wanted!r}: write auto, or HOST:PORT,COUNT,INDEX")
    try:
        if found is None:
            jax.distributed.initialize()
        else:
            jax.distributed.initialize(found[1], int(found[2]), int(found[3]))
    except (RuntimeError, ValueError) as error:
        raise RequestError(f"{PROCESSES} = {wanted}: {str(error).splitlines()[0]}") from error


def settings() -> tuple[str, ...]:
    return ()
