"""`load`: from a name, a folder or a zip to a `Dataset`, through the cache."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from cnn_jax.data import archives, cache, cifar, folder, tfds_source
from cnn_jax.data.catalogue import CATALOGUE, Entry
from cnn_jax.data.dataset import Dataset, Split, survey
from cnn_jax.data.images import Images, check_size, resize
from cnn_jax.data.splits import Parts, about_the_split, check_seed, divide
from cnn_jax.errors import DataError, shortened
from cnn_jax.paths import cache_root
from cnn_jax.references import references

DIGITS_FILE = Path(__file__).with_name("digits.npz")


def load(
    name_or_path: str,
    *,
    data_dir: str | Path | None = None,
    image_size: int | None = None,
    validation: int | None = None,
    train_examples: int | None = None,
    split_seed: int = 0,
    without_test: bool = False,
) -> Dataset:
    """A data set as uint8 arrays in three splits, from the cache where it has been loaded before.

    Args:
      name_or_path: a name of the catalogue, a folder of images or a zip of one, or the name (`name` or `name/config`)
        of an image classification set that TFDS has prepared as array_record below `data_dir`; looked up in this order.
      data_dir: where archives and prepared sets are; only read. The catalogue needs it once, until its arrays are
        cached.
      image_size: makes every image a square of this many pixels a side, by antialiased bilinear interpolation.
      validation: how many examples are cut from train for validation, instead of the default for this data set.
      train_examples: how many of the training examples stay; fewer are always among more.
      split_seed: decides which examples; the test split of a source that has one never depends on it.
      without_test: accepts a source that has a train and no test split; `test` then holds no images.

    DataError: data missing, damaged, hostile or unknown. RequestError: impossible image_size, validation,
    train_examples, split_seed, without_test.
    """
    check_size(image_size)
    check_seed(split_seed)
    directory = None if data_dir is None else Path(os.path.expanduser(data_dir)).absolute()
    name, parts = _parts(name_or_path, directory, image_size, without_test)
    default = CATALOGUE[name_or_path].validation if name_or_path in CATALOGUE else None
    splits, rule = divide(name_or_path, parts, validation, train_examples, split_seed, default, without_test)
    facts = survey(parts.class_names, **splits)
    source = parts.source | {
        "image_size": image_size,
        "split": about_the_split(
            rule,
            split_seed,
            {split: len(part) for split, part in splits.items()},
            {split: part.labels for split, part in parts.splits.items()},
        ),
        "duplicates": facts.duplicates,
    }
    return Dataset(name, parts.class_names, source=source, known=facts, **splits)


def _parts(name: str, data_dir: Path | None, image_size: int | None, without_test: bool) -> tuple[str, Parts]:
    """The data set's name and its arrays before the cut, at the size asked for."""
    suffix = f"-{image_size}" if image_size else ""
    if entry := CATALOGUE.get(name):
        return name, _catalogued(entry, data_dir, image_size)
    path = os.path.expanduser(name)
    if os.path.exists(path):  # False, unlike that of pathlib, for what can be no path
        source = folder.open_source(Path(path))
        parts = cache.cached(source.key + suffix, lambda: folder.read_parts(source, image_size, without_test))
        return source.path.name.removesuffix(".zip"), parts
    archives.check_folder(data_dir)
    if prepared := tfds_source.find(name, data_dir):
        with _needs_tfds(name):
            return name, cache.cached(
                tfds_source.key(prepared) + suffix, lambda: tfds_source.read(prepared, image_size, without_test)
            )
    raise DataError(
        f"{shortened(name)}: no such data set, folder or zip: the names are {', '.join(CATALOGUE)}; a path to a folder "
        f"of images or to a zip of one works too, or the name of a set that TFDS has prepared under --data-dir"
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


def _catalogued(entry: Entry, data_dir: Path | None, image_size: int | None) -> Parts:
    if image_size and (image_size, image_size) != entry.shape[:2]:
        key = f"{entry.name}-{image_size}"
        return cache.cached(key, lambda: _resized(_catalogued(entry, data_dir, None), image_size))
    if entry.name == "digits":
        return _digits(entry)
    return cache.cached(entry.name, lambda: _prepared(entry, data_dir))


def _prepared(entry: Entry, data_dir: Path | None) -> Parts:
    """From the archives, each hashed before it is read."""
    files = archives.find(entry, data_dir)
    if entry.name == "cifar10":
        for archive in entry.archives:
            archives.check(entry, archive, files[archive.file])
        splits = cifar.read_cifar(files[entry.archives[0].file])
    else:
        with _needs_tfds(entry.name):
            from cnn_jax.data.builders import idx_builder

            splits = tfds_source.read(idx_builder.prepare(entry, files)).splits
    return Parts(splits, entry.class_names, _about(entry))


def _digits(entry: Entry) -> Parts:
    with np.load(DIGITS_FILE, allow_pickle=False) as file:
        whole = Split(file["images"], file["labels"].astype(np.int32))
    return Parts({"all": whole}, entry.class_names, _about(entry))


def _about(entry: Entry) -> dict:
    return {
        "title": entry.title,
        "licence": entry.licence,
        "citation": entry.citation,
        "bibtex": references()[entry.citation].bibtex,
        "archives": {archive.file: archive.sha256 for archive in entry.archives},
        "skipped": {},
    }


def _resized(parts: Parts, size: int) -> Parts:
    splits = {}
    for name, split in parts.splits.items():
        images = Images(len(split))
        for index, image in enumerate(split.images):
            images.add(f"{parts.source['title']} {name} {index}", resize(image, size))
        (resized,) = images.split([len(split)])
        splits[name] = Split(resized, split.labels)
    return Parts(splits, parts.class_names, parts.source)
