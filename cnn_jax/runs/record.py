"""The record of a run: what someone else needs to run it again, and to judge its numbers."""

import datetime
import functools
import importlib.metadata
import platform
import resource
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax

import cnn_jax
from cnn_jax import runtime
from cnn_jax.data import Dataset
from cnn_jax.errors import RequestError
from cnn_jax.runs.folder import Folder
from cnn_jax.training.config import Config
from cnn_jax.training.state import PRNG

PACKAGES = (
    *("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "scipy"),
    *("tensorflow-datasets", "array_record", "grain", "pillow"),
)
ROOT = Path(cnn_jax.__file__).resolve().parent.parent


def utc_now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def provenance() -> dict[str, Any]:
    """Where the program runs: command, code, versions, device. Needs a started backend, works without git."""
    git = git_state()
    return {
        "argv": sys.argv,
        "command": shlex.join(["scripts/run", *_relative(sys.argv)]),
        "started": utc_now(),
        "git": git and {name: value for name, value in git.items() if name != "diff"},
        "versions": versions(),
        "device": device(),
        "settings": list(runtime.settings()),
    }


def _relative(argv: list[str]) -> list[str]:
    """argv with the script as a path from the project's root, where it lies there."""
    script = Path(argv[0]).resolve()
    if script == ROOT / "cnn_jax" / "__main__.py":
        return ["-m", "cnn_jax", *argv[1:]]
    return [str(script.relative_to(ROOT)) if script.is_relative_to(ROOT) else argv[0], *argv[1:]]


@functools.cache
def git_state() -> dict[str, Any] | None:
    """The commit, whether the tree was dirty, which tracked files were changed, the diff against the commit and the
    names of untracked files; None where the code does not lie in a git checkout or there is no git."""
    if not (ROOT / ".git").exists():
        return None

    def git(*arguments: str) -> str:
        return subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, check=True).stdout.decode(
            errors="replace"
        )

    try:
        commit = git("rev-parse", "HEAD").strip()
        status = git("status", "--porcelain", "--untracked-files=all").splitlines()
        diff = git("diff", "HEAD", "--binary")
    except (OSError, subprocess.CalledProcessError):
        return None
    untracked = [line[3:] for line in status if line.startswith("??")]
    modified = [line[3:] for line in status if not line.startswith("??")]
    return {"commit": commit, "dirty": bool(status), "modified": modified, "untracked": untracked, "diff": diff}


def versions() -> dict[str, str]:
    """Of Python, this package and what its numbers depend on; a package that is not installed is left out."""
    found = {"python": platform.python_version(), "cnn_jax": cnn_jax.__version__}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def device() -> dict[str, Any]:
    devices = jax.local_devices()
    return {
        "backend": jax.default_backend(),
        "kind": devices[0].device_kind,
        "count": len(devices),
        "processes": jax.process_count(),
        "cpu": cpu_model(),
        "platform": platform.platform(),
    }


def cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]}, {len(names)} processors" if names else platform.machine()


def peak_memory() -> dict[str, int]:
    """The most memory held so far, in bytes: of the process, and of each device that keeps count."""
    unit = 1 if sys.platform == "darwin" else 1024
    found = {"process_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit}
    for one in jax.local_devices():
        stats = one.memory_stats() or {}
        if "peak_bytes_in_use" in stats:
            found[f"device_{one.id}_bytes"] = stats["peak_bytes_in_use"]
    return found


def run_record(provenance: dict[str, Any], config: Config, dataset: Dataset, choices: dict[str, Any]) -> dict[str, Any]:
    """record.json of a run at its start; times and memory are added when it ends."""
    return {
        **provenance,
        "config": config.to_json(),
        "config_hash": config.hash(),
        "seeds": {"run": config.seed, "split": config.split_seed, "prng": PRNG},
        "precision": config.precision,
        "choices": choices,
        "data": data_record(dataset),
    }


def begin(folder: Folder, made: dict[str, Any]) -> dict[str, Any]:
    """Writes a run's or a sweep's record as it begins, or adds this process to the record that is there. The changes
    of a dirty tree go beside it. RequestError if it cannot go on here: other choices or other data round differently.
    """
    suffix = ""
    kept = made
    if folder.has("record.json"):
        kept = folder.read_json("record.json")
        for what in ("choices", "data"):
            old, new = kept[what], made[what]
            if changed := [f"{key}: {old.get(key)} -> {new[key]}" for key in new if old.get(key) != new[key]]:
                raise RequestError(f"{folder.path} cannot go on here, its {what} differ: {'; '.join(changed)}")
        again = {name: made[name] for name in ("argv", "command", "started", "git", "versions", "device")}
        kept["resumed"] = [*kept.get("resumed", []), again]
        suffix = f"-{len(kept['resumed'])}"
    git = git_state()
    if git and git["diff"]:
        folder.write_text(f"uncommitted{suffix}.diff", git["diff"])
    folder.write_json("record.json", kept)
    return kept


def data_record(dataset: Dataset) -> dict[str, Any]:
    return {
        "name": dataset.name,
        "sha256": dataset.fingerprint,
        "image_shape": list(dataset.image_shape),
        "class_names": list(dataset.class_names),
        "mean": dataset.mean.tolist(),
        "std": dataset.std.tolist(),
        "splits": {name: len(getattr(dataset, name)) for name in ("train", "validation", "test")},
        "source": dataset.source,
    }
