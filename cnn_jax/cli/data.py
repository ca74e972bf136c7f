"""cnn-jax data: lists data sets, caches them, prepares them for TFDS."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from cnn_jax.cli import common
from cnn_jax.errors import RequestError
from cnn_jax.waiting import waiting


@dataclass(frozen=True, kw_only=True)
class Data(common.Common):
    """Lists the registered data sets (list), caches data sets, e.g. to copy the cache to a machine without the archives
    (cache), or prepares MNIST or Fashion-MNIST as TFDS itself would, without TensorFlow (prepare).

    For example: cnn-jax data cache mnist photos.zip --data-dir DIR
    """

    action: Positional[Literal["list", "cache", "prepare"]] = "list"
    """What to do."""
    datasets: Positional[tuple[str, ...]] = ()
    """Names of data sets, folders of images or zips."""
    data_dir: str | None = None
    """Folder of archives and prepared TFDS sets; only read."""
    image_size: str | None = None
    """Resize every image to NxN or HxW."""
    resize: Literal["squash", "fit", "crop"] = "squash"
    """How to resize: squash to the shape, fit with black borders, or crop."""


def command(arguments: Sequence[str]) -> None:
    parsed = common.parse(Data, arguments, "cnn-jax data")

    from cnn_jax.data import archives, load
    from cnn_jax.data.catalogue import CATALOGUE
    from cnn_jax.data.load import DATASETS

    if parsed.action == "list":
        for name in DATASETS:
            entry = CATALOGUE.get(name)
            shape = entry and (entry.shape or "of several sizes")
            about = f"{entry.title}; {entry.train:,} + {entry.test:,} images {shape}" if entry else "registered"
            print(f"{name:<16} {about}")
        return
    if not parsed.datasets:
        raise RequestError(f"data {parsed.action} needs a data set, e.g. cnn-jax data {parsed.action} mnist")
    for name in parsed.datasets:
        started = time.perf_counter()
        if parsed.action == "prepare":
            from cnn_jax.data.builders import idx_builder

            if name not in idx_builder.BUILDERS:
                raise RequestError(f"data prepare knows {', '.join(idx_builder.BUILDERS)}, not {name}")
            directory = None if parsed.data_dir is None else Path(parsed.data_dir)
            with waiting(f"preparing {name}", show=not parsed.quiet):
                folder = idx_builder.prepare(CATALOGUE[name], archives.find(CATALOGUE[name], directory))
            print(folder)
            continue
        with waiting(f"reading {name}", show=not parsed.quiet):
            dataset = load(name, data_dir=parsed.data_dir, image_size=parsed.image_size, resize=parsed.resize)
        sizes = ", ".join(f"{split} {size}" for split, size in dataset.source["split"]["sizes"].items())
        print(f"{name}: {sizes}, images {dataset.image_shape}, {time.perf_counter() - started:.1f} s")
