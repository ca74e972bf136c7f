"""The binary version of CIFAR-10: records of one label byte and 3,072 pixel bytes, red, green and blue planes of 32x32.

Source: Krizhevsky, the CIFAR-10 page, "Binary version".
"""

import tarfile
import zlib
from pathlib import Path

import numpy as np

from cnn_jax.data.split import Split
from cnn_jax.errors import DataError

RECORD = 1 + 3 * 32 * 32
TRAIN_FILES = tuple(f"data_batch_{i}.bin" for i in range(1, 6))
TEST_FILES = ("test_batch.bin",)


def read_cifar(path: Path, classes: int = 10, records: int = 10000) -> dict[str, Split]:
    """Reads the splits `train` and `test` from the tar archive, in its order, `records` images per file.

    Nothing is unpacked to disk. Raises DataError if the archive is not a complete gzipped tar, a file is missing or has
    the wrong length, or a label is not below `classes`.
    """
    data = {}
    try:
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                name = member.name.rpartition("/")[2]
                if member.isfile() and name in TRAIN_FILES + TEST_FILES:
                    if member.size != (expected := records * RECORD):
                        raise DataError(f"{path}: {member.name} has {member.size} bytes, expected {expected}")
                    file = archive.extractfile(member)
                    assert file is not None  # a regular file, checked above
                    data[name] = np.frombuffer(file.read(), np.uint8).reshape(records, RECORD)
    except DataError:
        raise
    except (tarfile.TarError, OSError, EOFError, zlib.error, ValueError) as error:
        raise DataError(f"{path}: not a whole gzipped tar archive ({error})") from error
    if missing := [name for name in TRAIN_FILES + TEST_FILES if name not in data]:
        raise DataError(f"{path}: {missing[0]} is not in this archive")
    splits = {}
    for split, names in (("train", TRAIN_FILES), ("test", TEST_FILES)):
        rows = np.concatenate([data[name] for name in names])
        if (bad := np.flatnonzero(rows[:, 0] >= classes)).size:
            raise DataError(f"{path}: label {rows[bad[0], 0]} at {split} {bad[0]}: labels go from 0 to {classes - 1}")
        images = rows[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        splits[split] = Split(np.ascontiguousarray(images), rows[:, 0].astype(np.int32))
    return splits
