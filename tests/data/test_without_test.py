"""Data that has no test split: refused, unless one says beforehand that this is known."""

import zipfile

import numpy as np
import pytest
from samples import files_of, write_tree
from test_tfds_source import prepare

from cnn_jax import api
from cnn_jax.data import load, open_stream
from cnn_jax.training.config import Config

OWN = {f"{split}/{c}": n for split, n in (("train", 10), ("val", 3)) for c in "ab"}
TRAIN = {"train/a": 20, "train/b": 20}


@pytest.fixture(params=["folder", "zip"])
def source(request, tmp_path):
    def make(counts, name="photos"):
        if request.param == "folder":
            return str(write_tree(tmp_path / name, files_of(counts)))
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as archive:
            for member, data in files_of(counts).items():
                archive.writestr(member, data)
        return str(tmp_path / f"{name}.zip")

    return make


def test_the_error_says_which_flag_there_is_and_the_flag_gives_an_empty_test_split(source, refuses):
    path = source(OWN)
    for _ in range(2):  # also once its arrays are cached
        with refuses(path, "no test split beside train, validation", "--without-test", "nothing can be cited"):
            load(path)
        dataset = load(path, without_test=True)
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (20, 6, 0)
    assert dataset.test.images.shape == (0, 6, 5, 3)
    assert dataset.test.image_shape == dataset.image_shape
    assert dataset.source["split"]["rule"] == "the source has no test split, its own validation"
    assert dataset.source["split"]["sizes"] == {"train": 20, "validation": 6, "test": 0}
    whole = load(source(OWN | {"test/a": 2, "test/b": 2}, "whole"))
    assert np.array_equal(dataset.train.images, whole.train.images)
    assert np.array_equal(dataset.validation.labels, whole.validation.labels)
    assert dataset.fingerprint != whole.fingerprint


def test_a_train_split_alone_is_cut_into_train_and_validation(source, refuses):
    path = source(TRAIN)
    dataset = load(path, without_test=True)
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (36, 4, 0)
    assert dataset.source["split"]["rule"].startswith(
        "the source has no test split; validation = 4 of the remaining 40"
    )
    assert len(load(path, without_test=True, validation=7, train_examples=10).train) == 10
    with refuses(path, "a validation split of 40 images is impossible"):
        load(path, without_test=True, validation=40)


def test_the_flag_is_refused_where_there_is_a_test_split(source, refuses, tmp_path):
    with refuses("photos", "has a test split: leave out --without-test"):
        load(source(OWN | {"test/a": 2, "test/b": 2}), without_test=True)
    for name in (source({"a": 5, "b": 5}, "dealt"), "digits"):
        with refuses(name.rpartition("/")[2], "a test split is drawn", "leave out --without-test"):
            load(name, without_test=True)


@pytest.mark.parametrize("splits", [{"train": 20, "validation": 6}, {"train": 20}])
def test_sets_of_tfds_loaded_and_streamed(splits, tmp_path, refuses):
    prepare(tmp_path, "small", splits)
    if "validation" not in splits:  # a lone train split is dealt to three
        with refuses("small", "a test split is drawn"):
            load("small", data_dir=tmp_path, without_test=True)
        return
    for opener in (load, open_stream):
        with refuses("small", "no test split beside train, validation", "--without-test"):
            opener("small", data_dir=tmp_path)
    loaded, streamed = (opener("small", data_dir=tmp_path, without_test=True) for opener in (load, open_stream))
    assert loaded.fingerprint == streamed.fingerprint
    assert loaded.source == streamed.source
    for dataset in (loaded, streamed):
        assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (20, 6, 0)
        assert dataset.test.image_shape == dataset.image_shape == (6, 6, 3)


def test_a_config_says_it(tmp_path, refuses):
    path = str(write_tree(tmp_path / "photos", files_of(OWN)))
    with refuses("--without-test"):
        api.load_data(Config(dataset=path))
    assert len(api.load_data(Config(dataset=path, without_test=True)).test) == 0
