"""A cache of compiled programs on disk, so that a process need not compile again what an earlier one has.

It is JAX's own persistent cache (on a GPU with XLA's results of autotuning), whose keys hold the program, the versions,
the flags and the device. A compiled program is code: the folder belongs to the user alone.
"""

import contextlib
import hashlib
import os
import stat
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import filelock

from cnn_jax.paths import cache_root
from cnn_jax.waiting import print_note

VARIABLE = "CNN_JAX_COMPILE_CACHE"
MAX_BYTES = 2**30  # the programs not used for longest are removed
SETTINGS = {
    "jax_compilation_cache_max_size": MAX_BYTES,
    "jax_persistent_cache_min_compile_time_secs": 0.1,  # adding a program takes time that grows with their number
}
HITS, MISSES = "/jax/compilation_cache/cache_hits", "/jax/compilation_cache/cache_misses"
_enabled = False
_counts: dict[str, int] = {}


def enable() -> None:
    """Lets JAX keep compiled programs, unless $CNN_JAX_COMPILE_CACHE is `off`, or the user has named a folder of their
    own for them ($JAX_COMPILATION_CACHE_DIR). Called only by commands, which own their process."""
    global _enabled
    if os.environ.get(VARIABLE) == "off" or _enabled:
        return
    settings: dict[str, str | int | float] = {}
    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        folder = cache_root() / "compilations" / _machine()
        if (reason := _refusal(folder)) is not None:
            print_note(f"compiled programs are not kept: {reason}")
            return
        settings = {"jax_compilation_cache_dir": str(folder), **SETTINGS}
        _remove_broken(folder)
    import jax
    from jax.experimental.compilation_cache import compilation_cache

    for name, value in settings.items():
        if name.upper() not in os.environ:
            jax.config.update(name, value)
    # A program that cannot be kept or read is compiled, as without a cache; the run itself reports a full disk.
    warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache entry", UserWarning)
    compilation_cache.reset_cache()  # JAX looks for a cache only once, and a plugin may have computed something
    jax.monitoring.register_event_listener(_count)
    _enabled = True


def _remove_broken(folder: Path) -> None:
    """Removes what a process has left that was killed, or had no space, as it wrote a program: JAX writes the program
    and then, in another file, the time of its last use, holding a lock; without the second the first cannot be trusted
    and JAX could not add any other."""
    with contextlib.suppress(OSError, filelock.Timeout), filelock.FileLock(folder / ".lockfile", timeout=10):
        for program in folder.glob("*-cache"):
            if not program.with_name(program.name.removesuffix("-cache") + "-atime").exists():
                program.unlink()


def counts() -> dict[str, int] | None:
    """How many programs this process has taken from the cache, and how many it has compiled and added; None if it has
    no cache."""
    return {"hits": _counts.get(HITS, 0), "misses": _counts.get(MISSES, 0)} if _enabled else None


def _count(event: str, **_: object) -> None:
    if event in (HITS, MISSES):
        _counts[event] = _counts.get(event, 0) + 1


def _machine() -> str:
    """What JAX's keys do not hold: the processor, for whose instructions XLA compiles, and the driver of the GPU."""
    digest = hashlib.sha256()
    for text in _facts():
        digest.update(text.encode() + b"\0")
    return digest.hexdigest()[:16]


def _facts() -> Iterator[str]:
    yield sys.platform
    for path in ("/proc/cpuinfo", "/proc/driver/nvidia/version"):
        try:
            lines = Path(path).read_text().split("\n\n")[0].splitlines()
        except OSError:
            continue
        named = ("model name", "flags", "Features", "CPU implementer", "CPU part", "NVRM version")
        yield from (line for line in lines if line.startswith(named))


def _refusal(folder: Path) -> str | None:
    """Why `folder`, which is created, cannot be trusted; None if it can."""
    try:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        for path in (folder, folder.parent):
            status = path.stat()
            if status.st_uid != os.getuid():
                return f"{path} belongs to another user"
            if stat.S_IMODE(status.st_mode) & 0o022:
                return f"{path} can be written by others"
    except OSError as error:
        return f"{error.filename or folder}: {error.strerror}"
    return None
