"""What every data set becomes: three splits of uint8 images and int32 labels."""

import hashlib
from collections.abc import Iterator
from dataclasses import InitVar, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from cnn_jax.data.stream import Streamed

BLOCK = 1000  # images looked at together: what NumPy makes of them on the way stays in the processor's cache


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

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        height, width, channels = self.images.shape[1:]
        return height, width, channels

    def blocks(self) -> Iterator[np.ndarray]:
        """All images in order, a few at a time, uint8 [n,H,W,C]."""
        for start in range(0, len(self), BLOCK):
            yield self.images[start : start + BLOCK]


@dataclass(frozen=True)
class Facts:
    """What a look at every image finds; plain JSON. `Dataset` says what each is."""

    fingerprint: str
    levels: list[list[int]]  # [C][256]: how many pixels of train have each grey level
    duplicates: dict[str, int]


def survey(class_names: tuple[str, ...], train: "Split | Streamed", validation: Split, test: Split) -> Facts:
    """Looks at every image of every split once, in order, holding one block at a time.

    Duplicates are images of the second split of a pair that equal, byte for byte, one of the first, by 64-bit digests:
    among 70,000 images a false match has a probability of 1e-10.
    """
    fingerprint = hashlib.sha256(repr(class_names).encode())
    levels = np.zeros((train.image_shape[2], 256), np.int64)
    digests: dict[str, np.ndarray] = {}
    splits: dict[str, Split | Streamed] = {"train": train, "validation": validation, "test": test}
    for name, split in splits.items():
        fingerprint.update(repr((len(split), *split.image_shape)).encode())
        found = []
        for block in map(np.ascontiguousarray, split.blocks()):
            fingerprint.update(block.data)
            found += [hashlib.blake2b(image.data, digest_size=8).digest() for image in block]
            if name == "train":
                for channel, counts in enumerate(levels):
                    counts += np.bincount(block[..., channel].ravel(), minlength=256)
        fingerprint.update(split.labels.astype("<i4").tobytes())
        digests[name] = np.array(found, "S8").view(np.uint64)
    pairs = (("train", "validation"), ("train", "test"), ("validation", "test"))
    duplicates = {f"{a}/{b}": int(np.isin(digests[b], digests[a]).sum()) for a, b in pairs}
    return Facts(fingerprint.hexdigest(), levels.tolist(), duplicates)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled images cut into train, validation and test. `test` is empty where the source has none (`without_test`).

    `source` is what a record keeps, plain JSON: title, citation, licence, sha256 of the archives read, the rule and the
    seed of the split, exact duplicates across splits, files that were skipped. `known` are the facts about these very
    splits where they have been found before.
    """

    name: str
    class_names: tuple[str, ...]
    train: "Split | Streamed"
    validation: Split
    test: Split
    source: dict[str, Any]
    known: InitVar[Facts | None] = None

    def __post_init__(self, known: Facts | None) -> None:
        if known is not None:
            self.__dict__["facts"] = known

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        return self.train.image_shape

    @property
    def classes(self) -> int:
        return len(self.class_names)

    @cached_property
    def facts(self) -> Facts:
        return survey(self.class_names, self.train, self.validation, self.test)

    @property
    def fingerprint(self) -> str:
        """sha256 (hex) of the class names and of every split's images and labels, in order: equal data, equal text."""
        return self.facts.fingerprint

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
        """From the histogram of the 256 grey levels in Python's integers: the sums are exact."""
        means, deviations = [], []
        for counts in self.facts.levels:
            n = sum(counts)
            total = sum(count * level for level, count in enumerate(counts))
            squares = sum(count * level**2 for level, count in enumerate(counts))
            means.append(total / n / 255)
            deviations.append(max((n * squares - total**2) ** 0.5 / n, 0.5) / 255)
        return np.array(means, np.float32), np.array(deviations, np.float32)
