"""How examples are dealt: seeded, disjoint, complete, stratified."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnn_jax import randomness
from cnn_jax.data import Split, load
from cnn_jax.data.split import Parts
from cnn_jax.data.splits import about_the_split, check_splits, cut, divide, plan, stratify
from cnn_jax.errors import DataError, RequestError


@given(st.integers(2, 300), st.integers(0, 2**32), st.data())
def test_a_cut_is_disjoint_complete_and_ascending(examples, seed, data):
    count = data.draw(st.integers(1, examples - 1))
    keep, off = cut(examples, count, randomness.split(seed))
    assert len(off) == count
    assert np.array_equal(np.sort(np.concatenate([keep, off])), np.arange(examples))
    assert (np.diff(keep) > 0).all()
    assert (np.diff(off) > 0).all()


def test_the_cut_of_the_catalogue_is_pinned():
    keep, off = cut(60000, 5000, randomness.split(0))
    assert off[:8].tolist() == [9, 24, 49, 60, 65, 66, 72, 73]
    assert keep[:8].tolist() == [0, 1, 2, 3, 4, 5, 6, 7]
    assert not np.array_equal(off, cut(60000, 5000, randomness.split(1))[1])


@given(st.lists(st.integers(3, 60), min_size=1, max_size=5), st.integers(0, 1000))
def test_stratified_splits_share_every_class_alike(counts, seed):
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    train, validation, test = stratify(labels, randomness.split(seed))
    assert np.array_equal(np.sort(np.concatenate([train, validation, test])), np.arange(len(labels)))
    for label, count in enumerate(counts):
        for part in (validation, test):
            held = (labels[part] == label).sum()
            assert held >= 1
            assert abs(held - 0.15 * count) <= max(0.5, 1 - 0.15 * count)
        assert (labels[train] == label).sum() >= 1


@pytest.mark.parametrize("count", [0, -1, 1528, 5000])
def test_a_validation_split_that_leaves_nothing_is_refused(count, refuses):
    with refuses(
        "digits", f"{count} images", "between 1 and 1527, since 1528 images are there to train and validate with"
    ):
        load("digits", validation=count)


def test_the_number_asked_for_is_cut_and_the_test_split_stays():
    plain, asked = load("digits"), load("digits", validation=100)
    assert len(asked.validation) == 100
    assert len(asked.train) + 100 == len(plain.train) + len(plain.validation)
    assert np.array_equal(plain.test.images, asked.test.images)


def test_another_split_seed_gives_another_split_and_is_recorded(refuses):
    first, second = load("digits"), load("digits", split_seed=1)
    assert first.fingerprint != second.fingerprint
    assert (first.source["split"]["seed"], second.source["split"]["seed"]) == (0, 1)
    with refuses("split seed -1"):
        load("digits", split_seed=-1)


def test_fewer_training_examples_are_among_more_and_the_rest_stays(refuses):
    whole, some, few = (load("digits", train_examples=n) for n in (None, 400, 50))
    assert (len(some.train), len(few.train)) == (400, 50)
    for small, large in ((few, some), (some, whole)):
        images = {image.tobytes() for image in large.train.images}
        assert all(image.tobytes() in images for image in small.train.images)
        assert np.array_equal(small.test.images, large.test.images)
        assert np.array_equal(small.validation.images, large.validation.images)
    assert "first 50 of a PCG64 permutation" in few.source["split"]["rule"]
    assert set(few.train.labels) == set(range(10))
    with refuses("train_examples = 1260 is too many", "digits has 1259"):
        load("digits", train_examples=1260)


def parts_of(**sizes: int) -> Parts:
    splits = {
        name: Split(np.zeros((size, 2, 2, 1), np.uint8), np.arange(size, dtype=np.int32) % 2)
        for name, size in sizes.items()
    }
    return Parts(splits, ("a", "b"), {})


def test_a_source_with_its_own_validation_split_keeps_it():
    splits, _ = divide("x", parts_of(train=10, validation=4, test=6), None, None, 0, 3)
    assert {name: len(split) for name, split in splits.items()} == {"train": 10, "validation": 4, "test": 6}
    with pytest.raises(RequestError, match="its own validation split of 4 images: leave out --validation"):
        divide("x", parts_of(train=10, validation=4, test=6), 3, None, 0, None)


OWN_TEST = "the source's own test"
NO_TEST = "the source has no test split"


@pytest.mark.parametrize(
    ("source", "asked", "rule", "sizes"),
    [
        (
            {"train": 10, "validation": 4, "test": 6}, {},
            "the source's own train, validation and test", (10, 4, 6),
        ),
        ({"train": 10, "validation": 4}, {"without_test": True}, f"{NO_TEST}, its own validation", (10, 4, 0)),
        ({"all": 40}, {}, "stratified 70/15/15 by PCG64", (28, 6, 6)),
        (
            {"all": 40}, {"validation": 1},
            "stratified 15 % for test by PCG64; validation = 1 of the remaining 34 by PCG64 permutation", (33, 1, 6),
        ),
        (
            {"train": 50, "test": 6}, {},
            f"{OWN_TEST}; validation = 5 of the remaining 50 by PCG64 permutation", (45, 5, 6),
        ),
        (
            {"train": 50, "test": 6}, {"default": 7},
            f"{OWN_TEST}; validation = 7 of the remaining 50 by PCG64 permutation", (43, 7, 6),
        ),
        (
            {"train": 50}, {"without_test": True},
            f"{NO_TEST}; validation = 5 of the remaining 50 by PCG64 permutation", (45, 5, 0),
        ),
        (
            {"train": 50, "test": 6}, {"train_examples": 45},
            f"{OWN_TEST}; validation = 5 of the remaining 50 by PCG64 permutation; of train the first 45 of a PCG64 "
            "permutation", (45, 5, 6),
        ),
        (
            {"train": 50, "test": 6}, {"train_examples": 9},
            f"{OWN_TEST}; validation = 5 of the remaining 50 by PCG64 permutation; of train the first 9 of a PCG64 "
            "permutation", (9, 5, 6),
        ),
    ],
)  # fmt: skip
def test_every_kind_of_source_by_its_rule(source, asked, rule, sizes):
    """The rule is what a record says of the split; `available` counts the training images before any are left out."""
    parts = parts_of(**source)
    defaults = {"validation": None, "train_examples": None, "default": None, "without_test": False}
    options = defaults | asked
    splits, words = divide(
        "x", parts, options["validation"], options["train_examples"], 0, options["default"], options["without_test"]
    )
    assert words == rule
    found = {name: len(split) for name, split in splits.items()}
    assert tuple(found[name] for name in ("train", "validation", "test")) == sizes
    whole = sum(source.values()) - sizes[1] - sizes[2]
    about = about_the_split(words, 3, found, {name: part.labels for name, part in parts.splits.items()})
    assert about == {"rule": rule, "seed": 3, "sizes": found, "available": whole}


@pytest.mark.parametrize(
    ("splits", "without_test", "words"),
    [
        (("all",), True, "x: a test split is drawn from these images: leave out --without-test"),
        (("test", "validation"), False, "x: no train split beside test, validation"),
        (("train", "test"), True, "x has a test split: leave out --without-test"),
        (
            ("train", "validation"), False,
            "x: no test split beside train, validation: --without-test accepts that: nothing is scored on test images "
            "then, and nothing can be cited",
        ),
    ],
)  # fmt: skip
def test_splits_that_cannot_be_used(splits, without_test, words):
    with pytest.raises((RequestError, DataError)) as refusal:
        check_splits("x", splits, without_test)
    assert str(refusal.value) == words
    with pytest.raises((RequestError, DataError)):
        plan("x", {name: np.zeros(9, np.int32) for name in splits}, ("a",), None, None, 0, None, without_test)


def test_splits_that_can_be_used():
    check_splits("x", ("all",), False)
    check_splits("x", ("train", "test"), False)
    check_splits("x", ("train",), True)


def test_without_a_default_a_tenth_of_train_is_cut():
    splits, rule = divide("x", parts_of(train=50, test=6), None, None, 0, None)
    assert (len(splits["train"]), len(splits["validation"])) == (45, 5)
    assert "5 of the remaining 50" in rule


def test_a_class_too_small_for_three_splits_is_refused(refuses):
    with refuses("x", "fewer than 3 images of b"):
        divide("x", parts_of(all=5), None, None, 0, None)
    many = Parts(parts_of(all=8).splits, ("a", "b", "c", "d", "e", "f"), {})
    with refuses("x: fewer than 3 images of c, d, e: too few for train, validation and test"):
        divide("x", many, None, None, 0, None)
