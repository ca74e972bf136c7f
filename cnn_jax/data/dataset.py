"""`Dataset`: three splits of uint8 images and int32 labels."""

import hashlib
from collections.abc import Sequence
from dataclasses import InitVar, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from cnn_jax.data.split import Examples, OnDisk, Parts, Split
from cnn_jax.data.splits import about_the_split, check_seed, divide
from cnn_jax.errors import DataError


@dataclass(frozen=True)
class Facts:
    """Statistics of all images, as plain JSON. The fields are explained in `Dataset`."""

    fingerprint: str
    levels: list[list[int]]  # [C][256]: pixel count of train per channel and grey level
    duplicates: dict[str, int]


def survey(class_names: tuple[str, ...], train: Examples, validation: Split, test: Split) -> Facts:
    """Reads every image of every split once, in order, one block in memory at a time.

    Duplicates are images of a pair's second split that are byte for byte equal to an image of its first split, compared
    by 64-bit digests: among 70,000 images a false match has a probability of 1e-10.
    """
    fingerprint = hashlib.sha256(repr(class_names).encode())
    levels = np.zeros((train.image_shape[2], 256), np.int64)
    digests: dict[str, np.ndarray] = {}
    splits: dict[str, Examples] = {"train": train, "validation": validation, "test": test}
    for name, split in splits.items():
        fingerprint.update(repr((len(split), *split.image_shape)).encode())
        image_digests = []
        for block in map(np.ascontiguousarray, split.blocks()):
            fingerprint.update(block.data)
            image_digests += [hashlib.blake2b(image.data, digest_size=8).digest() for image in block]
            if name == "train":
                for channel, counts in enumerate(levels):
                    counts += np.bincount(block[..., channel].ravel(), minlength=256)
        fingerprint.update(split.labels.astype("<i4").tobytes())
        digests[name] = np.array(image_digests, "S8").view(np.uint64)
    pairs = (("train", "validation"), ("train", "test"), ("validation", "test"))
    duplicates = {f"{a}/{b}": int(np.isin(digests[b], digests[a]).sum()) for a, b in pairs}
    return Facts(fingerprint.hexdigest(), levels.tolist(), duplicates)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled images in the splits train, validation and test. `test` is empty if the source has none
    (`without_test`).

    `source` goes into records, as plain JSON: title, citation, licence, sha256 of the archives read, rule and seed of
    the split, exact duplicates across splits, skipped files. `known` are the facts of these splits if already computed.
    """

    name: str
    class_names: tuple[str, ...]
    train: Split | OnDisk
    validation: Split
    test: Split
    source: dict[str, Any]
    known: InitVar[Facts | None] = None

    def __post_init__(self, known: Facts | None) -> None:
        if known is not None:
            self.__dict__["facts"] = known

    @classmethod
    def from_arrays(
        cls,
        images: np.ndarray,
        labels: np.ndarray,
        *,
        test: tuple[np.ndarray, np.ndarray] | None = None,
        validation: int | tuple[np.ndarray, np.ndarray] | None = None,
        class_names: Sequence[str] | None = None,
        name: str = "arrays",
        split_seed: int = 0,
    ) -> "Dataset":
        """Makes a data set of arrays.

        Args:
          images: uint8 [N,H,W,C] or [N,H,W], or floats of 0 … 1, which are rounded to 256 levels.
          labels: whole numbers [N], from 0.
          test: images and labels used only for final scoring. Without them 15 % of each class become the test split and
            15 % the validation split.
          validation: the number of examples held out for validation, or images and labels.
          class_names: by default the class numbers.
          name: the name of the data in tables and citations.
          split_seed: selects the examples that are held out.

        Raises:
          DataError: the arrays are not labelled images.
        """
        check_seed(split_seed)
        count, validation_pair = (validation, None) if isinstance(validation, int) else (None, validation)
        parts = parts_of_arrays(name, (images, labels), validation_pair, test, class_names)
        return cls.of_parts(name, parts, count, None, split_seed, None, "all" not in parts.splits and test is None)

    @classmethod
    def of_parts(
        cls,
        name: str,
        parts: Parts,
        validation: int | None,
        train_examples: int | None,
        split_seed: int,
        default_validation: int | None,
        without_test: bool,
        where: str | None = None,
        **about: Any,
    ) -> "Dataset":
        """Divides the parts of a source into train, validation and test; see `splits.plan`. Errors call the source
        `where`; `about` is added to `source`."""
        splits, rule = divide(
            where or name, parts, validation, train_examples, split_seed, default_validation, without_test
        )
        facts = survey(parts.class_names, **splits)
        sizes = {split: len(part) for split, part in splits.items()}
        labels = {split: part.labels for split, part in parts.splits.items()}
        cut = about_the_split(rule, split_seed, sizes, labels)
        source = parts.source | about | {"split": cut, "duplicates": facts.duplicates}
        return cls(name, parts.class_names, source=source, known=facts, **splits)

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
        """sha256 (hex) of the class names and of every split's images and labels, in order; equal for equal data."""
        return self.facts.fingerprint

    @property
    def mean(self) -> np.ndarray:
        """Mean of each channel over the train split, float32 [C], in units of 0..1."""
        return self._moments[0]

    @property
    def std(self) -> np.ndarray:
        """Standard deviation of each channel over the train split, float32 [C], in units of 0..1.

        Never 0: half a grey level for a constant channel.
        """
        return self._moments[1]

    @cached_property
    def _moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Computed from the histogram of the 256 grey levels in Python integers, so the sums are exact."""
        means, deviations = [], []
        for counts in self.facts.levels:
            n = sum(counts)
            total = sum(count * level for level, count in enumerate(counts))
            squares = sum(count * level**2 for level, count in enumerate(counts))
            means.append(total / n / 255)
            deviations.append(max((n * squares - total**2) ** 0.5 / n, 0.5) / 255)
        return np.array(means, np.float32), np.array(deviations, np.float32)


Pair = tuple[Any, Any]  # images and labels


def parts_of_arrays(
    name: str, train: Pair, validation: Pair | None, test: Pair | None, class_names: Sequence[str] | None
) -> Parts:
    """Converts the arrays of `Dataset.from_arrays`, not yet divided; if only `train` is given, it becomes the split
    `all`."""
    pairs = {"train": train, "validation": validation, "test": test}
    splits = {split: _split(f"{name}: {split}", *pair) for split, pair in pairs.items() if pair is not None}
    if len(splits) == 1:
        splits = {"all": splits["train"]}
    highest = max(int(split.labels.max(initial=0)) for split in splits.values())
    names = tuple(map(str, range(highest + 1) if class_names is None else class_names))
    if len(names) <= highest or len(names) < 2:
        raise DataError(f"{name}: label {highest} but {len(names)} classes; at least 2 are needed")
    if len({split.image_shape for split in splits.values()}) > 1:
        raise DataError(f"{name}: images of {', '.join(str(split.image_shape) for split in splits.values())}")
    return Parts(splits, names, {"title": name, "licence": "not stated", "citation": "", "archives": {}, "skipped": {}})


def _split(what: str, images: Any, labels: Any) -> Split:
    """Converts arrays to a split. Raises DataError for other shapes, types or values, with what is expected."""
    images, labels = np.asarray(images), np.asarray(labels)
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or 0 in images.shape:
        raise DataError(f"{what}: {list(images.shape)} is not [N,H,W,1 or 3]")
    if images.dtype.kind == "f":
        if not (np.isfinite(images).all() and images.min() >= 0 and images.max() <= 1):
            raise DataError(f"{what}: floats must be finite and lie in 0 … 1")
        images = (images * 255 + 0.5).astype(np.uint8)
    elif images.dtype != np.uint8:
        raise DataError(f"{what}: {images.dtype} is neither uint8 nor floats of 0 … 1")
    if labels.dtype.kind not in "iu" or labels.shape != images.shape[:1] or labels.min(initial=0) < 0:
        raise DataError(f"{what}: labels {labels.dtype} {list(labels.shape)} are not whole numbers [{len(images)}] ≥ 0")
    return Split(np.ascontiguousarray(images), labels.astype(np.int32))
