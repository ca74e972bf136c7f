"""Which pixels a network's answer rests on: eight methods, each as its paper defines it.

Every function takes (network, variables, images (n, h, w, c), classes (n,)), explains the logit of each image's class
and returns one map an image. Maps of gradients have the image's channels; occlusion and Grad-CAM have one.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from cnn_jax.errors import RequestError
from cnn_jax.insight.units import layers_with_maps, maps_node
from cnn_jax.layers import Backward, Conv
from cnn_jax.network import Network, Variables


def score(network: Network, variables: Variables, images: Array, classes: Array, backward: Backward) -> Array:
    """The logit of each image's class, (n,)."""
    logits = network.apply(variables, images, backward=backward)
    return jnp.take_along_axis(logits, classes[:, None], axis=1)[:, 0]


@functools.partial(jax.jit, static_argnames=("network", "backward"))
def gradient(
    network: Network, variables: Variables, images: Array, classes: Array, backward: Backward = "gradient"
) -> Array:
    """The derivative of the logit with respect to every pixel (simonyan2014deep, 3)."""
    return jax.grad(lambda x: score(network, variables, x, classes, backward).sum())(images)


def gradient_times_input(network: Network, variables: Variables, images: Array, classes: Array) -> Array:
    """Gradient × input (shrikumar2017learning, 2.2). The input's zero is the mean of the training images."""
    return gradient(network, variables, images, classes) * images


@functools.partial(jax.jit, static_argnames=("network", "samples"))
def smooth_grad(
    network: Network, variables: Variables, images: Array, classes: Array, key: Array, noise: float = 0.15,
    samples: int = 50,
) -> Array:  # fmt: skip
    """The mean gradient over `samples` images with normal noise added, of standard deviation `noise` times the image's
    range (SmoothGrad: smilkov2017smoothgrad, 3; noise of 10 to 20 % and 50 samples are theirs)."""
    over = tuple(range(1, images.ndim))
    spread = noise * (images.max(over, keepdims=True) - images.min(over, keepdims=True))

    def add(total: Array, key: Array) -> tuple[Array, None]:
        noisy = images + spread * jax.random.normal(key, images.shape)
        return total + gradient(network, variables, noisy, classes), None

    total, _ = lax.scan(add, jnp.zeros_like(images), jax.random.split(key, samples))
    return total / samples


@functools.partial(jax.jit, static_argnames=("network", "steps"))
def integrated_gradients(
    network: Network, variables: Variables, images: Array, classes: Array, baseline: Array | None = None,
    steps: int = 50,
) -> tuple[Array, Array]:  # fmt: skip
    """The mean gradient on the straight line from `baseline` (default: zero, the mean image) to the image, times their
    difference (sundararajan2017axiomatic, 3, equation 1), and its completeness gap (n,): the sum of the map minus
    the difference of the two logits, which an exact integral makes zero (their proposition 1).

    The integral is taken by Gauss and Legendre's rule with `steps` nodes.
    """
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    start = jnp.zeros_like(images) if baseline is None else jnp.broadcast_to(baseline, images.shape)
    way = images - start

    def add(total: Array, node: tuple[Array, Array]) -> tuple[Array, None]:
        at, weight = node
        return total + weight * gradient(network, variables, start + at * way, classes), None

    along = (jnp.asarray((nodes + 1) / 2, images.dtype), jnp.asarray(weights / 2, images.dtype))
    mean, _ = lax.scan(add, jnp.zeros_like(images), along)
    made = mean * way
    ends = [score(network, variables, x, classes, "gradient") for x in (images, start)]
    return made, made.sum(tuple(range(1, images.ndim))) - (ends[0] - ends[1])


def guided_backpropagation(network: Network, variables: Variables, images: Array, classes: Array) -> Array:
    """The gradient with ReLUs that hand back a signal only where they passed and where it is positive
    (springenberg2015striving, 3.4)."""
    return gradient(network, variables, images, classes, "guided")


def deconvnet(network: Network, variables: Variables, images: Array, classes: Array) -> Array:
    """What the deconvnet of zeiler2014visualizing, 2.1 projects back to the pixels: max pools are undone at the places
    where their maxima stood (switches), ReLUs rectify the signal that comes back, filters are transposed."""
    return gradient(network, variables, images, classes, "deconvnet")


@functools.partial(jax.jit, static_argnames=("network", "layer", "backward"))
def of_unit(
    network: Network, variables: Variables, images: Array, layer: str, units: Array, rows: Array, columns: Array,
    backward: Backward = "gradient",
) -> Array:  # fmt: skip
    """The map of one unit of `layer` in each image, (n, h, w, c): channel units[i] at (rows[i], columns[i])."""

    def sum_of_units(x: Array) -> Array:
        found = network.activations(variables, x, backward=backward)[layer]
        found = found.reshape(found.shape[0], *(found.shape[1:] if found.ndim == 4 else (1, 1, found.shape[-1])))
        return found[jnp.arange(len(x)), rows, columns, units].sum()

    return jax.grad(sum_of_units)(images)


@functools.partial(jax.jit, static_argnames=("network", "size", "stride"))
def occlusion(
    network: Network, variables: Variables, images: Array, classes: Array, size: int = 5, stride: int = 2,
    fill: float = 0.0,
) -> Array:  # fmt: skip
    """How far the logit falls when a square of `size` pixels is covered with `fill` (zeiler2014visualizing, 4.2): for
    each pixel the mean over the squares that cover it, (n, h, w, 1). Squares stand every `stride` pixels; the last ones
    reach the border and are cut there."""
    height, width = images.shape[1:3]
    corners = [(y, x) for y in _starts(height, size, stride) for x in _starts(width, size, stride)]
    masks = np.zeros((len(corners), height, width, 1), np.float32)
    for mask, (y, x) in zip(masks, corners, strict=True):
        mask[y : y + size, x : x + size] = 1.0
    whole = score(network, variables, images, classes, "gradient")

    def drop(mask: Array) -> Array:
        return whole - score(network, variables, jnp.where(mask[None] > 0, fill, images), classes, "gradient")

    drops = lax.map(drop, jnp.asarray(masks), batch_size=8)  # (squares, n)
    total = jnp.einsum("sn,shwc->nhwc", drops, jnp.asarray(masks))
    return total / jnp.maximum(jnp.asarray(masks.sum(0)), 1.0)[None]


def _starts(length: int, size: int, stride: int) -> range:
    """Where squares begin along an axis: every `stride` pixels until one reaches the end."""
    return range(0, max(-(-(length - size) // stride), 0) * stride + 1, stride)


def grad_cam_layer(network: Network) -> str:
    """The layer that Grad-CAM looks at unless told otherwise: the last one with maps that stands behind a convolution.
    RequestError if there is none."""
    last, seen = None, False
    for node in network.walk():
        seen = seen or isinstance(node.layer, Conv)
        if seen and len(node.output) == 3 and min(node.output[:2]) > 1:
            last = node.name
    if last is None:
        raise RequestError(f"no layer has maps of a convolution; layers with maps: {layers_with_maps(network)}")
    return last


@functools.partial(jax.jit, static_argnames=("network", "layer"))
def grad_cam(network: Network, variables: Variables, images: Array, classes: Array, layer: str) -> Array:
    """The positive part of the layer's maps summed with weights, a map's weight being the mean over its positions of
    the logit's derivative (selvaraju2017grad, 3, equations 1 and 2): (n, map height, map width, 1)."""
    shape = maps_node(network, layer).output

    def logit(shift: Array) -> tuple[Array, Array]:
        found = network.activations(variables, images, shifts={layer: shift})
        logits = list(found.values())[-1].reshape(len(images), -1)
        return jnp.take_along_axis(logits, classes[:, None], axis=1).sum(), found[layer]

    slopes, maps = jax.grad(logit, has_aux=True)(jnp.zeros((len(images), *shape), images.dtype))
    weights = slopes.mean((1, 2), keepdims=True)
    return jax.nn.relu((weights * maps).sum(-1, keepdims=True))


def enlarged(maps: Array, height: int, width: int) -> Array:
    """Maps (n, h, w, c) at the size of the image, bilinear, as Grad-CAM is shown."""
    return jax.image.resize(maps, (len(maps), height, width, maps.shape[-1]), "bilinear")


Method = Callable[[Network, Variables, Array, Array], Array]


def methods(network: Network, key: Array, **options: Any) -> dict[str, Method]:
    """Every method by the name it is shown under, with its defaults (`size`, `stride` of occlusion in `options`), each
    returning maps at the size of the image."""
    square = {"size": max(network.input_shape[0] // 6, 1), "stride": max(network.input_shape[0] // 14, 1)} | options
    named: dict[str, Method] = {
        "gradient": gradient,
        "gradient x input": gradient_times_input,
        "SmoothGrad": functools.partial(smooth_grad, key=key),
        "integrated gradients": lambda *given: integrated_gradients(*given)[0],
        "guided backpropagation": guided_backpropagation,
        "deconvnet": deconvnet,
        "occlusion": functools.partial(occlusion, **square),
    }
    try:
        layer = grad_cam_layer(network)
    except RequestError:
        return named
    height, width, _ = network.input_shape
    return named | {"Grad-CAM": lambda *given: enlarged(grad_cam(*given, layer=layer), height, width)}
