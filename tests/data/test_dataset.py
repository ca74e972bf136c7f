"""Dataset and Split: statistics, fingerprints, duplicates."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cnn_jax.data import Dataset, Split
from cnn_jax.data.dataset import survey


def split_of(images: np.ndarray) -> Split:
    return Split(images, np.zeros(len(images), np.int32))


def dataset_of(train: np.ndarray, names: tuple[str, ...] = ("a", "b")) -> Dataset:
    return Dataset("x", names, split_of(train), split_of(train[:1]), split_of(train[:1]), {})


some_images = hnp.arrays(np.uint8, st.tuples(st.integers(1, 6), st.just(3), st.just(2), st.sampled_from([1, 3])))


@given(some_images)
def test_mean_and_std_are_those_of_float64_arithmetic(images):
    dataset = dataset_of(images)
    values = images.astype(np.float64).reshape(-1, images.shape[-1]) / 255
    np.testing.assert_allclose(dataset.mean, values.mean(0), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(dataset.std, np.maximum(values.std(0), 0.5 / 255), rtol=1e-6)
    assert dataset.mean.dtype == dataset.std.dtype == np.float32
    assert dataset.mean.shape == dataset.std.shape == (dataset.image_shape[2],)


def test_a_constant_channel_has_a_std_above_zero():
    images = np.full((4, 2, 2, 3), 17, np.uint8)
    images[0, 0, 0, 1] = 255
    std = dataset_of(images).std
    assert std[0] == std[2] == np.float32(0.5 / 255)
    assert std[1] > 0.2


def test_the_fingerprint_sees_pixels_labels_order_and_names_and_nothing_else():
    images = np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3)
    base = dataset_of(images).fingerprint
    assert dataset_of(images.copy()).fingerprint == base
    assert dataset_of(np.asfortranarray(images)).fingerprint == base
    changed = images.copy()
    changed[1, 0, 0, 0] ^= 1
    others = {
        dataset_of(changed).fingerprint,
        dataset_of(images[::-1]).fingerprint,
        dataset_of(images, ("a", "c")).fingerprint,
    }
    relabelled = Dataset("x", ("a", "b"), Split(images, np.array([0, 1], np.int32)), *[split_of(images[:1])] * 2, {})
    assert len(others | {relabelled.fingerprint, base}) == 5


@given(
    *[
        hnp.arrays(
            np.uint8, st.tuples(st.integers(1, 5), st.just(1), st.just(2), st.just(1)), elements=st.integers(0, 1)
        )
    ]
    * 3
)
def test_duplicates_are_those_that_comparing_all_pairs_finds(train, validation, test):
    def brute(first, second):
        return sum(any((a == b).all() for a in first) for b in second)

    assert survey(("a",), split_of(train), split_of(validation), split_of(test)).duplicates == {
        "train/validation": brute(train, validation),
        "train/test": brute(train, test),
        "validation/test": brute(validation, test),
    }


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (np.zeros((2, 3, 3, 1), np.float32), np.zeros(2, np.int32)),
        (np.zeros((2, 3, 3), np.uint8), np.zeros(2, np.int32)),
        (np.zeros((2, 3, 3, 4), np.uint8), np.zeros(2, np.int32)),
        (np.zeros((2, 3, 3, 1), np.uint8), np.zeros(3, np.int32)),
        (np.zeros((2, 3, 3, 1), np.uint8), np.zeros(2, np.int64)),
    ],
)
def test_a_split_refuses_other_shapes_and_types(images, labels):
    with pytest.raises(ValueError, match="must be"):
        Split(images, labels)
