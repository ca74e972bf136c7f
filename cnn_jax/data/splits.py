"""How examples are dealt to train, validation and test: from a seed alone, never touching a given test split."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from cnn_jax.data.dataset import Split
from cnn_jax.errors import DataError, RequestError

TEST_SHARE = VALIDATION_SHARE = 0.15  # of a source that has no splits of its own
NAMES = ("train", "validation", "test")
CUT_SHARE = 0.10  # of a train split that comes without a validation split and has no default in the catalogue


@dataclass(frozen=True, eq=False)
class Parts:
    """What a source holds before anything is cut: the splits `all`, or `train` and `test`, maybe `validation`."""

    splits: dict[str, Split]
    class_names: tuple[str, ...]
    source: dict[str, Any]


def generator(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


def cut(examples: int, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the `examples - count` that stay and of the `count` cut off, both ascending.

    The cut is the head of a PCG64 permutation.
    """
    order = generator(seed).permutation(examples)
    return np.sort(order[count:]), np.sort(order[:count])


def stratify(labels: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ascending indices of train, validation and test: 70/15/15 within each class, at least one of each in each."""
    random = generator(seed)
    train, validation, test = [], [], []
    for label in np.unique(labels):
        order = random.permutation(np.flatnonzero(labels == label))
        n_test = max(1, round(TEST_SHARE * len(order)))
        n_validation = max(1, round(VALIDATION_SHARE * len(order)))
        test.append(order[:n_test])
        validation.append(order[n_test : n_test + n_validation])
        train.append(order[n_test + n_validation :])
    return np.sort(np.concatenate(train)), np.sort(np.concatenate(validation)), np.sort(np.concatenate(test))


def divide(name: str, parts: Parts, validation: int | None, seed: int, default: int | None) -> tuple[dict, str]:
    """The three splits and the rule, in words, that made them.

    `validation` is the number of examples asked for, `default` the catalogue's. Errors: a number that leaves nothing on
    one side, a number for a source that has its own validation split, a class too small to be dealt to three splits.
    """
    splits = parts.splits
    if "validation" in splits:
        if validation is not None:
            own = len(splits["validation"])
            raise RequestError(f"{name} has its own validation split of {own} images: leave out --validation")
        return {split: splits[split] for split in NAMES}, "the source's own train, validation and test"
    rule = "the source's own test"
    if "all" in splits:
        whole = splits["all"]
        few = np.flatnonzero(np.bincount(whole.labels, minlength=len(parts.class_names)) < 3)
        if few.size:
            names = ", ".join(parts.class_names[i] for i in few[:3])
            raise DataError(f"{name}: fewer than 3 images of {names}: too few for train, validation and test")
        train, middle, test = stratify(whole.labels, seed)
        if validation is None:
            dealt = {"train": train, "validation": middle, "test": test}
            return {name: take(whole, index) for name, index in dealt.items()}, "stratified 70/15/15 by PCG64"
        splits = {"train": take(whole, np.sort(np.concatenate([train, middle]))), "test": take(whole, test)}
        rule = "stratified 15 % for test by PCG64"
    whole = splits["train"]
    count = validation if validation is not None else default if default is not None else round(CUT_SHARE * len(whole))
    if not 0 < count < len(whole):
        limit = f"between 1 and {len(whole) - 1}, since {len(whole)} images are there to train and validate with"
        raise RequestError(f"{name}: a validation split of {count} images is impossible: it must be {limit}")
    keep, off = cut(len(whole), count, seed)
    splits = {"train": take(whole, keep), "validation": take(whole, off), "test": splits["test"]}
    return splits, f"{rule}; validation = {count} of the remaining {len(whole)} by PCG64 permutation"


def take(split: Split, index: np.ndarray) -> Split:
    return dataclasses.replace(split, images=split.images[index], labels=split.labels[index])
