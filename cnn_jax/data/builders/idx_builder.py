"""TFDS's own MNIST and Fashion-MNIST, prepared without TensorFlow.

The stock builders extract archives and encode images with TensorFlow. These subclasses read the gzipped idx files
themselves and yield PNG bytes. Names, versions, features and keys, and hence the shuffled order, are those of the stock
builders; the stock `tfds.data_source` reads the result. The download manager is never used: no network access.
"""

import contextlib
import io
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds
from PIL import Image
from tensorflow_datasets.image_classification.mnist import MNIST, FashionMNIST

from cnn_jax.data import archives, cache
from cnn_jax.data.catalogue import IDX_FILES, Entry
from cnn_jax.data.idx import read_pair
from cnn_jax.paths import cache_root


class _FromIdx:
    """Replaces the TensorFlow parts of a stock builder. `prepare` sets `entry` and `files` (upstream name -> path)."""

    entry: Entry
    files: Mapping[str, Path]

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        return {
            "train": self._generate_examples(*IDX_FILES[:2], self.entry.train),
            "test": self._generate_examples(*IDX_FILES[2:], self.entry.test),
        }

    def _generate_examples(self, images: str, labels: str, count: int) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yields examples under the stock keys. Verifies the archives' sha256 before reading them."""
        for archive in self.entry.archives:
            if archive.file in (images, labels):
                archives.check(self.entry, archive, self.files[archive.file])
        pixels, targets = read_pair(self.files[images], self.files[labels], len(self.entry.class_names), count)
        for index, (image, label) in enumerate(zip(pixels, targets, strict=True)):
            png = io.BytesIO()
            Image.fromarray(image[..., 0]).save(png, "png")
            yield index, {"image": png.getvalue(), "label": int(label)}


class IdxMNIST(_FromIdx, MNIST, skip_registration=True):  # type: ignore[call-arg]
    name = "mnist"


class IdxFashionMNIST(_FromIdx, FashionMNIST, skip_registration=True):  # type: ignore[call-arg]
    name = "fashion_mnist"


BUILDERS = {builder.name: builder for builder in (IdxMNIST, IdxFashionMNIST)}


def prepare(entry: Entry, files: Mapping[str, Path]) -> Path:
    """Prepares the entry in the cache from its archives (upstream name -> path); returns the folder TFDS wrote.

    Happens once, in one process at a time.
    """
    home = cache_root() / "tfds"
    with cache.locked(home / entry.name), cache.writable():
        for leftover in (home / entry.name).glob("incomplete.*"):  # left by a killed process
            shutil.rmtree(leftover)
        builder = BUILDERS[entry.name](data_dir=home)
        folder = Path(builder.data_path)
        if not folder.is_dir():
            builder.entry, builder.files = entry, files
            config = tfds.download.DownloadConfig(try_download_gcs=False)
            tfds.disable_progress_bar()
            with contextlib.redirect_stdout(io.StringIO()):  # it prints "Downloading" but downloads nothing
                builder.download_and_prepare(file_format="array_record", download_config=config)
    return folder
