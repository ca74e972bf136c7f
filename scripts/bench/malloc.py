"""Settings of glibc's malloc with which a step does not return its memory to Linux and request it again."""

import ctypes
import sys

# From malloc.h: (parameter number, value).
SETTINGS = {
    "M_MMAP_THRESHOLD": (-3, 1 << 30),  # bytes from which memory is mapped, and unmapped when freed
    "M_TRIM_THRESHOLD": (-1, 2**31 - 1),  # free bytes kept at the top of the heap
    "M_ARENA_MAX": (-8, 1),  # one heap for all threads, so that they share free memory
}


def keep_memory() -> dict[str, bool]:
    """Applies the settings to this process and returns which were accepted. Call it before any computation."""
    if not sys.platform.startswith("linux"):
        raise RuntimeError("malloc settings are those of glibc, but this is no Linux")
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        raise RuntimeError("malloc settings are those of glibc, but this C library has no mallopt")
    return {name: bool(mallopt(number, value)) for name, (number, value) in SETTINGS.items()}
