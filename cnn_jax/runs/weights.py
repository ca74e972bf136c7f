"""Files of named arrays (NPZ, safetensors): written atomically, read as untrusted input."""

import contextlib
import hashlib
import json
import math
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from cnn_jax import zoo
from cnn_jax.errors import RequestError, quote
from cnn_jax.network import Network, Variables
from cnn_jax.typed import convert
from cnn_jax.untrusted import parse_json, parsing
from cnn_jax.zoo import torchvision

TRAINED = Path(zoo.__file__).parent / "trained"  # weights that this package contains, each with a card
Named = dict[str, np.ndarray]  # "params/conv1/kernel": array
Format = Literal["npz", "safetensors"]


def named(variables: Variables) -> Named:
    """Flattens variables to names collection/layer/array, with more parts for the arrays of a wrapped module."""
    return {_name(path): np.asarray(array) for path, array in jax.tree_util.tree_leaves_with_path(variables)}


def _name(path: Any) -> str:
    keys = (getattr(entry, "key", getattr(entry, "idx", getattr(entry, "name", None))) for entry in path)
    return "/".join(map(str, keys))


def write(arrays: Named, about: Mapping[str, Any], path: Path, format: Format) -> None:
    """Writes arrays and metadata (`about`, as JSON strings) to a file, atomically. Raises RequestError if it cannot be
    written."""
    metadata = {name: json.dumps(value) for name, value in about.items()}
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        if format == "npz":
            about_arrays = {f"about/{name}": np.array(text) for name, text in metadata.items()}
            members: dict[str, Any] = {**arrays, **about_arrays}
            with partial.open("wb") as file:
                np.savez(file, **members)
        else:
            from safetensors.numpy import save_file

            save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, partial, metadata=metadata)
        partial.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise RequestError(f"{path} cannot be written: {error.strerror or error}") from None


def read(path: Path | str) -> tuple[Named, dict[str, Any]]:
    """Reads the arrays and metadata of a file, or of the weights of this package called `zoo:NAME`. Raises RequestError
    if it is not a weights file."""
    path = file_of(path)
    if path.suffix not in (".npz", ".safetensors"):
        raise RequestError(f"{path} holds no weights: give a run's folder, a .npz or a .safetensors file")
    with parsing(path):
        arrays, about = _read_npz(path) if path.suffix == ".npz" else _read_safetensors(path)
    for name in about:
        about[name] = convert(f"{path}: {name}", parse_json(about[name], f"{path}: {name}"), ABOUT[name])
    return arrays, about


def file_of(path: Path | str) -> Path:
    """The file of weights, also of `zoo:NAME`. Raises RequestError that lists the names if there is none such."""
    prefix, colon, name = str(path).partition(":")
    if prefix != "zoo" or not colon:
        return Path(path)
    names = sorted(file.stem for file in TRAINED.glob("*.safetensors"))
    if name not in names:
        raise RequestError(f"{path}: there are no weights of {quote(name)}; there are {', '.join(names)}")
    return TRAINED / f"{name}.safetensors"


ABOUT = {  # the metadata that a file may have, each as a JSON string
    "network": list, "input_shape": tuple[int, ...], "class_names": tuple[str, ...], "mean": tuple[float, ...],
    "std": tuple[float, ...],
}  # fmt: skip


def _read_npz(path: Path) -> tuple[Named, dict[str, Any]]:
    arrays: Named = {}
    about: dict[str, Any] = {}
    with zipfile.ZipFile(path) as archive:
        _check_size(path, sum(member.file_size for member in archive.infolist()))
        for member in archive.infolist():
            name = member.filename.removesuffix(".npy")
            with parsing(f"{path}: {quote(name)}"), archive.open(member) as file:
                if name in arrays or name in about:
                    raise ValueError("this name appears twice")
                array = _read_npy(file, member.file_size)
                if (key := name.removeprefix("about/")) == name:
                    _check_real(array.dtype)
                    arrays[name] = array.astype(array.dtype.newbyteorder("="))
                elif key in ABOUT:
                    about[key] = _text(array)
    return arrays, about


def _text(array: np.ndarray) -> str:
    """The single string in an array, decoded by Python because NumPy accepts invalid code points."""
    if array.dtype.kind != "U" or array.size != 1:
        raise ValueError(f"an array of {array.dtype} and shape {array.shape} is not text")
    return array.tobytes().decode("utf-32-be" if array.dtype.byteorder == ">" else "utf-32-le").rstrip("\0")


def _read_npy(file: IO[bytes], size: int) -> np.ndarray:
    """Reads an array in NPY format (numpy.lib.format) from `size` bytes. Never allocates more than these bytes fill."""
    version = np.lib.format.read_magic(file)
    headers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in headers:
        raise ValueError(f"version {version} of the format is unknown")
    shape, fortran, dtype = headers[version](file)
    if dtype.hasobject or min(shape, default=0) < 0:
        raise ValueError(f"dtype {dtype} and shape {shape} are no array of numbers")
    rest = size - file.tell()
    if math.prod(shape) * dtype.itemsize != rest:
        raise ValueError(f"shape {shape} of {dtype} takes {math.prod(shape) * dtype.itemsize:,} bytes, it has {rest:,}")
    return np.frombuffer(file.read(), dtype).reshape(shape, order="F" if fortran else "C")


def _read_safetensors(path: Path) -> tuple[Named, dict[str, Any]]:
    from safetensors import safe_open

    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > path.stat().st_size:
            raise ValueError(f"its header would be {length:,} bytes long")
        header = parse_json(file.read(length).decode("utf-8"), path)  # rejects duplicate names
    _check_size(path, path.stat().st_size)
    arrays: Named = {}
    with safe_open(path, framework="np") as file:
        for name in file.keys():  # noqa: SIM118 - no mapping
            with parsing(f"{path}: {quote(name)}"):
                if (kind := header[name]["dtype"]) not in SAFETENSORS_TYPES:
                    raise ValueError(f"its type {quote(kind)} is not one of {', '.join(SAFETENSORS_TYPES)}")
                arrays[name] = file.get_tensor(name)
        about = {name: value for name, value in (file.metadata() or {}).items() if name in ABOUT}
    return arrays, about


SAFETENSORS_TYPES = ("F16", "BF16", "F32", "F64", "I8", "I16", "I32", "I64", "U8", "U16", "U32", "U64")


def _check_real(dtype: np.dtype) -> None:
    if dtype.kind not in "fiu":
        raise ValueError(f"its type is {dtype}, but weights are real numbers")


def _check_size(path: Path, size: int) -> None:
    """Raises RequestError for arrays larger than this machine's memory, or a deflate bomb."""
    if size > (memory := os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")):
        raise RequestError(f"{path} holds {size:,} bytes of arrays, more than the {memory:,} of this machine's memory")
    if size > MOST_EXPANSION * path.stat().st_size + (64 << 20):
        raise RequestError(f"{path} holds {size:,} bytes of arrays in {path.stat().st_size:,}: these are no weights")


MOST_EXPANSION = 32  # by deflate; it shrinks random weights by a tenth, and only constants 1000-fold


def fitted(network: Network, like: Variables, arrays: Mapping[str, np.ndarray], source: Path | str) -> Variables:
    """Replaces the arrays of `like` by the arrays with the same names.

    The last layer with parameters keeps its values if its arrays are missing or have other shapes, as for weights
    trained on other classes. Raises RequestError that names any other array that is missing or has another shape.
    """
    if torchvision.is_state_dict(arrays):
        arrays = named(torchvision.variables_of(network, arrays))
    head = [None, *(part.name for node in network.walk() for part in node.parts if part.parameters)][-1]

    def fill(collection: str, layer: str, values: Any) -> Any:
        leaves, tree = jax.tree_util.tree_flatten_with_path(values)
        names = [f"{collection}/{layer}/{_name(path)}" for path, _ in leaves]
        wrong = [
            f"has no {name}" if name not in arrays else
            f"has {name} of shape {arrays[name].shape}, but the network needs {np.shape(leaf)}"
            for name, (_, leaf) in zip(names, leaves, strict=True)
            if name not in arrays or arrays[name].shape != np.shape(leaf)
        ]  # fmt: skip
        if wrong and layer != head:
            raise RequestError(f"{source} does not fit the network: it {wrong[0]}")
        filled = [jnp.asarray(arrays[name], jnp.float32) for name in names if not wrong]
        return values if wrong else jax.tree.unflatten(tree, filled)

    return {
        collection: {layer: fill(collection, layer, values) for layer, values in layers.items()}
        for collection, layers in like.items()
    }


def digest(arrays: Mapping[str, np.ndarray]) -> str:
    """The sha256 (hex) of named arrays, independent of the file format."""
    sha256 = hashlib.sha256()
    for name in sorted(arrays):
        sha256.update(f"{name} {arrays[name].dtype} {arrays[name].shape}\n".encode())
        sha256.update(np.ascontiguousarray(arrays[name]).tobytes())
    return sha256.hexdigest()
