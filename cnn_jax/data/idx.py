"""The idx format of MNIST: big-endian magic 00 00 08 d, then d sizes, then uint8 values; gzip around it.

Source: LeCun, Cortes and Burges, the MNIST database, "File formats".
"""

import gzip
import hashlib
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from cnn_jax.errors import DataError

SIZE = (28, 28)  # of MNIST and of the sets made like it


def read_idx(path: Path, dimensions: int, limit: int = 1 << 30) -> np.ndarray:
    """Reads a gzipped idx file with this number of dimensions as a uint8 array of at most `limit` bytes.

    Raises DataError if the file is not gzip or corrupt, has another magic number, or has fewer or more bytes than its
    header says.
    """
    try:
        with gzip.open(path) as file:
            return parse_idx(path, file.read(4 + 4 * dimensions + limit + 1), dimensions, limit)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: not a whole gzip file ({error})") from error


def parse_idx(path: Path | str, data: bytes, dimensions: int, limit: int = 1 << 30) -> np.ndarray:
    """The uint8 array of an idx file's bytes; `path` names it in errors. Raises as `read_idx`."""
    magic, start = bytes([0, 0, 8, dimensions]), 4 + 4 * dimensions
    if data[:4] != magic:
        raise DataError(
            f"{path}: wrong magic number {data[:4].hex()}: idx of {dimensions} dimensions has {magic.hex()}"
        )
    if len(data) < start:
        raise DataError(f"{path}: truncated: the header has {start} bytes, the file {len(data)}")
    shape = struct.unpack(f">{dimensions}I", data[4:start])
    size = math.prod(shape)
    if size > limit:
        raise DataError(f"{path}: the header announces {size} values: more than the limit of {limit}")
    if len(data) - start != size:
        what = "truncated" if len(data) - start < size else "too long"
        raise DataError(f"{path}: {what}: the header announces {size} values, the file has {len(data) - start}")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def shuffled(split: str, examples: int) -> np.ndarray:
    """The order in which TFDS stores the examples with keys 0 … N-1 of a split: sorted by the MD5 of the split's name
    and the key (tensorflow_datasets 4.9, core/hashing.py). Data in this order are what TFDS reads."""
    salt = hashlib.md5(split.encode(), usedforsecurity=False)
    digests = []
    for key in range(examples):
        salted = salt.copy()
        salted.update(str(key).encode())
        digests.append(salted.digest())
    return np.argsort(np.array(digests, "S16").view("V16").astype(object), kind="stable")


def read_pair(images: Path, labels: Path, classes: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Reads `count` uint8 images [N,28,28,1] and int32 labels [N] from a pair of idx files.

    Raises DataError for images of another number or size, for unequal counts, or for labels out of range.
    """
    pixels, targets = read_idx(images, 3), read_idx(labels, 1)
    if len(pixels) != len(targets):
        raise DataError(f"{labels}: {len(targets)} labels for the {len(pixels)} images of {images.name}")
    if (bad := np.flatnonzero(targets >= classes)).size:
        raise DataError(f"{labels}: label {targets[bad[0]]} at {bad[0]}: labels go from 0 to {classes - 1}")
    if pixels.shape != (count, *SIZE):
        raise DataError(f"{images}: images {list(pixels.shape)}, expected {[count, *SIZE]}")
    return pixels[..., None], targets.astype(np.int32)
