"""Archives that are missing, damaged or another data set's: one line, at once, nothing written but in the cache."""

import dataclasses
import io
import os
import shutil
import tarfile
import time

import numpy as np
import pytest
from samples import archive_of, install, snapshot, tiny_arrays, write_idx

from cnn_jax.data import load
from cnn_jax.data.catalogue import CATALOGUE, IDX_FILES
from cnn_jax.data.cifar import CIFAR10, LAYOUTS, read_cifar


@pytest.mark.parametrize("name", [name for name in CATALOGUE if name != "digits"])
def test_without_an_archive_the_error_comes_at_once_and_says_what_goes_where(name, tmp_path, refuses):
    archive = CATALOGUE[name].archives[0]
    start = time.perf_counter()
    with refuses(name, archive.file, archive.sha256[:12], "CNN_JAX_CACHE", f"DIR/{name}/", "--data-dir DIR"):
        load(name)
    with refuses(archive.file, f"{tmp_path}/{name}/"):
        load(name, data_dir=tmp_path)
    assert time.perf_counter() - start < 2


def test_a_missing_data_folder_is_named(tmp_path, refuses):
    for name in ("mnist", "emnist/letters"):
        with refuses(tmp_path / "nowhere", "data folder"):
            load(name, data_dir=tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["minst", "", "no/such/folder", "photos.zip", "x" * 5000, "a\0b", "~nobody/x"])
def test_an_unknown_name_lists_the_known_ones(name, refuses):
    with refuses(name[:100], "digits, mnist, fashion_mnist, kmnist, emnist_balanced", "folder", "zip"):
        load(name)


def test_a_device_is_not_read(refuses):
    with refuses("/dev/zero", "neither a folder nor a file"):
        load("/dev/zero")


def test_fashion_files_given_as_mnist_are_recognised(real_data, tmp_path, refuses):
    shutil.copytree(real_data / "fashion_mnist", tmp_path / "mnist")
    with refuses(tmp_path / "mnist" / IDX_FILES[0], f"this is {IDX_FILES[0]} of fashion_mnist"):
        load("mnist", data_dir=tmp_path)


def test_images_given_as_labels_are_recognised(tiny_mnist, refuses):
    shutil.copy(tiny_mnist / "mnist" / IDX_FILES[0], tiny_mnist / "mnist" / IDX_FILES[1])
    with refuses(IDX_FILES[1], f"this is {IDX_FILES[0]} of mnist"):
        load("mnist", data_dir=tiny_mnist)


def test_a_flipped_byte_in_an_archive_is_refused_and_a_good_one_then_accepted(tiny_mnist, cache, refuses):
    path = tiny_mnist / "mnist" / IDX_FILES[2]
    good = path.read_bytes()
    path.write_bytes(good[:500] + bytes([good[500] ^ 1]) + good[501:])
    with refuses(path, "wrong sha256"):
        load("mnist", data_dir=tiny_mnist)
    path.write_bytes(good[:-20])
    with refuses(path, "wrong sha256", f"{len(good) - 20} bytes"):
        load("mnist", data_dir=tiny_mnist)
    assert not list(cache.rglob("*.npy"))
    path.write_bytes(good)
    assert len(load("mnist", data_dir=tiny_mnist).test) == 90


def test_archives_of_another_size_than_the_catalogue_says_are_refused(tiny_mnist, refuses):
    install("mnist", train=601)
    with refuses(IDX_FILES[0], "[600, 28, 28]", "expected [601, 28, 28]"):
        load("mnist", data_dir=tiny_mnist)


def test_a_bad_label_behind_a_good_checksum_is_refused(tiny_mnist, refuses):
    path = write_idx(tiny_mnist / "mnist" / IDX_FILES[1], np.full(600, 11, np.uint8))
    old = CATALOGUE["mnist"].archives
    install("mnist", archives=(old[0], archive_of(path), *old[2:]))
    with refuses(path, "label 11 at 0"):
        load("mnist", data_dir=tiny_mnist)


def test_archives_are_found_in_either_place_and_the_folder_is_only_read(tiny_mnist, tmp_path):
    for file in IDX_FILES[:2]:
        shutil.move(tiny_mnist / "mnist" / file, tiny_mnist / file)
    for path in (tiny_mnist / "mnist", tiny_mnist):
        os.chmod(path, 0o555)
    before = snapshot(tiny_mnist)
    dataset = load("mnist", data_dir=tiny_mnist)
    assert snapshot(tiny_mnist) == before
    arrays = tiny_arrays()
    assert sorted(dataset.test.images.reshape(90, -1).tolist()) == sorted(arrays["test"][0].reshape(90, -1).tolist())
    assert (len(dataset.train), len(dataset.validation)) == (500, 100)


TINY = {name: dataclasses.replace(layout, records={"train": 4, "test": 4}) for name, layout in LAYOUTS.items()}


def cifar_archive(path, layout=CIFAR10, records=4, label=9, without=(), extra=b""):
    random = np.random.default_rng(0)
    rows = {}
    with tarfile.open(path, "w:gz") as archive:
        for name in (name for names in layout.files.values() for name in names if name not in without):
            rows[name] = random.integers(0, 256, (records, layout.labels + 3072), dtype=np.uint8)
            rows[name][:, layout.labels - 1] = np.arange(records) % label
            rows[name][-1, layout.labels - 1] = label
            info = tarfile.TarInfo(f"cifar-binary/{name}")
            info.size = records * (layout.labels + 3072) + len(extra)
            archive.addfile(info, io.BytesIO(rows[name].tobytes() + extra))
    return rows


@pytest.mark.parametrize("name", LAYOUTS)
def test_cifar_binary_records_are_read_in_order(name, tmp_path):
    path, layout = tmp_path / "cifar.tar.gz", TINY[name]
    rows = cifar_archive(path, layout)
    splits = read_cifar(path, layout)
    files = layout.files["train"]
    assert {name: split.images.shape for name, split in splits.items()} == {
        "train": (4 * len(files), 32, 32, 3),
        "test": (4, 32, 32, 3),
    }
    for index, (y, x, channel) in ((0, (0, 0, 0)), (2, (31, 5, 1)), (4 * len(files) - 1, (16, 30, 2))):
        row = rows[files[index // 4]][index % 4]
        pixels = row[layout.labels :]
        assert splits["train"].images[index, y, x, channel] == pixels[channel * 1024 + y * 32 + x]
        assert splits["train"].labels[index] == row[layout.labels - 1]
    assert splits["test"].labels.tolist() == [0, 1, 2, 9]


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"label": 10}, "label 10 at train 3"),
        ({"without": CIFAR10.files["test"]}, "test_batch.bin is not in"),
        ({"extra": b"x"}, "has 12293 bytes, expected 12292"),
    ],
)
def test_bad_cifar_archives_are_refused(options, what, tmp_path, refuses):
    path = tmp_path / "cifar.tar.gz"
    cifar_archive(path, **options)
    with refuses(path, what):
        read_cifar(path, TINY["cifar10"])


@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda data: b"no archive", lambda data: b""])
def test_damaged_cifar_archives_are_refused(damage, tmp_path, refuses):
    path = tmp_path / "cifar.tar.gz"
    cifar_archive(path)
    path.write_bytes(damage(path.read_bytes()))
    with refuses(path, "not a whole gzipped tar"):
        read_cifar(path, TINY["cifar10"])


def test_cifar10_by_name_reads_only_the_official_archive(tmp_path, entries, refuses, monkeypatch):
    path = tmp_path / "cifar-10-binary.tar.gz"
    cifar_archive(path)
    with refuses(path, "wrong sha256", "c4a38c50a1bc"):
        load("cifar10", data_dir=tmp_path)
    install("cifar10", archives=(archive_of(path),), validation=5)
    monkeypatch.setitem(LAYOUTS, "cifar10", TINY["cifar10"])
    dataset = load("cifar10", data_dir=tmp_path)
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (15, 5, 4)
    assert dataset.class_names[9] == "truck"
