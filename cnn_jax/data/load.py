"""`load`: reads a registered data set, a folder, a zip or a .npz file into a `Dataset`, through the cache."""

import functools
import os
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from cnn_jax import untrusted
from cnn_jax.data import archives, cache, folder, official, tfds_source
from cnn_jax.data.catalogue import CATALOGUE, CIFAR10, Entry
from cnn_jax.data.dataset import Dataset, parts_of_arrays
from cnn_jax.data.images import Images, Size, resize, size_of, suffix
from cnn_jax.data.split import Parts, Split
from cnn_jax.data.splits import check_seed
from cnn_jax.errors import DataError, RequestError, quote, reason, shortened
from cnn_jax.paths import cache_root
from cnn_jax.registry import Registry

DIGITS_FILE = Path(__file__).with_name("digits.npz")
GIVEN = "arrays:"  # prefix of the name of a data set whose arrays were given in Python
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Source:
    """A registered data set. `read` takes the data folder (None if none was given), `validation` is the default number
    of training examples held out for validation."""

    read: Callable[[Path | None], Any]
    validation: int | None


DATASETS: Registry[Source] = Registry("dataset")


def register_dataset(name: str, validation: int | None = None) -> Callable[[F], F]:
    """Registers a function that reads a data set.

    The function takes a folder (`--data-dir`, or None) and returns (images, labels), or a dictionary with such a pair
    under `train` and optionally `test` and `validation`, and optionally the list `class_names`. Arrays are as for
    `Dataset.from_arrays`.

    Args:
      name: the name of the data set.
      validation: the default number of training examples held out for validation.

    Returns:
      A decorator that returns the function unchanged.
    """

    def add(read: F) -> F:
        DATASETS.add(name, Source(functools.partial(_registered, name, read), validation))
        return read

    return add


def load(
    name_or_path: str,
    *,
    data_dir: str | Path | None = None,
    image_size: int | str | None = None,
    resize: str = "squash",
    validation: int | None = None,
    train_examples: int | None = None,
    split_seed: int = 0,
    without_test: bool = False,
) -> Dataset:
    """Loads a data set as uint8 arrays in three splits, from the cache if it was loaded before.

    Args:
      name_or_path: a registered name, a folder of images or a zip of one, a .npz file, or the name (`name` or
        `name/config`) of an image classification set that TFDS has prepared as array_record below `data_dir`; looked up
        in this order.
      data_dir: the folder of archives and prepared sets; only read. The built-in data sets need it until their arrays
        are cached.
      image_size: resizes every image to a square of this side in pixels, or to the height and width in "HxW", by
        antialiased bilinear interpolation.
      resize: "squash" to that shape, "fit" into it with black borders, or "crop" what does not fit.
      validation: the number of train examples held out for validation; None for the default of this data set.
      train_examples: the number of training examples to use; a smaller number selects a subset of a larger one.
      split_seed: selects the examples of each split; never affects a test split that the source has.
      without_test: accepts a source that has a train split but no test split; `test` then holds no images.

    Returns:
      The data set, with the arrays memory-mapped from the cache where possible.

    Raises:
      DataError: the data are missing, damaged, malicious or unknown.
      RequestError: impossible image_size, validation, train_examples, split_seed or without_test.
    """
    size = size_of(image_size, resize)
    check_seed(split_seed)
    directory = None if data_dir is None else Path(os.path.expanduser(data_dir)).absolute()
    name, parts = _parts(name_or_path, directory, size, without_test)
    named: Source | Entry | None = {**DATASETS, **CATALOGUE}.get(name_or_path)  # type: ignore[assignment]
    return Dataset.of_parts(
        name, parts, validation, train_examples, split_seed, named.validation if named else None, without_test,
        where=name_or_path, image_size=image_size,
    )  # fmt: skip


def remember(dataset: Dataset) -> str:
    """Caches the splits of a data set given as arrays; returns a name under which `load` finds them in this cache."""
    key = f"{dataset.name}@{dataset.fingerprint[:16]}"
    splits = {name: _in_memory(getattr(dataset, name)) for name in ("train", "validation", "test")}
    splits = {name: split for name, split in splits.items() if len(split)}
    about = {name: value for name, value in dataset.source.items() if name not in ("split", "duplicates")}
    cache.cached(f"given-{_safe(key)}", lambda: Parts(splits, dataset.class_names, about))
    return f"{GIVEN}{key}"


def _in_memory(split: Any) -> Split:
    if not isinstance(split, Split):
        raise RequestError("a data set on disk is trained by its name, with stream")
    return split


def _safe(key: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-@." else "_" for letter in key)


def _cached_arrays(name: str) -> Parts:
    def missing() -> Parts:
        raise DataError(
            f"{name}: these arrays were given in Python and are not in this cache ({cache_root()}); give them again "
            "with data=…, or save them as .npz and give --dataset FILE.npz"
        )

    return cache.cached(f"given-{_safe(name.removeprefix(GIVEN))}", missing)


def _parts(name: str, data_dir: Path | None, size: Size | None, without_test: bool) -> tuple[str, Parts]:
    """The data set's name and its arrays at the requested size, before they are divided into splits."""
    if name in CATALOGUE:
        return name, _catalogued(CATALOGUE[name], data_dir, size)
    if name.startswith("cifar10_c/"):
        clean = _catalogued(CIFAR10, data_dir, None)
        return name, _resized(official.corrupted(name, clean, CIFAR10, data_dir), size)
    if name in DATASETS:
        return name, _resized(DATASETS[name].read(data_dir), size)
    if name.startswith(GIVEN):
        return name.removeprefix(GIVEN).partition("@")[0], _resized(_cached_arrays(name), size)
    path = os.path.expanduser(name)
    if path.endswith(".npz") and os.path.isfile(path):
        return Path(path).stem, _resized(_npz(Path(path)), size)
    if os.path.exists(path):  # unlike Path.exists, False for text that is no valid path
        source = folder.open_source(Path(path))
        parts = cache.cached(source.key + suffix(size), lambda: folder.read_parts(source, size, without_test))
        return source.path.name.removesuffix(".zip"), parts
    archives.check_folder(data_dir)
    if prepared := tfds_source.find(name, data_dir):
        with _needs_tfds(name):
            return name, cache.cached(
                tfds_source.key(prepared) + suffix(size), lambda: tfds_source.read(prepared, size, without_test)
            )
    raise DataError(
        f"{shortened(name)}: no such data set, folder, zip or .npz file: the names are {', '.join(DATASETS)} and those "
        "of a --plugin; the name of a set that TFDS has prepared under --data-dir works too"
    )


@contextmanager
def _needs_tfds(name: str) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise DataError(
            f"{name} is not in the cache ({cache_root()}) and reading it needs TFDS, which cannot be imported "
            f"({error}): install cnn_jax[data], or copy a cache that has it and set CNN_JAX_CACHE"
        ) from error


def _catalogued(entry: Entry, data_dir: Path | None, size: Size | None) -> Parts:
    if entry.shape is None:
        return cache.cached(f"{entry.name}{suffix(size)}", lambda: official.read(entry, data_dir, size))
    if size and size[:2] != entry.shape[:2]:
        key = f"{entry.name}{suffix(size)}"
        return cache.cached(key, lambda: _resized(_catalogued(entry, data_dir, None), size))
    if entry.name == "digits":
        return _digits(entry)
    return cache.cached(entry.name, lambda: official.read(entry, data_dir, None))


def _digits(entry: Entry) -> Parts:
    with np.load(DIGITS_FILE, allow_pickle=False) as file:
        split = Split(file["images"], file["labels"].astype(np.int32))
    return Parts({"all": split}, entry.class_names, official.about(entry))


def _registered(name: str, read: Callable[[Path | None], Any], data_dir: Path | None) -> Parts:
    """Calls a registered function. Raises DataError if it raises anything or returns anything but labelled images."""
    try:
        arrays = read(data_dir)
    except (DataError, RequestError):
        raise
    except Exception as error:  # the user's code may raise anything
        raise DataError(f"dataset {name}: {reason(error)}") from error
    return _arrays(name, arrays if isinstance(arrays, dict) else {"train": arrays})


def _arrays(name: str, arrays: dict[str, Any]) -> Parts:
    """Converts pairs of arrays by split to parts. Raises DataError for unknown splits or arrays of other kinds."""
    names = arrays.pop("class_names", None)
    if "train" not in arrays or not set(arrays) <= {"train", "validation", "test"}:
        raise DataError(f"{name} has {', '.join(map(quote, arrays)) or 'nothing'}; it needs train, and maybe test")
    return parts_of_arrays(name, arrays["train"], arrays.get("validation"), arrays.get("test"), names)


NAMES = {  # of the arrays in a .npz file: our own and those of Keras and MedMNIST
    "train": (("images", "labels"), ("x_train", "y_train"), ("train_images", "train_labels")),
    "validation": (("x_val", "y_val"), ("val_images", "val_labels"), ("validation_images", "validation_labels")),
    "test": (("x_test", "y_test"), ("test_images", "test_labels")),
}


def _npz(path: Path) -> Parts:
    """Reads a .npz file of images and labels, or of such pairs per split. Raises DataError for anything else."""
    with untrusted.parsing(path, DataError), zipfile.ZipFile(path) as archive:
        size = sum(member.file_size for member in archive.infolist())
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        if size > memory // 2:
            raise ValueError(f"it holds {size:,} bytes, too much for a memory of {memory:,}")
        with np.load(path, allow_pickle=False) as file:
            arrays: dict[str, Any] = {}
            for split, pairs in NAMES.items():
                for images, labels in pairs:
                    if images in file.files and labels in file.files:
                        arrays[split] = (file[images], np.atleast_1d(file[labels].squeeze()))
            if "class_names" in file.files:
                arrays["class_names"] = [str(name) for name in file["class_names"]]
            if "train" not in arrays:
                raise ValueError(f"it holds {', '.join(file.files)[:200]}; it needs the arrays images and labels")
    return _arrays(path.stem, arrays)


def _resized(parts: Parts, size: Size | None) -> Parts:
    if size is None or all(split.image_shape[:2] == size[:2] for split in parts.splits.values()):
        return parts
    splits = {}
    for name, split in parts.splits.items():
        images = Images(len(split))
        for index, image in enumerate(split.images):
            images.add(f"{parts.source['title']} {name} {index}", resize(image, size))
        (resized,) = images.split([len(split)])
        splits[name] = Split(resized, split.labels)
    return Parts(splits, parts.class_names, parts.source)


for _entry in CATALOGUE.values():
    DATASETS.add(_entry.name, Source(functools.partial(_catalogued, _entry, size=None), _entry.validation))
DATASETS.seal()
