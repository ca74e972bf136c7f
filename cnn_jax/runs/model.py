"""A trained network, loaded from a run's folder or a weights file, without its data."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from cnn_jax import notation
from cnn_jax.data.images import decode
from cnn_jax.data.storage import read_file
from cnn_jax.errors import RequestError, RunError
from cnn_jax.network import Network, Variables
from cnn_jax.runs import weights
from cnn_jax.runs.folder import Folder
from cnn_jax.runs.reader import Run, Trial, is_sweep
from cnn_jax.runs.sweeps import SweepReader, final_folder, trial_folder
from cnn_jax.training.checkpoint import SavedCheckpoints
from cnn_jax.training.config import Config
from cnn_jax.training.state import Program, TrainState, initial_state
from cnn_jax.training.step import normalise
from cnn_jax.zoo import NETWORKS, layers_of, torchvision


@dataclass(frozen=True)
class TrainedModel:
    """A network with its trained variables, class names and input normalisation (`mean`, `std`). `folder` is the folder
    of its run, or None if loaded from a weights file."""

    network: Network
    variables: Variables
    class_names: tuple[str, ...]
    mean: np.ndarray
    std: np.ndarray
    config: Config
    folder: Folder | None

    @classmethod
    def load(cls, path: Path | str) -> "TrainedModel":
        """Loads a run, or the best run of a sweep.

        Args:
          path: the folder of a run or sweep.

        Returns:
          The model with the weights that the result was scored with.

        Raises:
          RequestError: not the folder of a run.
          RunError: the sweep is not finished or has no best run; the checkpoint is missing or damaged.
        """
        folder = Folder.open(path)
        if is_sweep(folder):
            if not folder.has("best/config.json"):
                raise RunError(
                    f"{folder.path} is a sweep without a best run: it is not finished, or every cell diverged"
                )
            path = folder.file("best")
        run = Run.open(path)
        trial, data = run.trial, run.record.data
        network = trial.config.build(data.image_shape, len(data.class_names))
        state = load_state(trial, Program.of(trial.config, network, devices=1))
        mean, std = (np.asarray(values, np.float32) for values in (data.mean, data.std))
        return cls(network, variables_of(state), data.class_names, mean, std, trial.config, trial.folder)

    @classmethod
    def of_seeds(cls, path: Path | str) -> "list[TrainedModel]":
        """Loads a run, or the networks of a sweep's chosen cell that learned, in the order of their seeds. Raises as
        `load` does."""
        folder = Folder.open(path)
        if not is_sweep(folder):
            return [cls.load(path)]
        sweep = SweepReader.open(path)
        rows = [row for row in sweep.table.chosen_trials() if row.accuracy is not None]
        if not rows:
            raise RunError(f"{folder.path} has no network that learned: every cell diverged")
        final = sweep.table.grid.base.final_fit
        return [cls.load((final_folder(folder, r.seed) if final else trial_folder(folder, r.trial)).path) for r in rows]

    @classmethod
    def of_weights(cls, path: Path, network: str) -> "TrainedModel":
        """Loads a weights file. Classes without names are numbered.

        Args:
          path: a .npz or .safetensors file. For a torchvision state dict, inputs are normalised as in torchvision.
          network: the name or text of the network.

        Returns:
          The model, without a folder.

        Raises:
          RequestError: the file cannot be read, does not fit the network, or does not give the input shape.
        """
        arrays, about = weights.read(path)
        shape = NETWORKS[network].input_shape if network in NETWORKS else tuple(about.get("input_shape", ()))
        if not shape:
            raise RequestError(f"{path} does not say how large its images are: give a network of the zoo")
        architecture = Network(shape, layers_of(network))
        variables = weights.fitted(architecture, architecture.init(jax.random.key(0)), arrays, path)
        usual = (torchvision.MEAN, torchvision.STD) if torchvision.is_state_dict(arrays) else ((0.0,), (1.0,))
        mean, std = (
            np.asarray(about.get(name, default), np.float32)
            for name, default in zip(("mean", "std"), usual, strict=True)
        )
        names = tuple(about.get("class_names", [f"class {i}" for i in range(architecture.outputs)]))
        if len(names) != architecture.outputs or {len(mean), len(std)} - {1, shape[2]} or not (std > 0).all():
            raise RequestError(
                f"{path} has {len(names)} classes, {len(mean)} means and {len(std)} deviations above 0; the "
                f"network has {architecture.outputs} outputs and {shape[2]} channels"
            )
        return cls(architecture, variables, names, mean, std, Config(network=network), None)

    def history(self) -> list[tuple[int, Variables]]:
        """The weights during training as (step, variables): before the first step, then of every saved checkpoint in
        order. Damaged checkpoints are skipped."""
        if self.folder is None:
            return []
        program = Program.of(self.config, self.network, devices=1)
        template = initial_state(self.config, program)
        initial = template if self.config.init is None else with_weights(template, self.network, self.config.init)
        if self.network.of_images:  # computed from the training images, and the same in every checkpoint
            first = self.network.nodes[0].name
            fixed = {first: self.variables["batch_stats"][first]}
            initial = initial._replace(batch_stats={**initial.batch_stats, **fixed})
        weights_by_step = [(0, variables_of(initial))]
        with contextlib.closing(SavedCheckpoints(self.folder.file("checkpoints"))) as checkpoints:
            for step in checkpoints.steps():
                with contextlib.suppress(RunError):
                    weights_by_step.append((step, variables_of(checkpoints.at(step, template).state)))
        return weights_by_step

    def state(self, program: Program) -> TrainState:
        """The variables as a `TrainState` of `program`, for evaluation."""
        state = initial_state(self.config, program)
        ema = self.variables["params"] if state.ema else {}
        return state._replace(params=self.variables["params"], batch_stats=self.variables["batch_stats"], ema=ema)

    def read(self, files: Sequence[Path]) -> np.ndarray:
        """Reads JPEG or PNG files as uint8 (n, *input shape), resized and converted to grey or RGB for the network.
        Raises DataError that names the file it cannot read."""
        return np.stack([self._read(file) for file in files])

    def _read(self, file: Path) -> np.ndarray:
        height, width, channels = self.network.input_shape
        image = decode(str(file), read_file(file), (height, width, self.config.resize))
        if image.shape[2] > channels:
            luminance = np.array([299, 587, 114])  # ITU-R BT.601, as JPEG and Pillow
            return ((image @ luminance + 500) // 1000).astype(np.uint8)[..., None]
        return np.broadcast_to(image, (height, width, channels))

    def normalise(self, images: np.ndarray) -> Array:
        """Converts uint8 images to the network's normalised input."""
        return normalise(jnp.asarray(images, jnp.float32) / 255.0, self.mean, self.std, self.config.dtype)

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """The softmax output for uint8 images: float32 (n, classes); rows sum to 1."""
        with jax.default_matmul_precision(self.config.precision):
            return np.asarray(jax.nn.softmax(self.network.apply(self.variables, self.normalise(images))))

    def accuracy(self, images: np.ndarray, labels: np.ndarray) -> float:
        """The share of uint8 images whose most probable class is their label."""
        return float((self.probabilities(images).argmax(1) == labels).mean())

    def export(self, path: Path, format: weights.Format) -> None:
        """Writes the weights to a file, with the network, class names, and mean and std of the input."""
        about = {
            "network": notation.to_json(self.network.layers), "input_shape": list(self.network.input_shape),
            "class_names": list(self.class_names), "mean": self.mean.tolist(), "std": self.std.tolist(),
        }  # fmt: skip
        weights.write(weights.named(self.variables), about, path, format)


def load_state(run: Trial, program: Program) -> TrainState:
    """The state that a run's result was scored with, on the host. Raises RunError if its checkpoint is missing or
    damaged; no other checkpoint would give the same result."""
    checkpoints = run.folder.file("checkpoints")
    if not checkpoints.is_dir():
        raise RunError(f"{run.folder.path} has no checkpoints: they are not part of the evidence that is kept")
    with contextlib.closing(SavedCheckpoints(checkpoints)) as opened:
        return opened.at(run.scored_step, initial_state(run.config, program)).state


def variables_of(state: TrainState) -> Variables:
    """The variables for evaluation: the averaged weights if the run has them, else the current ones."""
    return {"params": state.ema or state.params, "batch_stats": state.batch_stats}


def arrays_of(source: Path | str) -> tuple[weights.Named, dict[str, Any]]:
    """The arrays of a weights file or run folder, and their metadata. Raises RequestError if it is neither."""
    if not Path(source).is_dir():
        return weights.read(source)
    model = TrainedModel.load(source)
    about = {"class_names": model.class_names, "mean": tuple(model.mean), "std": tuple(model.std)}
    return weights.named(model.variables), about


def with_weights(state: TrainState, network: Network, source: str) -> TrainState:
    """The initial state of a run with the weights of a file or another run."""
    like = {"params": state.params, "batch_stats": state.batch_stats}
    filled = weights.fitted(network, like, arrays_of(source)[0], source)
    ema = {} if not state.ema else jax.tree.map(jnp.array, filled["params"])
    return state._replace(params=filled["params"], batch_stats=filled["batch_stats"], ema=ema)
