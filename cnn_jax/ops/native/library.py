"""The native library: built with the system's compiler if it is missing from the cache, and loaded once.

Its folder is named by the sha256 of everything it depends on: sources, compiler, flags, processor, jaxlib. So a library
built elsewhere or from other sources is never used; a damaged one is detected by its own sha256.
"""

import concurrent.futures
import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import jax
import jaxlib
from filelock import FileLock

from cnn_jax.paths import cache_root
from cnn_jax.waiting import waiting

HERE = Path(__file__).parent
UNITS = ("tile", "forward", "gradients", "norm", "pooling", "random")
HANDLERS = (
    "cnn_forward", "cnn_forward_pooled", "cnn_data_gradient", "cnn_data_gradient_pooled", "cnn_kernel_gradient",
    "cnn_kernel_gradient_pooled", "cnn_max_pool", "cnn_unpool", "cnn_bias_gradient", "cnn_moments",
    "cnn_affine_gradient", "cnn_threefry",
)  # fmt: skip
NATIVE = "-mcpu=native" if platform.machine() in ("aarch64", "arm64") else "-march=native"
FLAGS = ("-std=c++17", "-O3", NATIVE, "-fPIC", "-Wno-psabi")
MORE_FLAGS = "CNN_JAX_CXXFLAGS"  # environment variable with further flags: other vectors, sanitizers
_lock = threading.Lock()


class Unavailable(Exception):
    """The native library is unavailable; the message says why in a few words."""


def available() -> bool:
    """Whether the native operations can be used. Builds and loads them on the first call; if that fails, says so once,
    in one line on standard error."""
    return unavailable_because() is None


def unavailable_because() -> str | None:
    """None if the native operations can be used, else the reason why not."""
    with _lock:
        return _load()


def vectors() -> str | None:
    """The kind of vectors that the library was built for, as "avx512", "avx2", "sse" or "neon"; None without one."""
    if not available():
        return None
    name = ctypes.CDLL(str(build())).cnn_vectors
    name.restype = ctypes.c_char_p
    return name().decode()


@functools.cache
def _load() -> str | None:
    try:
        library = ctypes.CDLL(str(build()))
        for name in HANDLERS:
            jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(getattr(library, name)), platform="cpu")
    except (Unavailable, OSError, AttributeError) as error:
        reason = " ".join(str(error).split())
        print(f"cnn_jax: no native operations ({reason}); the pure JAX ones are used", file=sys.stderr, flush=True)
        return reason
    return None


def build() -> Path:
    """The path of the library, which is built if it is missing or damaged. One process builds, others wait for it."""
    compiler = find_compiler()
    folder = cache_root() / "native" / key(compiler)
    if not _is_intact(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if not _is_intact(folder):
                with waiting("cnn_jax: building the native operations, once", after=0.0):
                    _compile(compiler, folder)
    return folder / "ops.so"


def find_compiler() -> str:
    """$CXX or the first C++ compiler on PATH."""
    for name in (os.environ.get("CXX"), "c++", "g++", "clang++"):
        if name and (path := shutil.which(name)):
            return path
    raise Unavailable("there is no C++ compiler on PATH")


def key(compiler: str) -> str:
    """The first 16 hex digits of the sha256 of everything that the binary depends on."""
    digest = hashlib.sha256()
    for path in sorted(HERE.glob("*.h")) + sorted(HERE.glob("*.cc")):
        digest.update(path.name.encode() + path.read_bytes())
    identity = subprocess.run([compiler, "--version"], capture_output=True, text=True).stdout
    for part in (compiler, identity, *_flags(), processor(), jaxlib.__version__, platform.libc_ver()):
        digest.update(f"\0{part}".encode())
    return digest.hexdigest()[:16]


def _flags() -> tuple[str, ...]:
    return (*FLAGS, *os.environ.get(MORE_FLAGS, "").split())


def processor() -> str:
    """The processor's model and instruction sets."""
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    fields = ("model name", "flags", "Features", "CPU implementer", "CPU part")
    return platform.machine() + "".join(line for line in lines if line.startswith(fields))


def _is_intact(folder: Path) -> bool:
    try:
        return (folder / "sha256").read_text() == _sha256(folder / "ops.so")
    except OSError:
        return False


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _compile(compiler: str, folder: Path) -> None:
    """Builds in a temporary folder and renames it, so that `folder` never exists without a complete library."""
    shutil.rmtree(folder, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="building-") as work:
        include = ["-isystem", jax.ffi.include_dir()]

        def run(*arguments: str) -> None:
            done = subprocess.run([compiler, *arguments], capture_output=True, text=True, cwd=work)
            if done.returncode:
                errors = [line for line in done.stderr.splitlines() if "error" in line] or [
                    f"exit code {done.returncode}"
                ]
                raise Unavailable(f"{compiler} failed: {errors[0]}")

        with concurrent.futures.ThreadPoolExecutor(len(UNITS)) as threads:
            jobs = [threads.submit(run, *_flags(), *include, "-c", str(HERE / f"{unit}.cc")) for unit in UNITS]
            for job in jobs:
                job.result()
        run(*_flags(), "-shared", *(f"{unit}.o" for unit in UNITS), "-o", "ops.so")
        result = Path(work) / "result"
        result.mkdir()
        (Path(work) / "ops.so").rename(result / "ops.so")
        (result / "sha256").write_text(_sha256(result / "ops.so"))
        result.rename(folder)
