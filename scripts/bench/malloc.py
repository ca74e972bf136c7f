"""Settings of glibc's malloc under which a step does not give its memory back to Linux and ask for it again."""

import ctypes
import sys

# From malloc.h: what is set, to what.
SETTINGS = {
    "M_MMAP_THRESHOLD": (-3, 1 << 30),  # bytes from which memory is mapped, and unmapped when freed
    "M_TRIM_THRESHOLD": (-1, 2**31 - 1),  # bytes that may lie free at the top of the heap
    "M_ARENA_MAX": (-8, 1),  # one heap for all threads, so that one thread's free memory is another's
}


def keep_memory() -> dict[str, bool]:
    """Sets them for this process, and returns which were accepted. To be called before anything is computed."""
    if not sys.platform.startswith("linux"):
        raise RuntimeError("malloc settings are those of glibc, but this is no Linux")
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        raise RuntimeError("malloc settings are those of glibc, but this C library has no mallopt")
    return {name: bool(mallopt(number, value)) for name, (number, value) in SETTINGS.items()}
