"""What units respond to: first-layer filters, activation maps, the strongest patches, votes for classes."""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from cnn_jax.errors import RequestError, quote
from cnn_jax.geometry import rows
from cnn_jax.layers import Conv, Dense
from cnn_jax.network import Network, Node, Variables

BATCH = 128  # images that are looked at together


def layers_with_maps(network: Network) -> list[str]:
    """The names of the layers whose output has height and width, in order of execution."""
    return [node.name for node in network.walk() if len(node.output) == 3]


def maps_node(network: Network, layer: str) -> Node:
    """The layer of that name. RequestError if it does not exist or its output has no height and width."""
    node = network.node(layer)
    if len(node.output) != 3:
        known = ", ".join(layers_with_maps(network))
        raise RequestError(f"layer {quote(layer)} has no maps, its output is {node.output}; layers with maps: {known}")
    return node


def check_units(node: Node, units: Sequence[int]) -> None:
    """RequestError that says how many there are if one of the channels does not exist."""
    for unit in units:
        if not 0 <= unit < node.output[-1]:
            raise RequestError(f"unit {unit} of {node.name} does not exist; it has 0 to {node.output[-1] - 1}")


@functools.partial(jax.jit, static_argnames=("network", "layer"))
def activations(network: Network, variables: Variables, images: Array, layer: str) -> Array:
    """The output of one layer for each image, (n, *its output shape)."""
    return network.activations(variables, images)[layer]


def first_filters(network: Network, variables: Variables) -> np.ndarray:
    """The kernels of the first convolution as images (filters, height, width, channels), divided by the largest
    magnitude among all of them: -1 to 1 on one scale, 0 stays 0. RequestError where there is no convolution, or where
    its kernel is no stack of such images (a connection table)."""
    node = next((node for node in network.walk() if isinstance(node.layer, Conv)), None)
    if node is None or not isinstance(node.layer, Conv) or node.layer.connections is not None:
        raise RequestError("the network has no convolution whose filters are images")
    kernel = np.moveaxis(np.asarray(variables["params"][node.name]["kernel"], np.float32), -1, 0)
    return kernel / max(float(np.abs(kernel).max()), float(np.finfo(np.float32).tiny))


@dataclass(frozen=True)
class Strongest:
    """For each unit of a layer (each channel, at whatever position) the images that excite it most, one patch an image.

    `images` int (units, count): positions in the set of images; `rows`, `columns` where in the map; `values` the
    activations, falling; `boxes` (units, count, 4) what is seen there, see `boxes`.
    """

    images: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    values: np.ndarray
    boxes: np.ndarray


def strongest(
    network: Network, variables: Variables, images: np.ndarray | Array, layers: Sequence[str], count: int = 9
) -> dict[str, Strongest]:
    """The `count` strongest responses of every unit of each of `layers` over a set of images (as zeiler2014visualizing,
    figure 2, chose them). Of equal responses the one of the earlier image stands first."""
    parts = [_largest(network, variables, batch, tuple(layers)) for batch in batches(images)]
    found = {}
    for layer in layers:
        values, places = (
            np.concatenate([np.asarray(part[layer][kind]) for part in parts])[: len(images)] for kind in (0, 1)
        )
        found[layer] = _ranked(network, layer, values, places, count)
    return found


def _ranked(network: Network, layer: str, values: np.ndarray, places: np.ndarray, count: int) -> Strongest:
    """From the largest activations of each image and their places in row-major order, both (n, units)."""
    output = network.node(layer).output
    order = np.argsort(-values, axis=0, kind="stable")[:count].T  # (units, count)
    units = np.arange(values.shape[1])[:, None]
    place = places[order, units]
    width = output[1] if len(output) == 3 else 1
    at_rows, at_columns = place // width, place % width
    return Strongest(order, at_rows, at_columns, values[order, units], boxes(network, layer, at_rows, at_columns))


def boxes(network: Network, layer: str, at_rows: np.ndarray, at_columns: np.ndarray) -> np.ndarray:
    """What the units at these positions of a layer's maps see of the image: int (…, 4), top, bottom, left, right in
    pixels, half open, which may reach out of it."""
    fields = next(row.fields for row in rows(network) if row.node.name == layer)
    starts = [at * field.jump - field.padding for at, field in zip((at_rows, at_columns), fields, strict=True)]
    return np.stack([starts[0], starts[0] + fields[0].size, starts[1], starts[1] + fields[1].size], -1)


@functools.partial(jax.jit, static_argnames=("network", "layers"))
def _largest(
    network: Network, variables: Variables, images: Array, layers: tuple[str, ...]
) -> dict[str, tuple[Array, Array]]:
    """For each layer the largest activation of every channel and its place in row-major order, both (n, channels)."""
    found = network.activations(variables, images)
    flat = {layer: found[layer].reshape(len(images), -1, found[layer].shape[-1]) for layer in layers}
    return {layer: (values.max(1), values.argmax(1)) for layer, values in flat.items()}


def cut(image: np.ndarray, box: Sequence[int], outside: float) -> np.ndarray:
    """The patch of an image (height, width, channels) in a box that may reach outside, there filled with `outside`."""
    top, bottom, left, right = box
    patch = np.full((bottom - top, right - left, image.shape[-1]), outside, image.dtype)
    (y0, y1), (x0, x1) = (max(top, 0), min(bottom, image.shape[0])), (max(left, 0), min(right, image.shape[1]))
    if y0 < y1 and x0 < x1:
        patch[y0 - top : y1 - top, x0 - left : x1 - left] = image[y0:y1, x0:x1]
    return patch


@dataclass(frozen=True)
class Votes:
    """What each feature that enters the last dense layer adds to each logit: `features` (n, features) are the layer's
    inputs, `contributions` (n, features, classes) weight times activation, `bias` (classes,). The contributions of an
    image and the bias sum to its logits."""

    features: np.ndarray
    contributions: np.ndarray
    bias: np.ndarray


def votes(network: Network, variables: Variables, images: Array) -> Votes:
    """How the features of the last layer vote for the classes. RequestError if the network does not end in a dense
    layer."""
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
    """The mean over its map of every channel of each of `layers`, for every image: (n, channels) by layer."""
    parts = [_means(network, variables, batch, tuple(layers)) for batch in batches(images)]
    return {layer: np.concatenate([np.asarray(part[layer]) for part in parts])[: len(images)] for layer in layers}


@functools.partial(jax.jit, static_argnames=("network", "layers"))
def _means(network: Network, variables: Variables, images: Array, layers: tuple[str, ...]) -> dict[str, Array]:
    found = network.activations(variables, images)
    return {layer: found[layer].mean((1, 2)) if found[layer].ndim == 4 else found[layer] for layer in layers}


def middle(found: Array) -> Array:
    """The channels of a layer's output in the middle of its maps, (n, channels); all of an output without maps."""
    return found[:, found.shape[1] // 2, found.shape[2] // 2] if found.ndim == 4 else found


def batches(images: np.ndarray | Array, size: int = BATCH) -> Iterator[Array]:
    """Batches of one size, so that one program serves all; the last is filled up with its own last image."""
    for start in range(0, len(images), size):
        batch = jnp.asarray(images[start : start + size])
        missing = min(size, len(images)) - len(batch)
        yield jnp.concatenate([batch, jnp.repeat(batch[-1:], missing, 0)]) if missing else batch
