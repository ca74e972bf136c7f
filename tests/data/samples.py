"""Small files that look like the real ones, for tests here and for processes that tests start."""

import dataclasses
import gzip
import hashlib
import io
import struct
from pathlib import Path

import numpy as np
from PIL import Image

from cnn_jax.data import catalogue

TINY = {"train": 600, "test": 90}


def write_idx(path: Path, array: np.ndarray) -> Path:
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(gzip.compress(header + array.tobytes(), mtime=0))
    return path


def tiny_arrays() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    random = np.random.default_rng(7)
    return {
        split: (random.integers(0, 256, (n, 28, 28), dtype=np.uint8), random.integers(0, 10, n, dtype=np.uint8))
        for split, n in TINY.items()
    }


def install_tiny_mnist(folder: Path) -> None:
    """Writes idx archives of 600 and 90 random images and makes the catalogue's mnist mean them, in this process."""
    folder.mkdir(parents=True, exist_ok=True)
    files = iter(catalogue.IDX_FILES)
    for images, labels in tiny_arrays().values():
        write_idx(folder / next(files), images)
        write_idx(folder / next(files), labels)
    install(
        "mnist",
        archives=tuple(archive_of(folder / file) for file in catalogue.IDX_FILES),
        validation=100,
        **TINY,
    )


def archive_of(path: Path) -> catalogue.Archive:
    return catalogue.Archive(path.name, hashlib.sha256(path.read_bytes()).hexdigest())


def install(name: str, **changes: object) -> None:
    catalogue.CATALOGUE[name] = dataclasses.replace(catalogue.CATALOGUE[name], **changes)


def encoded(array: np.ndarray, kind: str = "png", **options: object) -> bytes:
    """The bytes of an image file of a uint8 or uint16 array."""
    file = io.BytesIO()
    Image.fromarray(array).save(file, kind, **options)
    return file.getvalue()


def picture(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape or (6, 5, 3), dtype=np.uint8)


def files_of(classes: dict[str, int], shape: tuple[int, ...] = (6, 5, 3)) -> dict[str, bytes]:
    """`<folder>/<number>.png` -> bytes, with that many images in each folder, all of them different."""
    names = [f"{folder}/{i:03}.png" for folder, count in classes.items() for i in range(count)]
    return {name: encoded(picture(seed, *shape)) for seed, name in enumerate(names)}


def write_tree(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def snapshot(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Everything below a folder: time of change, mode, bytes."""
    return {
        str(path): (path.lstat().st_mtime_ns, path.lstat().st_mode, path.read_bytes() if path.is_file() else b"")
        for path in [folder, *folder.rglob("*")]
    }
