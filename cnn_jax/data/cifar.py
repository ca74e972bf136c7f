"""The binary versions of CIFAR-10 and CIFAR-100: records of one label byte, or of a coarse and a fine one, and 3,072
pixel bytes, red, green and blue planes of 32x32.

Source: Krizhevsky, the CIFAR-10 page, "Binary version".
"""

import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cnn_jax.data.split import Split
from cnn_jax.errors import DataError

PIXELS = 3 * 32 * 32


@dataclass(frozen=True)
class Layout:
    """The files of an archive by split with the number of records in each, and the bytes of labels before the pixels,
    of which the last counts."""

    files: dict[str, tuple[str, ...]]
    records: dict[str, int]
    labels: int
    classes: int

    @property
    def record(self) -> int:
        """Bytes of a record."""
        return self.labels + PIXELS


CIFAR10 = Layout(
    {"train": tuple(f"data_batch_{i}.bin" for i in range(1, 6)), "test": ("test_batch.bin",)},
    {"train": 10_000, "test": 10_000}, labels=1, classes=10,
)  # fmt: skip
CIFAR100 = Layout(
    {"train": ("train.bin",), "test": ("test.bin",)}, {"train": 50_000, "test": 10_000}, labels=2, classes=100
)
LAYOUTS = {"cifar10": CIFAR10, "cifar100": CIFAR100}


def read_cifar(path: Path, layout: Layout) -> dict[str, Split]:
    """Reads the splits `train` and `test` from the tar archive, in its order.

    Nothing is unpacked to disk. Raises DataError if the archive is not a complete gzipped tar, a file is missing or has
    the wrong length, or a label is too high.
    """
    data = {}
    split_of = {name: split for split, names in layout.files.items() for name in names}
    try:
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                name = member.name.rpartition("/")[2]
                if member.isfile() and name in split_of:
                    records = layout.records[split_of[name]]
                    if member.size != (expected := records * layout.record):
                        raise DataError(f"{path}: {member.name} has {member.size} bytes, expected {expected}")
                    file = archive.extractfile(member)
                    assert file is not None  # a regular file, checked above
                    data[name] = np.frombuffer(file.read(), np.uint8).reshape(records, layout.record)
    except DataError:
        raise
    except (tarfile.TarError, OSError, EOFError, zlib.error, ValueError) as error:
        raise DataError(f"{path}: not a whole gzipped tar archive ({error})") from error
    if missing := [name for name in split_of if name not in data]:
        raise DataError(f"{path}: {missing[0]} is not in this archive")
    splits = {}
    for split, names in layout.files.items():
        rows = np.concatenate([data[name] for name in names])
        labels = rows[:, layout.labels - 1]
        if (bad := np.flatnonzero(labels >= layout.classes)).size:
            raise DataError(
                f"{path}: label {labels[bad[0]]} at {split} {bad[0]}: labels go from 0 to {layout.classes - 1}"
            )
        images = rows[:, layout.labels :].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        splits[split] = Split(np.ascontiguousarray(images), labels.astype(np.int32))
    return splits
