"""Archives of other layouts, made here byte by byte as their publishers describe them, and read by name."""

import gzip
import io
import struct
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from samples import archive_of, encoded, install, picture
from scipy.io import savemat

from cnn_jax import api
from cnn_jax.data import load, official
from cnn_jax.data.catalogue import CATALOGUE, Archive
from cnn_jax.training.config import Config

SEVEN = [[0, 9, 9, 9], [0, 0, 0, 9], [0, 0, 9, 0], [0, 9, 0, 0]]  # upright


def idx_bytes(array):
    return gzip.compress(bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes())


def tar_of(path, files, mode):
    with tarfile.open(path, mode) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def zip_of(path, files):
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


@pytest.mark.parametrize(
    ("part", "first", "names"), [("letters", 1, "ABC"), ("balanced", 0, "012"), ("byclass", 0, "012")]
)
def test_emnist_is_turned_upright_and_its_letters_count_from_one(part, first, names, tmp_path, entries):
    name = f"emnist_{part}"
    files = {}
    for split, count in (("train", 6), ("test", 3)):
        images = np.tile(np.uint8(SEVEN).T, (count, 1, 1))
        files[f"gzip/emnist-{part}-{split}-images-idx3-ubyte.gz"] = idx_bytes(images)
        labels = np.uint8(np.arange(count) % 3 + first)
        files[f"gzip/emnist-{part}-{split}-labels-idx1-ubyte.gz"] = idx_bytes(labels)
    path = zip_of(tmp_path / "gzip.zip", files)
    install(name, archives=(archive_of(path),), validation=3)
    dataset = load(name, data_dir=tmp_path)
    assert dataset.test.images[0, :, :, 0].tolist() == SEVEN
    assert [dataset.class_names[label] for label in dataset.test.labels] == list(names)


def test_the_class_names_of_emnist_are_in_the_order_of_its_labels():
    """The mapping files of the archive: 36 is `a`, 46 is `t` in the balanced set; 10 is `A`, 61 is `z` by class."""
    balanced, by_class = (CATALOGUE[f"emnist_{part}"].class_names for part in ("balanced", "byclass"))
    assert (balanced[10], balanced[35], balanced[36], balanced[46], len(balanced)) == ("A", "Z", "a", "t", 47)
    assert (by_class[10], by_class[36], by_class[61], len(by_class)) == ("A", "a", "z", 62)


def test_svhn_counts_its_zeros_as_ten(tmp_path, entries):
    images = np.stack([picture(seed, 32, 32, 3) for seed in range(6)])
    for split in ("train", "test"):
        labels = np.uint8([[10], [1], [9], [10], [1], [9]])
        savemat(tmp_path / f"{split}_32x32.mat", {"X": images.transpose(1, 2, 3, 0), "y": labels})
    install("svhn", archives=tuple(archive_of(tmp_path / f"{s}_32x32.mat") for s in ("train", "test")), validation=3)
    test = load("svhn", data_dir=tmp_path).test
    assert np.array_equal(test.images, images)
    assert test.labels.tolist() == [0, 1, 9, 0, 1, 9]


def stl10(path, labels):
    images = np.stack([picture(seed, 96, 96, 3) for seed in range(4)])
    planes = images.transpose(0, 3, 2, 1).tobytes()  # channel, then column, then row
    files = {f"stl10_binary/{split}_X.bin": planes for split in ("train", "test")}
    files |= {f"stl10_binary/{split}_y.bin": bytes(labels) for split in ("train", "test")}
    tar_of(path, files | {"stl10_binary/unlabeled_X.bin": b"never read"}, "w:gz")
    install("stl10", archives=(archive_of(path),), validation=2)
    return images


def test_stl10_is_stored_by_columns_and_counts_from_one(tmp_path, entries):
    images = stl10(tmp_path / "stl10_binary.tar.gz", [1, 10, 1, 10])
    dataset = load("stl10", data_dir=tmp_path)
    assert np.array_equal(dataset.test.images, images)
    assert [dataset.class_names[label] for label in dataset.test.labels] == ["airplane", "truck"] * 2


def test_a_label_out_of_range_is_named(tmp_path, entries, refuses):
    stl10(tmp_path / "stl10_binary.tar.gz", [0, 1, 1, 1])
    with refuses("stl10_binary.tar.gz, train", "labels 0 to 1"):
        load("stl10", data_dir=tmp_path)


def test_tiny_imagenet_takes_the_classes_of_its_test_images_from_their_list(tmp_path, entries):
    root = "tiny-imagenet-200"
    classes, files, lines = ("n02", "n01"), {}, []
    for at, label in enumerate(classes):
        for i in range(4):
            files[f"{root}/train/{label}/images/{label}_{i}.JPEG"] = encoded(picture(10 * at + i, 64, 64, 3), "png")
        files[f"{root}/val/images/val_{at}.JPEG"] = encoded(picture(90 + at, 64, 64, 3), "png")
        lines.append(f"val_{at}.JPEG\t{label}\t0\t0\t62\t57")
    files[f"{root}/test/images/test_0.JPEG"] = b"has no label"
    files[f"{root}/val/val_annotations.txt"] = "\n".join(lines).encode()
    files[f"{root}/words.txt"] = b"n01\tgoldfish, Carassius auratus\nn02\tbus"
    path = zip_of(tmp_path / "tiny-imagenet-200.zip", files)
    install("tiny_imagenet", archives=(archive_of(path),), validation=2)
    dataset = load("tiny_imagenet", data_dir=tmp_path)
    assert dataset.class_names == ("n01 goldfish", "n02 bus")
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (6, 2, 2)
    assert [dataset.test.images[i].tolist() for i in range(2)] == [
        picture(91, 64, 64, 3).tolist(),
        picture(90, 64, 64, 3).tolist(),
    ]
    assert dataset.test.labels.tolist() == [0, 1]


def test_imagenette_needs_a_size_and_tests_on_its_validation_images(tmp_path, entries, refuses):
    files = {}
    for label in ("n0144", "n0210"):
        for i in range(3):
            files[f"imagenette2-320/train/{label}/{i}.JPEG"] = encoded(picture(i, 40 + i, 30, 3))
        files[f"imagenette2-320/val/{label}/9.JPEG"] = encoded(picture(9, 40, 30, 3))
    files["imagenette2-320/noisy_imagenette.csv"] = b"path,labels"
    path = tar_of(tmp_path / "imagenette2-320.tgz", files, "w:gz")
    install("imagenette", archives=(archive_of(path),), class_names=("tench", "springer"), validation=2)
    with refuses("imagenette2-320.tgz", "--image-size"):
        load("imagenette", data_dir=tmp_path)
    dataset = load("imagenette", data_dir=tmp_path, image_size=16)
    assert (len(dataset.train), len(dataset.test), dataset.image_shape) == (4, 2, (16, 16, 3))
    assert dataset.class_names == ("tench", "springer")


def test_cifar10_c_is_cifar10_with_other_test_images(tmp_path, entries, refuses, monkeypatch):
    clean = np.stack([picture(seed, 32, 32, 3) for seed in range(40)])
    labels = np.arange(40, dtype=np.int32) % 10
    monkeypatch.setattr(
        sys.modules["cnn_jax.data.load"],
        "_catalogued",
        lambda entry, *_: official.Parts({"train": official.Split(clean, labels)}, entry.class_names, {}),
    )
    fog = np.stack([picture(seed, 32, 32, 3) for seed in range(100, 150)])
    arrays = {"fog": fog, "labels": np.tile(np.arange(10, dtype=np.uint8), 5)}
    files = {}
    for name, array in arrays.items():
        file = io.BytesIO()
        np.save(file, array)
        files[f"CIFAR-10-C/{name}.npy"] = file.getvalue()
    path = tar_of(tmp_path / "CIFAR-10-C.tar", files, "w:")
    with refuses("CIFAR-10-C.tar", "wrong sha256", "c72763e101c7"):
        load("cifar10_c/fog", data_dir=tmp_path)
    monkeypatch.setattr(official, "CIFAR10_C", archive_of(path))
    third = load("cifar10_c/fog/3", data_dir=tmp_path, validation=10)
    assert np.array_equal(third.test.images, fog[20:30])
    assert third.source["archives"]["CIFAR-10-C.tar"] == archive_of(path).sha256
    assert len(load("cifar10_c/fog", data_dir=tmp_path, validation=10).test) == 50
    for name in ("cifar10_c/smog", "cifar10_c/fog/6", "cifar10_c/fog/x", "cifar10_c/"):
        with refuses(name, "gaussian_noise", "from 1 to 5"):
            load(name, data_dir=tmp_path)


def test_the_table_of_corruptions_is_the_mean_over_severities_and_corruptions(tmp_path, entries, monkeypatch):
    """A corruption of this archive is CIFAR-10's test images, or black from its severity on: the errors are known."""
    install("cifar10", validation=10)
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "experiments")
    import corruptions

    images = np.stack([picture(seed, 32, 32, 3) for seed in range(30)])
    labels = np.arange(30, dtype=np.int32) % 10
    splits = {name: official.Split(images, labels) for name in ("train", "test")}
    names = CATALOGUE["cifar10"].class_names
    monkeypatch.setattr(
        sys.modules["cnn_jax.data.load"], "_catalogued", lambda *_: official.Parts(splits, names, {"title": ""})
    )
    arrays = {"labels": np.tile(labels, 5)}
    reported = official.REPORTED[:4]
    monkeypatch.setattr(corruptions, "REPORTED", reported)
    for at, name in enumerate(reported):
        arrays[name] = np.concatenate([images * (severity <= at) for severity in range(5)])
    files = {}
    for name, array in arrays.items():
        file = io.BytesIO()
        np.save(file, array)
        files[f"CIFAR-10-C/{name}.npy"] = file.getvalue()
    path = tar_of(tmp_path / "CIFAR-10-C.tar", files, "w:")
    monkeypatch.setattr(official, "CIFAR10_C", archive_of(path))
    config = Config(network="dense-10", dataset="cifar10", validation=10, epochs=1, devices=1)
    run = api.train(config, tmp_path / "run", show=False).path
    found = corruptions.errors([run], str(tmp_path))
    assert len(found) == 1 + 4 * 5
    clean, black = found.error[0], found.error[found.corruption == "gaussian_noise"].iloc[-1]
    means = dict(zip(*(corruptions.table(found)[name] for name in ("corruption", "error")), strict=True))
    at = reported.index("impulse_noise")
    assert means["impulse_noise"] == f"{100 * ((at + 1) * clean + (4 - at) * black) / 5:.2f} %"
    share = np.mean([(at + 1) / 5 for at in range(4)])
    assert means["all"] == f"{100 * (share * clean + (1 - share) * black):.2f} %"


def test_a_damaged_archive_behind_a_good_checksum_is_one_line(tmp_path, entries, refuses):
    for name in ("emnist_digits", "svhn", "stl10", "tiny_imagenet"):
        for archive in CATALOGUE[name].archives:
            (tmp_path / archive.file).write_bytes(b"no archive")
        digest = archive_of(tmp_path / CATALOGUE[name].archives[0].file).sha256
        install(name, archives=tuple(Archive(archive.file, digest) for archive in CATALOGUE[name].archives))
        with refuses(CATALOGUE[name].archives[0].file):
            load(name, data_dir=tmp_path)
