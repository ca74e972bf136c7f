"""What every data set becomes: three splits of uint8 images and int32 labels."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Split:
    """Examples in a fixed order. `images` is uint8 [N,H,W,C] with C 1 (grey) or 3 (RGB), `labels` int32 [N]."""

    images: np.ndarray
    labels: np.ndarray

    def __post_init__(self) -> None:
        images, labels = self.images, self.labels
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] not in (1, 3):
            raise ValueError(f"images must be uint8 [N,H,W,1 or 3], not {images.dtype} {list(images.shape)}")
        if labels.dtype != np.int32 or labels.shape != images.shape[:1]:
            raise ValueError(f"labels must be int32 [{len(images)}], not {labels.dtype} {list(labels.shape)}")

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled images cut into train, validation and test.

    `source` is what a record keeps, plain JSON: title, citation, licence, sha256 of the archives read, the rule and the
    seed of the split, exact duplicates across splits, files that were skipped.
    """

    name: str
    class_names: tuple[str, ...]
    train: Split
    validation: Split
    test: Split
    source: dict[str, Any]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        height, width, channels = self.train.images.shape[1:]
        return height, width, channels

    @property
    def classes(self) -> int:
        return len(self.class_names)

    @cached_property
    def fingerprint(self) -> str:
        """sha256 (hex) of the class names and of every split's images and labels, in order: equal data, equal text."""
        digest = hashlib.sha256(repr(self.class_names).encode())
        for split in (self.train, self.validation, self.test):
            digest.update(repr(split.images.shape).encode())
            digest.update(np.ascontiguousarray(split.images).data)
            digest.update(split.labels.astype("<i4").tobytes())
        return digest.hexdigest()

    @property
    def mean(self) -> np.ndarray:
        """Mean of each channel over the train split, float32 [C], in units of 0..1."""
        return self._moments[0]

    @property
    def std(self) -> np.ndarray:
        """Standard deviation of each channel over the train split, float32 [C], in units of 0..1.

        Never 0: a channel that is constant gets half a grey level.
        """
        return self._moments[1]

    @cached_property
    def _moments(self) -> tuple[np.ndarray, np.ndarray]:
        """From the histogram of the 256 grey levels, so that the sums are exact integers."""
        levels = np.arange(256, dtype=object)  # Python integers: no overflow
        means, deviations = [], []
        for channel in range(self.image_shape[2]):
            values = self.train.images[..., channel].ravel()
            counts = np.bincount(values, minlength=256).astype(object)
            n, total, squares = values.size, (counts * levels).sum(), (counts * levels**2).sum()
            means.append(total / n / 255)
            deviations.append(max((n * squares - total**2) ** 0.5 / n, 0.5) / 255)
        return np.array(means, np.float32), np.array(deviations, np.float32)


def count_duplicates(train: Split, validation: Split, test: Split) -> dict[str, int]:
    """How many images of the second split of each pair equal, byte for byte, an image of the first.

    Compares 64-bit digests: among 70,000 images a false match has a probability of 1e-10.
    """
    hashes = {
        name: np.array([hashlib.blake2b(row.data, digest_size=8).digest() for row in split.images], "S8").view(
            np.uint64
        )
        for name, split in (("train", train), ("validation", validation), ("test", test))
    }
    pairs = (("train", "validation"), ("train", "test"), ("validation", "test"))
    return {f"{a}/{b}": int(np.isin(hashes[b], hashes[a]).sum()) for a, b in pairs}
