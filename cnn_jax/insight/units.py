"""What units respond to: first-layer filters, activation maps, strongest patches, votes for classes."""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from cnn_jax.errors import RequestError
from cnn_jax.geometry import rows
from cnn_jax.layers import Conv, Dense
from cnn_jax.network import Network, Variables
from cnn_jax.nodes import Node

BATCH = 128  # images per forward pass


def layers_with_maps(network: Network) -> list[str]:
    """The names of the layers whose output has height and width, in order of execution."""
    return [node.name for node in network.walk() if len(node.output) == 3]


def check_units(node: Node, units: Sequence[int]) -> None:
    """Raises RequestError, with the valid range, if one of the channels does not exist."""
    for unit in units:
        if not 0 <= unit < node.output[-1]:
            raise RequestError(f"unit {unit} of {node.name} does not exist; it has 0 to {node.output[-1] - 1}")


@functools.partial(jax.jit, static_argnames=("network", "layer"))
def activations(network: Network, variables: Variables, images: Array, layer: str) -> Array:
    """The output of one layer for images (n, h, w, c): (n, *output shape)."""
    return network.activations(variables, images, until=layer)[layer]


def first_filters(network: Network, variables: Variables) -> np.ndarray:
    """The kernels of the first convolution as images (filters, height, width, channels), divided by their overall
    largest magnitude: -1 to 1. Raises RequestError if there is no convolution, or if its filters are not images (a
    connection table)."""
    node = next((node for node in network.walk() if isinstance(node.layer, Conv)), None)
    if node is None or not isinstance(node.layer, Conv) or node.layer.connections is not None:
        raise RequestError("the network has no convolution whose filters are images")
    kernel = np.moveaxis(np.asarray(variables["params"][node.name]["kernel"], np.float32), -1, 0)
    return kernel / max(float(np.abs(kernel).max()), float(np.finfo(np.float32).tiny))


@dataclass(frozen=True)
class Strongest:
    """For each channel of a layer the images that excite it most, at any position, one patch per image; all arrays are
    (units, count) unless noted."""

    images: np.ndarray  # int, index into the set of images
    rows: np.ndarray  # int, position in the map
    columns: np.ndarray
    values: np.ndarray  # activations, descending
    boxes: np.ndarray  # int (units, count, 4), receptive field of that position, see `boxes`


def strongest(
    network: Network, variables: Variables, images: np.ndarray | Array, layers: Sequence[str], count: int = 9
) -> dict[str, Strongest]:
    """The strongest responses of every unit over a set of images (as in zeiler2014visualizing, figure 2).

    Args:
        network, variables: the network and its variables.
        images: (n, h, w, c).
        layers: names of the layers.
        count: responses per unit; at most one from each image. The earlier image wins a tie.

    Returns:
        A `Strongest` for each layer.
    """
    parts = [_largest(network, variables, batch, tuple(layers)) for batch in batches(images)]
    by_layer = {}
    for layer in layers:
        values, places = (
            np.concatenate([np.asarray(part[layer][kind]) for part in parts])[: len(images)] for kind in (0, 1)
        )
        by_layer[layer] = _ranked(network, layer, values, places, count)
    return by_layer


def _ranked(network: Network, layer: str, values: np.ndarray, places: np.ndarray, count: int) -> Strongest:
    """From each image's largest activations and their row-major positions in the map, both (n, units)."""
    output = network.node(layer).output
    order = np.argsort(-values, axis=0, kind="stable")[:count].T  # (units, count)
    units = np.arange(values.shape[1])[:, None]
    place = places[order, units]
    width = output[1] if len(output) == 3 else 1
    at_rows, at_columns = place // width, place % width
    return Strongest(order, at_rows, at_columns, values[order, units], boxes(network, layer, at_rows, at_columns))


def boxes(network: Network, layer: str, at_rows: np.ndarray, at_columns: np.ndarray) -> np.ndarray:
    """The receptive fields of positions in a layer's maps.

    Args:
        network: the network.
        layer: the layer's name.
        at_rows, at_columns: int (…), the positions.

    Returns:
        int (…, 4): top, bottom, left, right in pixels, half-open; they may reach beyond the image.
    """
    fields = next(row.fields for row in rows(network) if row.node.name == layer)
    starts = [at * field.jump - field.padding for at, field in zip((at_rows, at_columns), fields, strict=True)]
    return np.stack([starts[0], starts[0] + fields[0].size, starts[1], starts[1] + fields[1].size], -1)


@functools.partial(jax.jit, static_argnames=("network", "layers"))
def _largest(
    network: Network, variables: Variables, images: Array, layers: tuple[str, ...]
) -> dict[str, tuple[Array, Array]]:
    """For each layer the largest activation of every channel and its row-major position, both (n, channels)."""
    outputs = network.activations(variables, images)
    flat = {layer: outputs[layer].reshape(len(images), -1, outputs[layer].shape[-1]) for layer in layers}
    return {layer: (values.max(1), values.argmax(1)) for layer, values in flat.items()}


def cut(image: np.ndarray, box: Sequence[int], outside: float) -> np.ndarray:
    """Cuts a patch out of an image.

    Args:
        image: (height, width, channels).
        box: top, bottom, left, right in pixels, half-open, see `boxes`.
        outside: value of the patch beyond the image.

    Returns:
        (bottom - top, right - left, channels).
    """
    top, bottom, left, right = box
    patch = np.full((bottom - top, right - left, image.shape[-1]), outside, image.dtype)
    (y0, y1), (x0, x1) = (max(top, 0), min(bottom, image.shape[0])), (max(left, 0), min(right, image.shape[1]))
    if y0 < y1 and x0 < x1:
        patch[y0 - top : y1 - top, x0 - left : x1 - left] = image[y0:y1, x0:x1]
    return patch


@dataclass(frozen=True)
class Votes:
    """What each input of the last dense layer adds to each logit. Contributions and bias sum to an image's logits."""

    features: np.ndarray  # (n, features), inputs of the layer
    contributions: np.ndarray  # (n, features, classes), weight times input
    bias: np.ndarray  # (classes,)


def votes(network: Network, variables: Variables, images: Array) -> Votes:
    """The votes of the last layer's inputs for the classes, over images (n, h, w, c). Raises RequestError if the
    network does not end in a dense layer."""
    *_, last = network.walk()
    if not isinstance(last.layer, Dense):
        raise RequestError(f"the network ends in {last.name}, not in a dense layer: there are no votes to count")
    before = [node.name for node in network.nodes]
    features = images if len(before) == 1 else activations(network, variables, images, before[-2])
    features = features.reshape(features.shape[0], -1)
    params = variables["params"][last.name]
    bias = params["bias"] if last.layer.bias else jnp.zeros(last.output[-1])
    contributions = features[:, :, None] * params["kernel"][None]
    return Votes(np.asarray(features), np.asarray(contributions), np.asarray(bias))


def mean_responses(
    network: Network, variables: Variables, images: np.ndarray | Array, layers: Sequence[str]
) -> dict[str, np.ndarray]:
    """The mean of every map of some layers.

    Args:
        network, variables: the network and its variables.
        images: (n, h, w, c).
        layers: names of the layers.

    Returns:
        (n, channels) for each layer.
    """
    parts = [_means(network, variables, batch, tuple(layers)) for batch in batches(images)]
    return {layer: np.concatenate([np.asarray(part[layer]) for part in parts])[: len(images)] for layer in layers}


@functools.partial(jax.jit, static_argnames=("network", "layers"))
def _means(network: Network, variables: Variables, images: Array, layers: tuple[str, ...]) -> dict[str, Array]:
    outputs = {layer: output for layer, output in network.activations(variables, images).items() if layer in layers}
    return {layer: output.mean((1, 2)) if output.ndim == 4 else output for layer, output in outputs.items()}


def middle(output: Array) -> Array:
    """A layer's output (n, h, w, channels) in the middle of its maps, (n, channels); an output without maps as is."""
    return output[:, output.shape[1] // 2, output.shape[2] // 2] if output.ndim == 4 else output


def batches(images: np.ndarray | Array, size: int = BATCH) -> Iterator[Array]:
    """Batches of equal size, for one compiled program; the last is padded by repeating its last image."""
    for start in range(0, len(images), size):
        batch = jnp.asarray(images[start : start + size])
        missing = min(size, len(images)) - len(batch)
        yield jnp.concatenate([batch, jnp.repeat(batch[-1:], missing, 0)]) if missing else batch
