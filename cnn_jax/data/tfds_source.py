"""Reads data sets that TFDS has prepared as array_record, without TensorFlow and without downloads."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cnn_jax import runtime
from cnn_jax.data.decoding import decode_all
from cnn_jax.data.images import Size
from cnn_jax.data.records import Records
from cnn_jax.data.split import Parts, Split
from cnn_jax.data.splits import check_splits
from cnn_jax.data.storage import listing_key
from cnn_jax.errors import DataError, RequestError, reason


def find(name: str, data_dir: Path | None) -> Path | None:
    """The folder of the highest version of a prepared `name` or `name/config` below data_dir, or None.

    Raises DataError if there are several configurations and the name does not say which.
    """
    if data_dir is None or not re.fullmatch(r"[A-Za-z]\w*(/[\w.+-]+)?", name):
        return None
    versions = [path.parent for path in data_dir.glob(f"{name}/*/dataset_info.json")]
    if versions:
        return max(versions, key=lambda path: [int(part) for part in re.findall(r"\d+", path.name)])
    configs = sorted({path.parts[-3] for path in data_dir.glob(f"{name}/*/*/dataset_info.json")})
    if len(configs) > 1:
        raise DataError(f"{data_dir / name}: several configurations, name one: {name}/{', '.join(configs)}")
    return find(f"{name}/{configs[0]}", data_dir) if configs else None


def key(folder: Path) -> str:
    """The cache key of a prepared folder; changes when anything in it is written to."""
    return f"tfds-{listing_key(folder, sorted(folder.iterdir()))}"


@dataclass(frozen=True, eq=False)
class TfdsSource:
    """A prepared folder, open for reading. `splits` are the records under this package's names: `train`, `test` and
    optionally `validation`, or `all`."""

    folder: Path
    splits: dict[str, Records]
    class_names: tuple[str, ...]
    about: dict[str, Any]


@runtime.host_logging
def open_folder(folder: Path, without_test: bool = False) -> TfdsSource:
    """Opens a folder returned by `find`. A single `train` split counts as unsplit (`all`).

    Raises DataError unless the set is stored as array_record, has exactly one image and one class label, a train split,
    and a test split (or `without_test`); RequestError for `without_test` if it has a test split.
    """
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder_from_directory(folder)
        info = builder.info
        image, label = _keys(folder, info, tfds)
        names = {"train": "train", "validation": "validation", "test": "test"}
        if set(info.splits) == {"train"}:
            names = {"train": "all"}
        splits = {
            split: Records(f"{folder} {split}", builder.as_data_source(split=tfds_split).data_source, image, label)
            for tfds_split, split in names.items()
            if tfds_split in info.splits
        }
        check_splits(folder, list(splits), without_test)
    except NotImplementedError as error:
        raise DataError(f"{folder}: not stored as array_record: prepare it with file_format='array_record'") from error
    except RequestError:
        raise
    except Exception as error:  # damaged files raise many types
        raise DataError(f"{folder}: TFDS cannot read this: {reason(error)}") from error
    licence = info.redistribution_info.license or "not stated"
    about = {"title": info.full_name, "licence": licence, "citation": info.citation, "archives": {}, "skipped": {}}
    return TfdsSource(folder, splits, tuple(info.features[label].names), about)


def read(folder: Path, image_size: Size | None = None, without_test: bool = False) -> Parts:
    """Reads every example of a prepared folder, in order. Raises as `open_folder`; DataError if a record is damaged."""
    prepared = open_folder(folder, without_test)
    labels: dict[str, list[int]] = {split: [] for split in prepared.splits}

    def items() -> Iterator[tuple[str, bytes]]:
        for split, records in prepared.splits.items():
            for name, data, label in records.read(range(len(records))):
                yield name, data
                labels[split].append(label)

    counts = [len(records) for records in prepared.splits.values()]
    arrays = decode_all(items(), sum(counts), image_size).split(counts)
    splits = {
        split: Split(pixels, np.array(labels[split], np.int32)) for split, pixels in zip(labels, arrays, strict=True)
    }
    return Parts(splits, prepared.class_names, prepared.about)


def _keys(folder: Path, info: Any, tfds: Any) -> tuple[str, str]:
    """The names of the only image and the only class label. Raises DataError if there are fewer or more."""
    features = dict(info.features.items())
    images = [key for key, feature in features.items() if isinstance(feature, tfds.features.Image)]
    labels = [key for key, feature in features.items() if isinstance(feature, tfds.features.ClassLabel)]
    if len(images) != 1 or len(labels) != 1:
        raise DataError(f"{folder}: not image classification: {len(images)} images and {len(labels)} class labels")
    return images[0], labels[0]
