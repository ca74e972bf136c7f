"""A trained network from a run's folder, without its data."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cnn_jax.data.images import decode
from cnn_jax.errors import DataError, RunError
from cnn_jax.network import Network, Variables
from cnn_jax.runs.folder import Folder
from cnn_jax.training.checkpoint import Checkpoints, rank
from cnn_jax.training.config import Config
from cnn_jax.training.state import Program, State, initial_state
from cnn_jax.training.step import normalise
from cnn_jax.zoo import build


def load_state(config: Config, program: Program, folder: Folder) -> State:
    """The state that a run's result speaks of, on the host. RunError if its checkpoint is missing or damaged: another
    one would be another result."""
    if not folder.file("checkpoints").is_dir() or not (lines := folder.metrics()):
        raise RunError(f"{folder.path} has no checkpoint of a finished epoch yet")
    step = max(lines, key=rank)["step"] if config.select == "best" else lines[-1]["step"]
    with contextlib.closing(Checkpoints(folder.file("checkpoints"))) as checkpoints:
        return checkpoints.at(step, initial_state(config, program)).state


@dataclass(frozen=True)
class Trained:
    """A network with its trained variables, the names of its classes and how its input is normalised."""

    network: Network
    variables: Variables
    class_names: tuple[str, ...]
    mean: np.ndarray
    std: np.ndarray
    config: Config

    @classmethod
    def load(cls, path: Path | str) -> "Trained":
        """From a run's folder, or a sweep's, whose best run it then is."""
        folder = Folder.open(path)
        if folder.has("best/config.json"):
            folder = Folder.open(folder.file("best"))
        elif "axes" in folder.read_json("config.json"):
            raise RunError(f"{folder.path} is a sweep that is not finished; --resume goes on with it")
        config, data = Config.from_json(folder.read_json("config.json")), folder.read_json("record.json")["data"]
        names = tuple(data["class_names"])
        network = build(config.network, tuple(data["image_shape"]), len(names), config.filters)
        program = Program.of(config, network, devices=1)
        state = load_state(config, program, folder)
        variables = {"params": state.ema if program.ema else state.params, "batch_stats": state.batch_stats}
        mean, std = (np.asarray(data[name], np.float32) for name in ("mean", "std"))
        return cls(network, variables, names, mean, std, config)

    def read(self, files: Sequence[Path]) -> np.ndarray:
        """Images from JPEG or PNG files as uint8 (n, *input shape): resized, colours made grey or grey made colours as
        the network needs. DataError that names the file it cannot read."""
        return np.stack([self._read(file) for file in files])

    def _read(self, file: Path) -> np.ndarray:
        height, width, channels = self.network.input_shape
        try:
            data = file.read_bytes()
        except OSError as error:
            raise DataError(f"{file} cannot be read: {error.strerror}") from None
        image = decode(str(file), data, height if height == width else None)
        if image.shape[:2] != (height, width):
            raise DataError(f"{file} is {image.shape[1]}x{image.shape[0]}, but the network takes {width}x{height}")
        if image.shape[2] > channels:
            weights = np.array([299, 587, 114])  # ITU-R BT.601, as JPEG and Pillow
            return ((image @ weights + 500) // 1000).astype(np.uint8)[..., None]
        return np.broadcast_to(image, (height, width, channels))

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Softmax of the logits of uint8 images: float32 (n, classes), rows sum to 1."""
        with jax.default_matmul_precision(self.config.precision):
            inputs = normalise(jnp.asarray(images, jnp.float32) / 255.0, self.mean, self.std, self.config.dtype)
            return np.asarray(jax.nn.softmax(self.network.apply(self.variables, inputs)))


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
