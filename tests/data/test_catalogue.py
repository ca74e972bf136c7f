"""The catalogue against TFDS's own records, the real archives and the counts that the sources publish."""

import gzip
import importlib.util
from pathlib import Path

import numpy as np
import pytest

from cnn_jax import randomness
from cnn_jax.data import load
from cnn_jax.data.archives import sha256
from cnn_jax.data.catalogue import CATALOGUE, IDX_FILES
from cnn_jax.data.splits import cut, stratify
from cnn_jax.references import references

MNIST_TEST_COUNTS = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
DIGITS_COUNTS = [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
DIGITS_FIRST_ROW = [0, 0, 5, 13, 9, 1, 0, 0]  # printed in scikit-learn's documentation, levels 0..16


def raw(folder: Path, file: str, header: int) -> np.ndarray:
    return np.frombuffer(gzip.decompress((folder / file).read_bytes()), np.uint8)[header:]


@pytest.mark.parametrize("name", [name for name in CATALOGUE if name not in ("digits", "tiny_imagenet")])
def test_checksums_are_those_that_tfds_records(name):
    spec = importlib.util.find_spec("tensorflow_datasets")
    assert spec is not None
    (package,) = spec.submodule_search_locations
    places = {"svhn": "svhn_cropped"}
    for place in (
        Path(package) / "url_checksums" / f"{name.partition('_')[0] if name.startswith('emnist') else name}.txt",
        Path(package) / "datasets" / places.get(name, name) / "checksums.tsv",
    ):
        if place.is_file():
            rows = [line.split("\t") for line in place.read_text().splitlines()]
    theirs = {row[3]: row[2] for row in rows}
    ours = {archive.file: archive.sha256 for archive in CATALOGUE[name].archives}
    assert ours.items() <= theirs.items()
    assert ours


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_checksums_are_those_of_the_real_files(name, real_data):
    for archive in CATALOGUE[name].archives:
        assert sha256(real_data / name / archive.file) == archive.sha256


@pytest.mark.parametrize("entry", CATALOGUE.values(), ids=lambda entry: entry.name)
def test_every_entry_is_complete(entry):
    classes = {"cifar100": 100, "emnist_balanced": 47, "emnist_letters": 26, "emnist_byclass": 62, "tiny_imagenet": 0}
    assert len(set(entry.class_names)) == len(entry.class_names) == classes.get(entry.name, 10)
    assert entry.licence
    assert entry.title
    assert entry.citation in references()
    assert all(len(archive.sha256) == 64 for archive in entry.archives)


def test_digits_are_scikit_learns():
    digits = load("digits")
    entry = CATALOGUE["digits"]
    assert digits.image_shape == entry.shape == (8, 8, 1)
    labels = np.concatenate([digits.train.labels, digits.validation.labels, digits.test.labels])
    assert len(labels) == entry.train == 1797
    assert np.bincount(labels).tolist() == DIGITS_COUNTS
    levels = np.round(np.arange(17) * 255 / 16)
    assert np.isin(digits.train.images, levels).all()
    train, _, _ = stratify(
        np.load(Path(load.__code__.co_filename).with_name("digits.npz"))["labels"], randomness.split(0)
    )
    assert train[0] == 0  # so the first train image is the first of all
    assert digits.train.images[0, 0, :, 0].tolist() == np.round(np.array(DIGITS_FIRST_ROW) * 255 / 16).tolist()


def test_the_splits_of_digits_are_pinned():
    digits = load("digits")
    assert (len(digits.train), len(digits.validation), len(digits.test)) == (1259, 269, 269)
    assert digits.train.labels[:8].tolist() == [0, 2, 3, 4, 7, 8, 0, 1]
    assert digits.validation.labels[:8].tolist() == [1, 6, 9, 5, 5, 7, 5, 9]
    assert digits.test.labels[:8].tolist() == [5, 2, 4, 6, 7, 9, 3, 4]
    assert digits.fingerprint[:16] == "fd04a4a39345521e"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "test_counts", "fingerprint", "train_labels", "validation_labels", "test_labels"),
    [
        (
            "mnist",
            MNIST_TEST_COUNTS,
            "c5d28bf579c5b45a",
            [4, 1, 0, 7, 8, 1, 2, 7],
            [6, 9, 4, 4, 1, 4, 4, 1],
            [2, 0, 4, 8, 7, 6, 0, 6],
        ),
        (
            "fashion_mnist",
            [1000] * 10,
            "c9fdddde71807c4f",
            [2, 1, 8, 4, 1, 9, 2, 2],
            [2, 0, 9, 0, 2, 7, 0, 4],
            [4, 4, 9, 7, 5, 1, 0, 5],
        ),
    ],
)
def test_idx_sets_hold_every_real_image_once_and_their_splits_are_pinned(
    name, test_counts, fingerprint, train_labels, validation_labels, test_labels, real_data, shared_cache
):
    dataset, entry = load(name, data_dir=real_data), CATALOGUE[name]
    assert dataset.image_shape == entry.shape
    assert dataset.class_names == entry.class_names
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (55000, 5000, 10000)
    assert np.bincount(dataset.test.labels).tolist() == test_counts
    mixed = {
        "train": [
            np.concatenate(pair) for pair in zip(rows_of(dataset.train), rows_of(dataset.validation), strict=True)
        ],
        "test": rows_of(dataset.test),
    }
    for split, files in (("train", IDX_FILES[:2]), ("test", IDX_FILES[2:])):
        pixels, labels = (raw(real_data / name, file, header) for file, header in zip(files, (16, 8), strict=True))
        assert sorted_rows(*mixed[split]) == sorted_rows(pixels.reshape(-1, 784), labels)
    assert dataset.train.labels[:8].tolist() == train_labels
    assert dataset.validation.labels[:8].tolist() == validation_labels
    assert dataset.test.labels[:8].tolist() == test_labels
    assert dataset.fingerprint[:16] == fingerprint


def rows_of(split):
    return split.images.reshape(len(split), -1), split.labels


def sorted_rows(pixels, labels):
    return sorted(row.tobytes() + bytes([label]) for row, label in zip(pixels, labels, strict=True))


@pytest.mark.slow
def test_the_order_is_that_of_the_stock_tfds_reader(real_data, shared_cache):
    dataset = load("fashion_mnist", data_dir=real_data)
    import tensorflow_datasets as tfds

    from cnn_jax.data import archives
    from cnn_jax.data.builders import idx_builder

    entry = CATALOGUE["fashion_mnist"]
    idx_builder.prepare(entry, archives.find(entry, Path(real_data)))
    source = tfds.data_source("fashion_mnist", data_dir=shared_cache / "tfds", split="train", download=False)
    assert len(source) == 60000
    keep, off = cut(60000, 5000, randomness.split(0))
    for split, index in ((dataset.train, keep), (dataset.validation, off)):
        for position, example in enumerate(source.__getitems__(index[:50].tolist())):
            assert np.array_equal(split.images[position], example["image"])
            assert split.labels[position] == example["label"]


@pytest.mark.slow
def test_provenance_is_recorded(real_data, shared_cache):
    import json

    source = load("mnist", data_dir=real_data).source
    assert json.loads(json.dumps(source)) == source
    assert source["archives"] == {archive.file: archive.sha256 for archive in CATALOGUE["mnist"].archives}
    assert (source["title"], source["citation"]) == ("The MNIST database of handwritten digits", "lecun1998gradient")
    assert source["licence"] == "CC BY-SA 3.0"
    assert source["split"]["sizes"] == {"train": 55000, "validation": 5000, "test": 10000}
    assert source["duplicates"] == {"train/validation": 0, "train/test": 0, "validation/test": 0}


def test_image_size_resizes_catalogue_sets_too():
    from PIL import Image

    plain, small = load("digits"), load("digits", image_size=5)
    assert small.image_shape == (5, 5, 1)
    expected = Image.fromarray(plain.test.images[3, ..., 0]).resize((5, 5), Image.Resampling.BILINEAR)
    assert np.array_equal(small.test.images[3, ..., 0], np.asarray(expected))
    assert load("digits", image_size=8).fingerprint == plain.fingerprint


@pytest.mark.parametrize("size", [0, -3, 100_000])
def test_an_impossible_image_size_is_refused(size, refuses):
    with refuses(f"--image-size {size} is impossible"):
        load("digits", image_size=size)
