"""A trained network from a run's folder or a file of weights, without its data."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from cnn_jax.data.images import decode
from cnn_jax.data.storage import read_file
from cnn_jax.errors import DataError, RequestError, RunError
from cnn_jax.network import Network, Variables
from cnn_jax.runs.folder import Folder
from cnn_jax.runs.weights import fitted, read, started, stored, variables_of
from cnn_jax.training.checkpoint import SavedCheckpoints
from cnn_jax.training.config import Config
from cnn_jax.training.state import Program, initial_state
from cnn_jax.training.step import normalise
from cnn_jax.zoo import ZOO, get, layers_of, torchvision


@dataclass(frozen=True)
class Trained:
    """A network with its trained variables, the names of its classes and how its input is normalised."""

    network: Network
    variables: Variables
    class_names: tuple[str, ...]
    mean: np.ndarray
    std: np.ndarray
    config: Config
    folder: Folder | None

    @classmethod
    def load(cls, path: Path | str) -> "Trained":
        """From a run's folder, or a sweep's, whose best run it then is."""
        found = stored(path)
        mean, std = (np.asarray(values, np.float32) for values in (found.data.mean, found.data.std))
        return cls(found.network, found.variables, found.data.class_names, mean, std, found.config, found.folder)

    @classmethod
    def of_weights(cls, path: Path, network: str) -> "Trained":
        """From a file of weights and the name or text of its network. Of a torchvision state dict the input is
        normalised as torchvision does it; classes without names are numbered."""
        arrays, about = read(path)
        shape = get(network).input_shape if network in ZOO else tuple(about.get("input_shape", ()))
        if not shape:
            raise RequestError(f"{path} does not say how large its images are: give a network of the zoo")
        built = Network(shape, layers_of(network))
        variables = fitted(built, built.init(jax.random.key(0)), arrays, path)
        usual = (torchvision.MEAN, torchvision.STD) if torchvision.is_state_dict(arrays) else ((0.0,), (1.0,))
        mean, std = (
            np.asarray(about.get(name, default), np.float32)
            for name, default in zip(("mean", "std"), usual, strict=True)
        )
        names = tuple(about.get("class_names", [f"class {i}" for i in range(built.outputs)]))
        if len(names) != built.outputs or {len(mean), len(std)} - {1, shape[2]} or not (std > 0).all():
            raise RequestError(
                f"{path} speaks of {len(names)} classes, {len(mean)} means and {len(std)} deviations above 0; the "
                f"network has {built.outputs} outputs and {shape[2]} channels"
            )
        return cls(built, variables, names, mean, std, Config(network=network), None)

    def history(self) -> list[tuple[int, Variables]]:
        """The weights over the course of training, as (step, variables): those before the first step and those of every
        checkpoint that is kept, the newest last. A damaged checkpoint is left out."""
        if self.folder is None:
            return []
        program = Program.of(self.config, self.network, devices=1)
        first = initial_state(self.config, program)
        begun = first if self.config.init is None else started(first, self.network, self.config.init)
        found = [(0, variables_of(begun))]
        with contextlib.closing(SavedCheckpoints(self.folder.file("checkpoints"))) as checkpoints:
            for step in checkpoints.steps():
                with contextlib.suppress(RunError):
                    found.append((step, variables_of(checkpoints.at(step, first).state)))
        return found

    def read(self, files: Sequence[Path]) -> np.ndarray:
        """Images from JPEG or PNG files as uint8 (n, *input shape): resized, colours made grey or grey made colours as
        the network needs. DataError that names the file it cannot read."""
        return np.stack([self._read(file) for file in files])

    def _read(self, file: Path) -> np.ndarray:
        height, width, channels = self.network.input_shape
        image = decode(str(file), read_file(file), height if height == width else None)
        if image.shape[:2] != (height, width):
            raise DataError(f"{file} is {image.shape[1]}x{image.shape[0]}, but the network takes {width}x{height}")
        if image.shape[2] > channels:
            weights = np.array([299, 587, 114])  # ITU-R BT.601, as JPEG and Pillow
            return ((image @ weights + 500) // 1000).astype(np.uint8)[..., None]
        return np.broadcast_to(image, (height, width, channels))

    def normalise(self, images: np.ndarray) -> Array:
        """uint8 images as the network takes them."""
        return normalise(jnp.asarray(images, jnp.float32) / 255.0, self.mean, self.std, self.config.dtype)

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Softmax of the logits of uint8 images: float32 (n, classes), rows sum to 1."""
        with jax.default_matmul_precision(self.config.precision):
            return np.asarray(jax.nn.softmax(self.network.apply(self.variables, self.normalise(images))))

    def accuracy(self, images: np.ndarray, labels: np.ndarray) -> float:
        """The share of uint8 images whose most probable class is their label."""
        return float((self.probabilities(images).argmax(1) == labels).mean())


def predict(path: Path | str, files: Sequence[Path]) -> list[dict[str, Any]]:
    """For each file {"image": path, "probabilities": {class: probability}, "prediction": class}."""
    trained = Trained.load(path)
    rows = trained.probabilities(trained.read(files))
    return [
        {
            "image": str(file),
            "prediction": trained.class_names[int(row.argmax())],
            "probabilities": {name: float(p) for name, p in zip(trained.class_names, row, strict=True)},
        }
        for file, row in zip(files, rows, strict=True)
    ]
