"""Describes how a program runs: its script, user code, repository, versions, device.

Changes no settings. Copies every code file outside installed packages and every uncommitted change, so that a record
refers only to content that is available.
"""

import datetime
import functools
import hashlib
import importlib.metadata
import os
import platform
import resource
import shlex
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

import cnn_jax
from cnn_jax import plugins, registry, runtime
from cnn_jax.runs.schema import Provenance, Repository, Source

ROOT = Path(cnn_jax.__file__).resolve().parent.parent
CODE = "code"  # the folder of the copies, beside the record
VARIABLES = ("XLA_", "JAX_", "CNN_JAX_", "CUDA_", "NVIDIA_TF32", "TF_", "OMP_", "OPENBLAS_", "LIBTPU_")
Attachments = dict[str, bytes]  # files to write beside the record, by name


def utc_now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def provenance() -> tuple[Provenance, Attachments]:
    """The current provenance and the files it refers to. Needs an initialised backend; works without git."""
    attachments: Attachments = {}
    repository = repository_of(ROOT, attachments)
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    script = None
    if main is not None and Path(main).is_file():  # '<stdin>' for a script on standard input
        script = _source(Path(main), attachments)
    elif "-c" in sys.orig_argv[:-1]:
        script = _typed(sys.orig_argv[sys.orig_argv.index("-c") + 1], attachments)
    return (
        Provenance(
            argv=tuple(sys.argv),
            command=shlex.join(["scripts/run", *_relative(sys.argv)]),
            started=utc_now(),
            repository=repository,
            script=script,
            modules=tuple(_source(path, attachments) for path in _modules_beside() if str(path) != main),
            versions=versions(),
            lock_sha256=_lock(),
            device=device(),
            driver=_driver(),
            environment={name: value for name, value in sorted(os.environ.items()) if name.startswith(VARIABLES)},
            settings=tuple(runtime.settings()),
            plugins=tuple(_source(path, attachments) for path in plugins.known(registry.ORIGINS).values()),
        ),
        attachments,
    )


def _relative(argv: list[str]) -> list[str]:
    """argv with the script relative to the project's root, if it is inside."""
    script = Path(argv[0]).resolve()
    if script == ROOT / "cnn_jax" / "__main__.py":
        return ["-m", "cnn_jax", *argv[1:]]
    return [str(script.relative_to(ROOT)) if script.is_relative_to(ROOT) else argv[0], *argv[1:]]


def _git(root: Path, *arguments: str) -> bytes | None:
    """The output of git; None if it fails or is not installed."""
    try:
        return subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None


def repository_of(root: Path, attachments: Attachments) -> Repository | None:
    """The repository at this root, or None; uncommitted changes are attached."""
    if not (root / ".git").exists():
        return None
    commit = _git(root, "rev-parse", "HEAD")
    status = _git(root, "status", "--porcelain", "--untracked-files=all")
    diff = _git(root, "diff", "HEAD", "--binary")
    if commit is None or status is None or diff is None:
        return None
    lines = status.decode(errors="replace").splitlines()
    if diff:
        attachments["uncommitted.diff"] = diff
    return Repository(
        root=root.name,
        commit=commit.decode().strip(),
        modified=tuple(line[3:] for line in lines if not line.startswith("??")),
        untracked=tuple(line[3:] for line in lines if line.startswith("??")),
        diff="uncommitted.diff" if diff else None,
    )


def _source(path: Path, attachments: Attachments) -> Source:
    """Describes a code file and attaches its content."""
    path = path.resolve()
    content = path.read_bytes()
    return Source(_shown(path), *_attach(path.name, content, attachments), _commit_of(path))


def _typed(code: str, attachments: Attachments) -> Source:
    """Describes code given with `python -c` and attaches it."""
    return Source("-c", *_attach("command.py", code.encode(), attachments), None)


def _attach(name: str, content: bytes, attachments: Attachments) -> tuple[str, str]:
    """Returns (sha256, name of the copy). Files with the same name but different content get different names."""
    sha256 = hashlib.sha256(content).hexdigest()
    copy = f"{CODE}/{name}"
    if attachments.get(copy, content) != content:
        copy = f"{CODE}/{sha256[:12]}-{name}"
    attachments[copy] = content
    return sha256, copy


def _shown(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def _commit_of(path: Path) -> str | None:
    """The checked-out commit if it has the current content of the file, else None."""
    commit = _git(path.parent, "rev-parse", "HEAD")
    if commit is None or _git(path.parent, "ls-files", "--error-unmatch", path.name) is None:
        return None
    return commit.decode().strip() if _git(path.parent, "diff", "HEAD", "--", path.name) == b"" else None


def last_commit(path: Path) -> tuple[str, str] | None:
    """The last commit that changed a file, and its time; None if the file is not committed as it is."""
    if _commit_of(path) is None:
        return None
    commit, time = (_git(path.parent, "log", "-1", "--format=%H %cI", "--", path.name) or b"").decode().split()
    return commit, time


def _modules_beside() -> Iterator[Path]:
    """Yields the files of imported modules that are part of neither Python, nor an installed package, nor the tracked
    files of this package's repository."""
    folders = {os.path.realpath(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    installed = tuple(f"{folder}{os.sep}" for folder in folders)
    tracked = {f"{ROOT}/{name}" for name in (_git(ROOT, "ls-files", "-z", "*.py") or b"").decode().split("\0")}
    files = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    for file in sorted(file for file in files if isinstance(file, str) and file.endswith(".py")):
        path = os.path.realpath(file)
        if not path.startswith(installed) and path not in tracked and os.path.isfile(path):
            yield Path(path)


@functools.cache
def _installed() -> dict[str, str]:
    parsed = (package.metadata for package in importlib.metadata.distributions())
    versions = {metadata["Name"]: metadata["Version"] for metadata in parsed}
    return dict(sorted(versions.items(), key=lambda item: item[0].lower()))


def versions() -> dict[str, str]:
    """The versions of Python, this package and every installed distribution."""
    return {"python": platform.python_version(), "cnn_jax": cnn_jax.__version__, **_installed()}


def _lock() -> str | None:
    """The sha256 of the pinned requirements of this environment; None if there are none."""
    accelerator = ROOT / ".venv" / "accelerator"
    name = accelerator.read_text().strip() if accelerator.is_file() else "cpu"
    path = ROOT / "requirements" / f"{name}.txt"
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def device() -> dict[str, Any]:
    """JAX's devices and the host's processor."""
    devices = jax.local_devices()
    return {
        "backend": jax.default_backend(),
        "kind": devices[0].device_kind,
        "count": len(devices),
        "processes": jax.process_count(),
        "cpu": cpu_model(),
        "platform": platform.platform(),
    }


@functools.cache
def _driver() -> str | None:
    """The version of the GPU driver; None without a GPU."""
    if jax.default_backend() != "gpu":
        return None
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(query, capture_output=True, check=True, text=True).stdout.splitlines()[0].strip()
    except (OSError, subprocess.CalledProcessError, IndexError):
        return None


@functools.cache
def cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]}, {len(names)} processors" if names else platform.machine()


def peak_memory() -> dict[str, int]:
    """The peak memory so far in bytes: of the process, and of each device that reports it."""
    unit = 1 if sys.platform == "darwin" else 1024
    peak = {"process_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit}
    for device in jax.local_devices():
        stats = device.memory_stats() or {}
        if "peak_bytes_in_use" in stats:
            peak[f"device_{device.id}_bytes"] = stats["peak_bytes_in_use"]
    return peak
