"""Weights in and out: those of a run's folder, and files of named arrays (NPZ, safetensors) for anyone else."""

import contextlib
import hashlib
import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np

from cnn_jax import notation
from cnn_jax.errors import RequestError, RunError
from cnn_jax.network import Network, Variables
from cnn_jax.runs.folder import Folder
from cnn_jax.training.checkpoint import SavedCheckpoints, rank
from cnn_jax.training.config import Config
from cnn_jax.training.state import Program, State, initial_state
from cnn_jax.zoo import build, torchvision

Named = dict[str, np.ndarray]  # "params/conv1/kernel": array
Format = Literal["npz", "safetensors"]


@dataclass(frozen=True)
class Stored:
    """What a run's folder says and holds, its weights on the host. `data` is what the record says of its data."""

    folder: Folder
    config: Config
    network: Network
    data: dict[str, Any]
    variables: Variables


def stored(path: Path | str) -> Stored:
    """From a run's folder, or a sweep's, whose best run it then is. RunError for a sweep that is not finished, or where
    there is no checkpoint that the result speaks of."""
    folder = Folder.open(path)
    if folder.has("best/config.json"):
        folder = Folder.open(folder.file("best"))
    elif "axes" in folder.read_json("config.json"):
        raise RunError(f"{folder.path} is a sweep that is not finished; --resume goes on with it")
    config, data = Config.from_json(folder.read_json("config.json")), folder.read_json("record.json")["data"]
    network = build(config.network, tuple(data["image_shape"]), len(data["class_names"]), config.filters)
    state = load_state(config, Program.of(config, network, devices=1), folder)
    return Stored(folder, config, network, data, variables_of(state))


def load_state(config: Config, program: Program, folder: Folder) -> State:
    """The state that a run's result speaks of, on the host. RunError if its checkpoint is missing or damaged: another
    one would be another result."""
    if not folder.file("checkpoints").is_dir() or not (lines := folder.metrics()):
        raise RunError(f"{folder.path} has no checkpoint of a finished epoch yet")
    step = max(lines, key=rank)["step"] if config.select == "best" else lines[-1]["step"]
    with contextlib.closing(SavedCheckpoints(folder.file("checkpoints"))) as checkpoints:
        return checkpoints.at(step, initial_state(config, program)).state


def variables_of(state: State) -> Variables:
    """What the network is evaluated with: the average weights where a run keeps them, else the current ones."""
    return {"params": state.ema or state.params, "batch_stats": state.batch_stats}


def named(variables: Variables) -> Named:
    """Variables as one level of names, collection/layer/array."""
    return {
        f"{collection}/{layer}/{name}": np.asarray(array)
        for collection, layers in variables.items()
        for layer, arrays in layers.items()
        for name, array in arrays.items()
    }


def export(found: Stored, path: Path, format: Format) -> None:
    """Writes the weights into a file, with what a reader needs: the network, the class names, mean and std of the
    input, as strings of JSON. The file appears whole or not at all."""
    about = {
        "network": json.dumps(notation.to_json(found.network.layers)),
        "input_shape": json.dumps(list(found.network.input_shape)),
        **{name: json.dumps(found.data[name]) for name in ("class_names", "mean", "std")},
    }
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        if format == "npz":
            whole: dict[str, Any] = {**named(found.variables), **{f"about/{k}": np.array(v) for k, v in about.items()}}
            with partial.open("wb") as file:
                np.savez(file, **whole)
        else:
            from safetensors.numpy import save_file

            arrays = {name: np.ascontiguousarray(array) for name, array in named(found.variables).items()}
            save_file(arrays, partial, metadata=about)
        partial.replace(path)
    except OSError as error:
        raise RequestError(f"{path} cannot be written: {error.strerror or error}") from None


def read(path: Path | str) -> tuple[Named, dict[str, Any]]:
    """The arrays of a file or of a run's folder, and what is said about them. RequestError if it is neither."""
    path = Path(path)
    if path.is_dir():
        found = stored(path)
        return named(found.variables), {name: found.data[name] for name in ("class_names", "mean", "std")}
    if path.suffix not in (".npz", ".safetensors"):
        raise RequestError(f"{path} holds no weights: give a run's folder, a .npz or a .safetensors file")
    try:
        arrays, about = _read_npz(path) if path.suffix == ".npz" else _read_safetensors(path)
        return arrays, {name: json.loads(value) for name, value in about.items()}
    except FileNotFoundError:
        raise RequestError(f"{path} does not exist") from None
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise RequestError(f"{path} is unreadable: {error}") from None


def _read_npz(path: Path) -> tuple[Named, dict[str, str]]:
    with np.load(path, allow_pickle=False) as file:
        whole = {name: file[name] for name in file.files}
    about = {name.removeprefix("about/"): str(value) for name, value in whole.items() if name.startswith("about/")}
    return {name: array for name, array in whole.items() if not name.startswith("about/")}, about


def _read_safetensors(path: Path) -> tuple[Named, dict[str, str]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            known = ("network", "input_shape", "class_names", "mean", "std")
            about = {name: value for name, value in (file.metadata() or {}).items() if name in known}
            return {name: file.get_tensor(name) for name in file.keys()}, about  # noqa: SIM118 - no mapping
    except SafetensorError as error:
        raise ValueError(error) from None


def fitted(network: Network, like: Variables, arrays: Mapping[str, np.ndarray], source: Path | str) -> Variables:
    """`like` with the arrays of the same names in their place. What was trained for other classes cannot fill the last
    layer with parameters, which then stays as it is; anything else that is missing or has another shape is refused with
    a RequestError that names it."""
    if torchvision.is_state_dict(arrays):
        arrays = named(torchvision.variables_of(network, arrays))
    head = [part.name for node in network.walk() for part in node.parts if part.parameters][-1]
    made: dict[str, Any] = {}
    for collection, layers in like.items():
        made[collection] = {}
        for layer, values in layers.items():
            names = {name: f"{collection}/{layer}/{name}" for name in values}
            wrong = [
                f"has no {whole}" if whole not in arrays else
                f"has {whole} of shape {arrays[whole].shape}, but the network needs {np.shape(values[name])}"
                for name, whole in names.items()
                if whole not in arrays or arrays[whole].shape != np.shape(values[name])
            ]  # fmt: skip
            if wrong and layer != head:
                raise RequestError(f"{source} does not fit the network: it {wrong[0]}")
            made[collection][layer] = (
                values if wrong else {name: jnp.asarray(arrays[whole], jnp.float32) for name, whole in names.items()}
            )
    return made


def started(state: State, network: Network, source: str) -> State:
    """A run's first state with the weights of a file or of another run."""
    like = {"params": state.params, "batch_stats": state.batch_stats}
    made = fitted(network, like, read(source)[0], source)
    ema = {} if not state.ema else {name: dict(values) for name, values in made["params"].items()}
    return state._replace(params=made["params"], batch_stats=made["batch_stats"], ema=ema)


def digest(arrays: Mapping[str, np.ndarray]) -> str:
    """The sha256 of named arrays, whatever file they come from."""
    found = hashlib.sha256()
    for name in sorted(arrays):
        found.update(f"{name} {arrays[name].dtype} {arrays[name].shape}\n".encode())
        found.update(np.ascontiguousarray(arrays[name]).tobytes())
    return found.hexdigest()
