"""A TFDS data set of JPEG files that cost about as much to decode as ImageNet's, made of noise."""

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

NAME = "photos"
CLASSES = 10
FIELDS = 12  # of noise; every photo is made of three of them, shifted
EXPONENT = 1.2  # of 1/f: photographs' amplitude spectra fall about so; at quality 90 it gives ImageNet's 100 kB a file
HEIGHT, WIDTH = 375, 500  # the most frequent size of ImageNet
# A photo's RGB in 0 … 1 from luminance and two chrominances: grey, with less contrast in colour than in brightness.
COLOURS = np.array([[0.22, 0.0, 0.10], [0.22, -0.04, -0.05], [0.22, 0.12, 0.0]], np.float32)


def fields(random: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Periodic noise with a 1/f spectrum, of unit variance: float32 (FIELDS, height, width)."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = np.inf
    spectrum = random.normal(size=(FIELDS, *frequency.shape, 2)) @ [1, 1j] / frequency**EXPONENT
    noise = np.fft.irfft2(spectrum, (height, width))
    return (noise / noise.std((1, 2), keepdims=True)).astype(np.float32)


def photo(random: np.random.Generator, noise: np.ndarray) -> np.ndarray:
    """An image uint8 (height, width, 3) of three of the fields `noise`."""
    shape = noise.shape[1:]
    chosen = [np.roll(noise[i], random.integers(shape), (0, 1)) for i in random.permutation(len(noise))[:3]]
    return (255 * np.clip(np.stack(chosen, -1) @ COLOURS.T + 0.5, 0, 1)).astype(np.uint8)


def write(folder: Path, count: int, sizes: tuple[tuple[int, int], ...] = ((HEIGHT, WIDTH),)) -> None:
    """Prepares the data set: `count` photos for training and a tenth as many for testing, of these (height, width) in
    turn."""
    import tensorflow_datasets as tfds

    class Photos(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
        VERSION = tfds.core.Version("1.0.0")
        name = NAME

        def _info(self) -> Any:
            names = [str(label) for label in range(CLASSES)]
            features = {"image": tfds.features.Image(), "label": tfds.features.ClassLabel(names=names)}
            return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

        def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
            return {"train": self._generate_examples(0, count), "test": self._generate_examples(1, count // 10)}

        def _generate_examples(self, seed: int, examples: int) -> Iterator[tuple[int, dict[str, Any]]]:
            random = np.random.default_rng(seed)
            noise = [fields(random, *size) for size in sizes]
            for index in range(examples):
                file = io.BytesIO()
                Image.fromarray(photo(random, noise[index % len(sizes)])).save(file, "jpeg", quality=90)
                yield index, {"image": file.getvalue(), "label": index % CLASSES}

    tfds.disable_progress_bar()
    with contextlib.redirect_stdout(io.StringIO()):  # hides "Downloading", which is not true
        Photos(data_dir=folder).download_and_prepare(file_format="array_record")
