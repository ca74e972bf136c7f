"""How examples are dealt to train, validation and test: from a seed alone, never touching a given test split."""

from collections.abc import Collection
from typing import Any

import numpy as np

from cnn_jax import randomness
from cnn_jax.data.split import Parts, Split
from cnn_jax.errors import DataError, RequestError

TEST_SHARE = VALIDATION_SHARE = 0.15  # of a source that has no splits of its own
NAMES = ("train", "validation", "test")
NO_TEST = "the source has no test split"
CUT_SHARE = 0.10  # of a train split that comes without a validation split and has no default in the catalogue

Index = np.ndarray | slice  # a slice where a split stays whole, so that its arrays are not copied
Plan = dict[str, tuple[str, Index]]  # split -> the source's split and the examples of it


def check_seed(seed: int) -> None:
    """RequestError for a negative one."""
    if seed < 0:
        raise RequestError(f"split seed {seed} is impossible: it must be 0 or more")


def check_splits(where: object, splits: Collection[str], without_test: bool) -> None:
    """`splits` are `all` or a source's own. DataError: no train split, or no test split and nobody said so beforehand.
    RequestError: `without_test` of data that has one."""
    present = ", ".join(splits)
    if "all" in splits:
        if without_test:
            raise RequestError(f"{where}: a test split is dealt from these images: leave out --without-test")
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
    """Indices of the `examples - count` that stay and of the `count` cut off, both ascending.

    The cut is the head of a permutation.
    """
    order = random.permutation(examples)
    return np.sort(order[count:]), np.sort(order[:count])


def stratify(labels: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ascending indices of train, validation and test: 70/15/15 within each class, at least one of each in each."""
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
    """Which examples of the source's splits, given by their labels, become which split; and that rule in words.

    `validation` is the number of examples asked for, `default` the catalogue's; of train only `train_examples` stay,
    and of two such numbers the smaller one's examples are among the larger one's. Errors: a number that leaves nothing
    on one side or is not there, a number for a source that has its own validation split, a class too small to be dealt
    to three splits, no test split (an empty one `without_test`).
    """
    check_splits(name, labels, without_test)
    dealt, rule = _deal(name, labels, class_names, validation, seed, default)
    if train_examples is None:
        return dealt, rule
    source, index = dealt["train"]
    whole = np.arange(len(labels[source]))[index]
    if train_examples > len(whole):
        raise RequestError(
            f"{name} has {len(whole)} images to train with: train_examples = {train_examples} is too many"
        )
    chosen = randomness.subset(seed).permutation(len(whole))
    kept: tuple[str, Index] = (source, whole[np.sort(chosen[:train_examples])])
    return dealt | {"train": kept}, f"{rule}; of train the first {train_examples} of a PCG64 permutation"


def _deal(
    name: str,
    labels: dict[str, np.ndarray],
    class_names: tuple[str, ...],
    validation: int | None,
    seed: int,
    default: int | None,
) -> tuple[Plan, str]:
    """`plan` with all of train."""
    held: tuple[str, Index] = ("test", slice(None))
    if "test" not in labels:
        held = ("train", np.array([], np.int64))
    if "validation" in labels:
        if validation is not None:
            own = len(labels["validation"])
            raise RequestError(f"{name} has its own validation split of {own} images: leave out --validation")
        own_splits: Plan = {split: (split, slice(None)) for split in ("train", "validation")}
        rule = "the source's own train, validation and test" if "test" in labels else f"{NO_TEST}, its own validation"
        return own_splits | {"test": held}, rule
    if "all" in labels:
        few = np.flatnonzero(np.bincount(labels["all"], minlength=len(class_names)) < 3)
        if few.size:
            names = ", ".join(class_names[i] for i in few[:3])
            raise DataError(f"{name}: fewer than 3 images of {names}: too few for train, validation and test")
        train, middle, test = stratify(labels["all"], randomness.split(seed))
        if validation is None:
            dealt = zip(NAMES, (train, middle, test), strict=True)
            return {split: ("all", index) for split, index in dealt}, "stratified 70/15/15 by PCG64"
        source, whole, held = "all", np.sort(np.concatenate([train, middle])), ("all", test)
        random = randomness.second_cut(seed)
        rule = "stratified 15 % for test by PCG64"
    else:
        source, whole = "train", np.arange(len(labels["train"]))
        random = randomness.split(seed)
        rule = "the source's own test" if "test" in labels else NO_TEST
    count = validation if validation is not None else default if default is not None else round(CUT_SHARE * len(whole))
    if not 0 < count < len(whole):
        limit = f"between 1 and {len(whole) - 1}, since {len(whole)} images are there to train and validate with"
        raise RequestError(f"{name}: a validation split of {count} images is impossible: it must be {limit}")
    keep, off = cut(len(whole), count, random)
    rule = f"{rule}; validation = {count} of the remaining {len(whole)} by PCG64 permutation"
    return {"train": (source, whole[keep]), "validation": (source, whole[off]), "test": held}, rule


def divide(
    name: str,
    parts: Parts,
    validation: int | None,
    train_examples: int | None,
    seed: int,
    default: int | None,
    without_test: bool = False,
) -> tuple[dict[str, Split], str]:
    """The three splits as `plan` deals them, and the rule in words."""
    labels = {split: part.labels for split, part in parts.splits.items()}
    dealt, rule = plan(name, labels, parts.class_names, validation, train_examples, seed, default, without_test)
    return {split: take(parts.splits[origin], index) for split, (origin, index) in dealt.items()}, rule


def about_the_split(rule: str, seed: int, sizes: dict[str, int], labels: dict[str, np.ndarray]) -> dict[str, Any]:
    """What a data set's source says of its split; `labels` are those of the source's splits. `available` is the number
    of training images of which `train_examples` may have taken fewer."""
    elsewhere = sizes["validation"] + (sizes["test"] if "all" in labels else 0)
    available = sum(len(part) for name, part in labels.items() if name != "test") - elsewhere
    return {"rule": rule, "seed": seed, "sizes": sizes, "available": available}


def take(split: Split, index: Index) -> Split:
    return Split(split.images[index], split.labels[index])
