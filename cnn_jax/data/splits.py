"""Divides examples into train, validation and test, by a seed alone; a source's own test split is never touched."""

from collections.abc import Collection
from typing import Any

import numpy as np

from cnn_jax import randomness
from cnn_jax.data.split import Parts, Split
from cnn_jax.errors import DataError, RequestError

TEST_SHARE = VALIDATION_SHARE = 0.15  # of a source without splits
NAMES = ("train", "validation", "test")
NO_TEST = "the source has no test split"
CUT_SHARE = 0.10  # of a train split, if the source has no validation split and the catalogue no default

Index = np.ndarray | slice  # a slice for a complete split, so that its arrays are not copied
Plan = dict[str, tuple[str, Index]]  # split -> the source's split and which of its examples


def check_seed(seed: int) -> None:
    """Raises RequestError for a negative seed."""
    if seed < 0:
        raise RequestError(f"split seed {seed} is impossible: it must be 0 or more")


def check_splits(where: object, splits: Collection[str], without_test: bool) -> None:
    """Checks that `splits` (`all`, or a source's own) include train, and test unless `without_test`.

    Raises DataError if there is neither `all` nor train, or no test split without `without_test`; RequestError if
    `without_test` is given for data that have a test split, or `all`, from which one is drawn.
    """
    present = ", ".join(splits)
    if "all" in splits:
        if without_test:
            raise RequestError(f"{where}: a test split is drawn from these images: leave out --without-test")
    elif "train" not in splits:
        raise DataError(f"{where}: no train split beside {present}")
    elif "test" in splits and without_test:
        raise RequestError(f"{where} has a test split: leave out --without-test")
    elif "test" not in splits and not without_test:
        raise DataError(
            f"{where}: no test split beside {present}: --without-test accepts that: nothing is scored on test images "
            f"then, and nothing can be cited"
        )


def cut(examples: int, count: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the `examples - count` kept and of the `count` held-out examples, both ascending.

    The held-out examples are the first `count` of a permutation.
    """
    order = random.permutation(examples)
    return np.sort(order[count:]), np.sort(order[:count])


def stratify(labels: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ascending indices of train, validation and test: 70/15/15 in each class, at least one in each split."""
    train, validation, test = [], [], []
    for label in np.unique(labels):
        order = random.permutation(np.flatnonzero(labels == label))
        n_test = max(1, round(TEST_SHARE * len(order)))
        n_validation = max(1, round(VALIDATION_SHARE * len(order)))
        test.append(order[:n_test])
        validation.append(order[n_test : n_test + n_validation])
        train.append(order[n_test + n_validation :])
    return np.sort(np.concatenate(train)), np.sort(np.concatenate(validation)), np.sort(np.concatenate(test))


def plan(
    name: str,
    labels: dict[str, np.ndarray],
    class_names: tuple[str, ...],
    validation: int | None,
    train_examples: int | None,
    seed: int,
    default: int | None,
    without_test: bool,
) -> tuple[Plan, str]:
    """Assigns the source's examples to splits, by their labels. Returns the plan and the rule in words.

    Args:
      name: the name of the data set in errors.
      labels: int32 [N] for each split of the source.
      class_names: the class of each label.
      validation: the requested number of validation examples, or None.
      train_examples: the number of training examples to use; a smaller number selects a subset of a larger one.
      seed: the seed of the split.
      default: the catalogue's number of validation examples, or None.
      without_test: accepts a source without a test split; the test split is then empty.

    Raises:
      RequestError: a number of examples that is not available or leaves a split empty; `validation` for a source with
        its own validation split.
      DataError: a class too small for three splits.
      Errors of `check_splits`.
    """
    check_splits(name, labels, without_test)
    splits, rule = _deal(name, labels, class_names, validation, seed, default)
    if train_examples is None:
        return splits, rule
    source, index = splits["train"]
    available = np.arange(len(labels[source]))[index]
    if train_examples > len(available):
        raise RequestError(
            f"{name} has {len(available)} images to train with: train_examples = {train_examples} is too many"
        )
    order = randomness.subset(seed).permutation(len(available))
    train: tuple[str, Index] = (source, available[np.sort(order[:train_examples])])
    return splits | {"train": train}, f"{rule}; of train the first {train_examples} of a PCG64 permutation"


def _deal(
    name: str,
    labels: dict[str, np.ndarray],
    class_names: tuple[str, ...],
    validation: int | None,
    seed: int,
    default: int | None,
) -> tuple[Plan, str]:
    """`plan` without `train_examples`."""
    test_part: tuple[str, Index] = ("test", slice(None))
    if "test" not in labels:
        test_part = ("train", np.array([], np.int64))
    if "validation" in labels:
        if validation is not None:
            own = len(labels["validation"])
            raise RequestError(f"{name} has its own validation split of {own} images: leave out --validation")
        own_splits: Plan = {split: (split, slice(None)) for split in ("train", "validation")}
        rule = "the source's own train, validation and test" if "test" in labels else f"{NO_TEST}, its own validation"
        return own_splits | {"test": test_part}, rule
    if "all" in labels:
        few = np.flatnonzero(np.bincount(labels["all"], minlength=len(class_names)) < 3)
        if few.size:
            names = ", ".join(class_names[i] for i in few[:3])
            raise DataError(f"{name}: fewer than 3 images of {names}: too few for train, validation and test")
        train, middle, test = stratify(labels["all"], randomness.split(seed))
        if validation is None:
            dealt = zip(NAMES, (train, middle, test), strict=True)
            return {split: ("all", index) for split, index in dealt}, "stratified 70/15/15 by PCG64"
        source, rest, test_part = "all", np.sort(np.concatenate([train, middle])), ("all", test)
        random = randomness.second_cut(seed)
        rule = "stratified 15 % for test by PCG64"
    else:
        source, rest = "train", np.arange(len(labels["train"]))
        random = randomness.split(seed)
        rule = "the source's own test" if "test" in labels else NO_TEST
    count = validation if validation is not None else default if default is not None else round(CUT_SHARE * len(rest))
    if not 0 < count < len(rest):
        limit = f"between 1 and {len(rest) - 1}, since {len(rest)} images are there to train and validate with"
        raise RequestError(f"{name}: a validation split of {count} images is impossible: it must be {limit}")
    keep, off = cut(len(rest), count, random)
    rule = f"{rule}; validation = {count} of the remaining {len(rest)} by PCG64 permutation"
    return {"train": (source, rest[keep]), "validation": (source, rest[off]), "test": test_part}, rule


def divide(
    name: str,
    parts: Parts,
    validation: int | None,
    train_examples: int | None,
    seed: int,
    default: int | None,
    without_test: bool = False,
) -> tuple[dict[str, Split], str]:
    """Divides the parts by `plan`. Returns the three splits and the rule in words."""
    labels = {split: part.labels for split, part in parts.splits.items()}
    assignment, rule = plan(name, labels, parts.class_names, validation, train_examples, seed, default, without_test)
    return {split: take(parts.splits[origin], index) for split, (origin, index) in assignment.items()}, rule


def about_the_split(rule: str, seed: int, sizes: dict[str, int], labels: dict[str, np.ndarray]) -> dict[str, Any]:
    """The description of the split in `Dataset.source`; `labels` are the labels of the source's splits. `available` is
    the number of training images before `train_examples` selects a subset."""
    elsewhere = sizes["validation"] + (sizes["test"] if "all" in labels else 0)
    available = sum(len(part) for name, part in labels.items() if name != "test") - elsewhere
    return {"rule": rule, "seed": seed, "sizes": sizes, "available": available}


def take(split: Split, index: Index) -> Split:
    return Split(split.images[index], split.labels[index])
