"""Reads what TFDS has prepared as array_record, without TensorFlow and without ever downloading."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cnn_jax import runtime
from cnn_jax.data.decoding import decode_all
from cnn_jax.data.images import Size
from cnn_jax.data.split import Parts, Split
from cnn_jax.data.splits import check_splits
from cnn_jax.data.storage import listing_key
from cnn_jax.errors import DataError, RequestError, reason

CHUNK = 1000  # examples asked for at once: 32k/s, against 5k/s one by one


def find(name: str, data_dir: Path | None) -> Path | None:
    """The folder of a prepared `name` or `name/config`, its highest version, below data_dir; None where there is none.

    DataError: several configurations and none named.
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
    """What a cache knows the prepared folder by: another one once anything in it has been written to."""
    return f"tfds-{listing_key(folder, sorted(folder.iterdir()))}"


@dataclass(frozen=True, eq=False)
class TfdsSource:
    """A prepared folder, open for reading examples by number, in several threads if need be.

    `sources` are TFDS's data sources under this package's names: `train` and `test`, maybe `validation`, or `all`.
    """

    folder: Path
    sources: dict[str, Any]
    keys: tuple[str, str]  # of the image and of the label
    class_names: tuple[str, ...]
    about: dict[str, Any]

    def read(self, split: str, indices: Sequence[int] | np.ndarray) -> Iterator[tuple[str, bytes, int]]:
        """Name, encoded image and label of these examples, in this order. DataError: a record cannot be read."""
        image, label = self.keys
        for start in range(0, len(indices), CHUNK):
            some = [int(index) for index in indices[start : start + CHUNK]]
            for index, example in zip(some, self._examples(split, some), strict=True):
                yield f"{self.folder} {split} {index}", example[image], int(example[label])

    def _examples(self, split: str, indices: list[int]) -> Sequence[dict[str, Any]]:
        try:
            return self.sources[split].__getitems__(indices)
        except Exception as error:  # of many types; array_record hashes what it reads
            if len(indices) == 1:
                where = f"{self.folder} {split} {indices[0]}"
                raise DataError(f"{where}: this record is damaged: {reason(error)}") from error
        return [self._examples(split, [index])[0] for index in indices]


@runtime.host_logging
def open_folder(folder: Path, without_test: bool = False) -> TfdsSource:
    """A folder as `find` gives it. A lone `train` split counts as unsplit.

    DataError: not array_record, not one image and one class label, no train split, no test split (but
    `without_test`). RequestError: `without_test` of a set that has one.
    """
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder_from_directory(folder)
        info = builder.info
        image, label = _keys(folder, info, tfds)
        names = {"train": "train", "validation": "validation", "test": "test"}
        if set(info.splits) == {"train"}:
            names = {"train": "all"}
        skip = {image: tfds.decode.SkipDecoding()}  # the bytes, so that one decoder serves every source
        sources = {
            ours: builder.as_data_source(split=theirs, decoders=skip)
            for theirs, ours in names.items()
            if theirs in info.splits
        }
        check_splits(folder, list(sources), without_test)
    except NotImplementedError as error:
        raise DataError(f"{folder}: not stored as array_record: prepare it with file_format='array_record'") from error
    except RequestError:
        raise
    except Exception as error:  # of many types, from whatever is damaged
        raise DataError(f"{folder}: TFDS cannot read this: {reason(error)}") from error
    licence = info.redistribution_info.license or "not stated"
    about = {"title": info.full_name, "licence": licence, "citation": info.citation, "archives": {}, "skipped": {}}
    return TfdsSource(folder, sources, (image, label), tuple(info.features[label].names), about)


def read(folder: Path, image_size: Size | None = None, without_test: bool = False) -> Parts:
    """Every example of a prepared folder, in its order. Errors: as `open_folder`; a damaged record or image."""
    prepared = open_folder(folder, without_test)
    labels: dict[str, list[int]] = {split: [] for split in prepared.sources}

    def items() -> Iterator[tuple[str, bytes]]:
        for split, source in prepared.sources.items():
            for name, data, label in prepared.read(split, range(len(source))):
                yield name, data
                labels[split].append(label)

    counts = [len(source) for source in prepared.sources.values()]
    arrays = decode_all(items(), sum(counts), image_size).split(counts)
    splits = {
        split: Split(pixels, np.array(labels[split], np.int32)) for split, pixels in zip(labels, arrays, strict=True)
    }
    return Parts(splits, prepared.class_names, prepared.about)


def _keys(folder: Path, info: Any, tfds: Any) -> tuple[str, str]:
    """The names of the only image and of the only class label."""
    features = dict(info.features.items())
    images = [key for key, feature in features.items() if isinstance(feature, tfds.features.Image)]
    labels = [key for key, feature in features.items() if isinstance(feature, tfds.features.ClassLabel)]
    if len(images) != 1 or len(labels) != 1:
        raise DataError(f"{folder}: not image classification: {len(images)} images and {len(labels)} class labels")
    return images[0], labels[0]
