"""A cache of arrays: one folder per key, written under a temporary name and renamed, so never incomplete."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from filelock import FileLock

from cnn_jax.data.split import Parts, Split
from cnn_jax.errors import DataError
from cnn_jax.paths import cache_root

LAYOUT = "v2"  # change it when the same input no longer gives the same arrays


def cached(key: str, make: Callable[[], Parts]) -> Parts:
    """Returns the arrays stored under `key`; calls `make()` if they are missing, in one process at a time.

    The arrays are memory-mapped and read-only. Each is hashed on every load (0.05 s for 70,000x28x28).
    """
    folder = cache_root() / "arrays" / LAYOUT / key
    if not folder.is_dir():
        with locked(folder):
            if not folder.is_dir():
                parts = make()
                with writable():
                    _write(folder, parts)
    return _read(folder)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds the lock for creating `folder`. The kernel releases it when the process ends, however it ends."""
    with writable():
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(f"{folder}.lock")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def writable() -> Iterator[None]:
    """Turns a failure to write into a DataError that says how to choose another cache."""
    try:
        yield
    except (OSError, NotImplementedError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(
            f"cannot write the cache {cache_root()}: {reason}; set CNN_JAX_CACHE to a folder that can be written"
        ) from error


def _write(folder: Path, parts: Parts) -> None:
    partial = folder.with_name(folder.name + ".partial")  # a fixed name, so that leftovers are removed
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    hashes = {}
    for name, split in parts.splits.items():
        for kind, array in (("images", split.images), ("labels", split.labels)):
            path = partial / f"{name}_{kind}.npy"
            np.save(path, np.ascontiguousarray(array), allow_pickle=False)
            hashes[path.name] = _sha256(array)
    about = {"class_names": parts.class_names, "splits": list(parts.splits), "source": parts.source, "sha256": hashes}
    (partial / "about.json").write_text(json.dumps(about, indent=1))
    partial.rename(folder)


def _read(folder: Path) -> Parts:
    try:
        about = json.loads((folder / "about.json").read_text())
        splits = {
            name: Split(_array(folder, name, "images"), _array(folder, name, "labels")) for name in about["splits"]
        }
        digests = {
            f"{name}_{kind}.npy": _sha256(getattr(split, kind))
            for name, split in splits.items()
            for kind in ("images", "labels")
        }
        wrong = [name for name, digest in digests.items() if digest != about["sha256"][name]]
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{folder}: cached arrays are damaged ({error}); delete this folder and load again") from error
    if wrong:
        path = folder / wrong[0]
        raise DataError(f"{path}: cached array is damaged (wrong sha256); delete the folder it is in and load again")
    return Parts(splits, tuple(about["class_names"]), about["source"])


def _array(folder: Path, split: str, kind: str) -> np.ndarray:
    return np.asarray(np.load(folder / f"{split}_{kind}.npy", mmap_mode="r", allow_pickle=False))


def _sha256(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()
