"""Reads the archives of catalogue entries, as their publishers serve them, each verified by its sha256 first."""

import dataclasses
import gzip
import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from cnn_jax import untrusted
from cnn_jax.data import archives, cache, cifar, folder, idx, pictures
from cnn_jax.data.catalogue import CIFAR10_C, IDX_FILES, Entry
from cnn_jax.data.images import Size
from cnn_jax.data.split import Parts, Split
from cnn_jax.errors import DataError, quote
from cnn_jax.references import references

Files = dict[str, Path]
Splits = dict[str, Split]
# hendrycks2019benchmarking, 3.1 and 4: fifteen to report, then four to tune on.
REPORTED = (
    "gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "snow",
    "frost", "fog", "brightness", "contrast", "elastic_transform", "pixelate", "jpeg_compression",
)  # fmt: skip
CORRUPTIONS = (*REPORTED, "speckle_noise", "gaussian_blur", "spatter", "saturate")
SEVERITIES = 5


def read(entry: Entry, data_dir: Path | None, size: Size | None) -> Parts:
    """Reads the archives of an entry; `size` is used only where its images differ in size.

    Raises DataError for a missing, wrong or damaged archive.
    """
    files = _verified(entry, data_dir)
    if entry.name in pictures.SOURCES:
        path = files[entry.archives[0].file]
        parts = folder.read_parts(pictures.SOURCES[entry.name](path), size)
        names = entry.class_names or pictures.words(path, parts.class_names)
        return Parts(parts.splits, names, about(entry))
    return Parts(READERS[entry.name](entry, files), entry.class_names, about(entry))


def about(entry: Entry) -> dict:
    """What a data set's `source` says of it."""
    return {
        "title": entry.title,
        "licence": entry.licence,
        "citation": entry.citation,
        "bibtex": references()[entry.citation].bibtex,
        "archives": {archive.file: archive.sha256 for archive in entry.archives},
        "skipped": {},
    }


def _verified(entry: Entry, data_dir: Path | None) -> Files:
    files = archives.find(entry, data_dir)
    for archive in entry.archives:
        archives.check(entry, archive, files[archive.file])
    return files


def _idx(entry: Entry, files: Files) -> Splits:
    """MNIST and its likes, in the order of TFDS."""
    splits = {}
    for split, pair, count in (("train", IDX_FILES[:2], entry.train), ("test", IDX_FILES[2:], entry.test)):
        images, labels = idx.read_pair(files[pair[0]], files[pair[1]], len(entry.class_names), count)
        order = idx.shuffled(split, count)
        splits[split] = Split(images[order], labels[order])
    return splits


def _emnist(entry: Entry, files: Files) -> Splits:
    """A pair of gzipped idx files per split in the zip. Images are stored by columns, letters counted from 1
    (cohen2017emnist)."""
    (path,) = files.values()
    part = entry.name.removeprefix("emnist_")
    splits = {}
    with untrusted.parsing(path, DataError), zipfile.ZipFile(path) as archive:
        for split in ("train", "test"):
            images, labels = (
                idx.parse_idx(name, gzip.decompress(archive.read(name)), dimensions)
                for kind, dimensions in (("images", 3), ("labels", 1))
                for name in [f"gzip/emnist-{part}-{split}-{kind}-idx{dimensions}-ubyte.gz"]
            )
            upright = np.ascontiguousarray(images.swapaxes(1, 2)[..., None])
            splits[split] = _split(f"{path}, {split}", upright, labels, int(part == "letters"), entry)
    return splits


def _svhn(entry: Entry, files: Files) -> Splits:
    """MATLAB files of X, uint8 (32, 32, 3, N), and y, in which 10 stands for the digit 0 (netzer2011reading)."""
    from scipy.io import loadmat

    splits = {}
    for split, path in zip(("train", "test"), files.values(), strict=True):
        with untrusted.parsing(path, DataError):
            values = loadmat(path)
            images = np.ascontiguousarray(values["X"].transpose(3, 0, 1, 2))
            splits[split] = _split(str(path), images, values["y"].ravel() % 10, 0, entry)
    return splits


def _stl10(entry: Entry, files: Files) -> Splits:
    """Binary files of pixels, planes stored by columns, and of labels from 1 (coates2011analysis)."""
    (path,) = files.values()
    found = {}
    with untrusted.parsing(path, DataError), tarfile.open(path, "r:gz") as archive:
        wanted = {f"{split}_{kind}.bin" for split in ("train", "test") for kind in "Xy"}
        for member in archive:
            if (name := member.name.rpartition("/")[2]) in wanted and (file := archive.extractfile(member)):
                found[name] = np.frombuffer(file.read(), np.uint8)
            if len(found) == len(wanted):  # before the unlabelled images, which are most of the archive
                break
        splits = {}
        for split in ("train", "test"):
            planes = found[f"{split}_X.bin"].reshape(-1, 3, 96, 96)
            images = np.ascontiguousarray(planes.transpose(0, 3, 2, 1))
            splits[split] = _split(f"{path}, {split}", images, found[f"{split}_y.bin"], 1, entry)
    return splits


def _split(where: str, images: np.ndarray, labels: np.ndarray, first: int, entry: Entry) -> Split:
    """A split with labels that count from `first`. Raises DataError if they do not, or do not fit the images."""
    labels = labels.astype(np.int32) - first
    if len(labels) != len(images):
        raise DataError(f"{where}: {len(labels)} labels for {len(images)} images")
    if labels.size and not (labels.min() >= 0 and labels.max() < len(entry.class_names)):
        raise DataError(f"{where}: labels {labels.min() + first} to {labels.max() + first} for {entry.title}")
    return Split(images, labels)


def _cifar(entry: Entry, files: Files) -> Splits:
    (path,) = files.values()
    return cifar.read_cifar(path, cifar.LAYOUTS[entry.name])


READERS: dict[str, Callable[[Entry, Files], Splits]] = {
    **dict.fromkeys(("mnist", "fashion_mnist", "kmnist"), _idx),
    **{f"emnist_{part}": _emnist for part in ("balanced", "letters", "digits", "byclass")},
    **dict.fromkeys(cifar.LAYOUTS, _cifar),
    "svhn": _svhn,
    "stl10": _stl10,
}


def corrupted(name: str, clean: Parts, entry: Entry, data_dir: Path | None) -> Parts:
    """CIFAR-10 with its test images corrupted: `name` is cifar10_c/<corruption>, or cifar10_c/<corruption>/<severity>
    with a severity from 1 to 5 (hendrycks2019benchmarking).

    Raises DataError for an unknown corruption or severity, and for a missing, wrong or damaged archive.
    """
    corruption, _, severity = name.partition("/")[2].partition("/")
    if corruption not in CORRUPTIONS or severity not in ("", *map(str, range(1, SEVERITIES + 1))):
        raise DataError(
            f"{quote(name)}: write cifar10_c/CORRUPTION or cifar10_c/CORRUPTION/SEVERITY, a severity from 1 to "
            f"{SEVERITIES} and a corruption of {', '.join(CORRUPTIONS)}"
        )

    def read_archive() -> Parts:
        (path,) = _verified(dataclasses.replace(entry, name="cifar10_c", archives=(CIFAR10_C,)), data_dir).values()
        arrays = []
        with untrusted.parsing(path, DataError), tarfile.open(path, "r:") as tar:
            for member in (f"CIFAR-10-C/{corruption}.npy", "CIFAR-10-C/labels.npy"):
                file = tar.extractfile(member)
                assert file is not None, f"{member} is no file"
                arrays.append(np.load(io.BytesIO(file.read()), allow_pickle=False))
        images, labels = arrays
        return Parts({"test": _split(str(path), images, labels, 0, entry)}, entry.class_names, {})

    test = cache.cached(f"cifar10_c-{corruption}", read_archive).splits["test"]
    if severity:
        each = len(test) // SEVERITIES
        now = slice((int(severity) - 1) * each, int(severity) * each)
        test = Split(test.images[now], test.labels[now])
    source = about(entry) | {"title": f"CIFAR-10-C, {corruption} {severity}".strip()}
    source["archives"] = {**source["archives"], CIFAR10_C.file: CIFAR10_C.sha256}
    return Parts({"train": clean.splits["train"], "test": test}, entry.class_names, source)
