"""Reads what TFDS has prepared as array_record, without TensorFlow and without ever downloading."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from cnn_jax.data.dataset import Split
from cnn_jax.data.decoding import decode_all
from cnn_jax.data.splits import Parts
from cnn_jax.errors import DataError

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


def read(folder: Path, image_size: int | None = None) -> Parts:
    """Every example of a prepared folder, in its order. A lone `train` split counts as unsplit.

    DataError: not array_record, not one image and one class label, splits other than train, validation and test.
    """
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder_from_directory(folder)
        image, label = _keys(folder, builder.info, tfds)
        names = {"train": "train", "validation": "validation", "test": "test"}
        if set(builder.info.splits) == {"train"}:
            names = {"train": "all"}
        elif missing := {"train", "test"} - set(builder.info.splits):
            raise DataError(f"{folder}: no {' and no '.join(sorted(missing))} split, only {list(builder.info.splits)}")
        skip = {image: tfds.decode.SkipDecoding()}  # the bytes, so that one decoder serves every source
        sources = {
            ours: builder.as_data_source(split=theirs, decoders=skip)
            for theirs, ours in names.items()
            if theirs in builder.info.splits
        }
    except NotImplementedError as error:
        raise DataError(f"{folder}: not stored as array_record: prepare it with file_format='array_record'") from error
    except DataError:
        raise
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{folder}: TFDS cannot read this: {str(error).splitlines()[0]}") from error
    labels: dict[str, list[int]] = {split: [] for split in sources}

    def items() -> Iterator[tuple[str, bytes]]:
        for split, source in sources.items():
            for start in range(0, len(source), CHUNK):
                for example in source.__getitems__(list(range(start, min(start + CHUNK, len(source))))):
                    yield f"{folder} {split} {len(labels[split])}", example[image]
                    labels[split].append(int(example[label]))

    counts = [len(source) for source in sources.values()]
    arrays = decode_all(items(), sum(counts), image_size).split(counts)
    splits = {
        split: Split(pixels, np.array(labels[split], np.int32)) for split, pixels in zip(sources, arrays, strict=True)
    }
    info = builder.info
    licence = info.redistribution_info.license or "not stated"
    source = {"title": info.full_name, "licence": licence, "citation": info.citation, "archives": {}, "skipped": {}}
    return Parts(splits, tuple(info.features[label].names), source)


def _keys(folder: Path, info: Any, tfds: Any) -> tuple[str, str]:
    """The names of the only image and of the only class label."""
    features = dict(info.features.items())
    images = [key for key, feature in features.items() if isinstance(feature, tfds.features.Image)]
    labels = [key for key, feature in features.items() if isinstance(feature, tfds.features.ClassLabel)]
    if len(images) != 1 or len(labels) != 1:
        raise DataError(f"{folder}: not image classification: {len(images)} images and {len(labels)} class labels")
    return images[0], labels[0]
