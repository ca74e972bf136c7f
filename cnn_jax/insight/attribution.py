"""Attribution: which pixels a network's output depends on. Eight methods, each as its paper defines it.

Every method takes (network, variables, images (n, h, w, c), classes int (n,)), explains the logit of each image's class
and returns one map per image. Gradient maps have the image's channels; occlusion and Grad-CAM have one channel.
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
    """Returns the logit of each image's class, (n,). `backward` selects the backward pass through ReLUs and max pools
    ("gradient", "guided", "deconvnet", "redirected") and leaves the value unchanged."""
    logits = network.apply(variables, images, backward=backward)
    return jnp.take_along_axis(logits, classes[:, None], axis=1)[:, 0]


@functools.partial(jax.jit, static_argnames=("network", "backward"))
def gradient(
    network: Network, variables: Variables, images: Array, classes: Array, backward: Backward = "gradient"
) -> Array:
    """The derivative of the logit with respect to every pixel (simonyan2014deep, 3).

    Args:
        network, variables, images, classes: as for every method, see the module's docstring.
        backward: the backward pass, see `score`.

    Returns:
        Maps (n, h, w, c).
    """
    return jax.grad(lambda x: score(network, variables, x, classes, backward).sum())(images)


def gradient_times_input(network: Network, variables: Variables, images: Array, classes: Array) -> Array:
    """Gradient × input (shrikumar2017learning, 2.2). The input's zero is the mean of the training images."""
    return gradient(network, variables, images, classes) * images


@functools.partial(jax.jit, static_argnames=("network", "samples"))
def smooth_grad(
    network: Network, variables: Variables, images: Array, classes: Array, key: Array, noise: float = 0.15,
    samples: int = 50,
) -> Array:  # fmt: skip
    """SmoothGrad: the mean gradient over noisy copies of each image (smilkov2017smoothgrad, 3).

    Args:
        network, variables, images, classes: as for every method, see the module's docstring.
        key: of the noise.
        noise: its standard deviation as a share of the image's range; the paper uses 0.1 to 0.2.
        samples: number of noisy copies; the paper uses 50.

    Returns:
        Maps (n, h, w, c).
    """
    axes = tuple(range(1, images.ndim))
    deviation = noise * (images.max(axes, keepdims=True) - images.min(axes, keepdims=True))

    def add(total: Array, key: Array) -> tuple[Array, None]:
        noisy = images + deviation * jax.random.normal(key, images.shape)
        return total + gradient(network, variables, noisy, classes), None

    total, _ = lax.scan(add, jnp.zeros_like(images), jax.random.split(key, samples))
    return total / samples


@functools.partial(jax.jit, static_argnames=("network", "steps"))
def integrated_gradients(
    network: Network, variables: Variables, images: Array, classes: Array, baseline: Array | None = None,
    steps: int = 50,
) -> tuple[Array, Array]:  # fmt: skip
    """The mean gradient on the straight line from a baseline to the image, times their difference
    (sundararajan2017axiomatic, 3, equation 1).

    Args:
        network, variables, images, classes: as for every method, see the module's docstring.
        baseline: start of the line, broadcast to the images; default zero, the mean image.
        steps: nodes of the Gauss-Legendre quadrature.

    Returns:
        Maps (n, h, w, c) and their completeness gaps (n,): the sum of a map minus the difference of the two logits,
        zero for the exact integral (proposition 1).
    """
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    start = jnp.zeros_like(images) if baseline is None else jnp.broadcast_to(baseline, images.shape)
    difference = images - start

    def add(total: Array, node: tuple[Array, Array]) -> tuple[Array, None]:
        position, weight = node
        return total + weight * gradient(network, variables, start + position * difference, classes), None

    line = (jnp.asarray((nodes + 1) / 2, images.dtype), jnp.asarray(weights / 2, images.dtype))
    mean, _ = lax.scan(add, jnp.zeros_like(images), line)
    maps = mean * difference
    end_score, start_score = (score(network, variables, x, classes, "gradient") for x in (images, start))
    return maps, maps.sum(tuple(range(1, images.ndim))) - (end_score - start_score)


def guided_backpropagation(network: Network, variables: Variables, images: Array, classes: Array) -> Array:
    """The gradient with ReLUs that backpropagate a signal only where their input and the signal are both positive
    (springenberg2015striving, 3.4)."""
    return gradient(network, variables, images, classes, "guided")


def deconvnet(network: Network, variables: Variables, images: Array, classes: Array) -> Array:
    """The deconvnet's projection to the pixels (zeiler2014visualizing, 2.1): max unpooling to the positions of the
    maxima (switches), ReLU applied to the backward signal, transposed filters."""
    return gradient(network, variables, images, classes, "deconvnet")


@functools.partial(jax.jit, static_argnames=("network", "layer", "backward"))
def of_unit(
    network: Network, variables: Variables, images: Array, layer: str, units: Array, rows: Array, columns: Array,
    backward: Backward = "gradient",
) -> Array:  # fmt: skip
    """The gradient of one unit of `layer` for each image, in place of its class's logit.

    Args:
        network, variables: the network and its variables.
        images: (n, h, w, c).
        layer: the layer's name.
        units: int (n,), the channel for each image.
        rows, columns: int (n,), its position in the layer's maps; 0 for a layer without maps.
        backward: the backward pass, see `score`.

    Returns:
        Maps (n, h, w, c).
    """

    def sum_of_units(x: Array) -> Array:
        output = network.activations(variables, x, backward=backward)[layer]
        maps = output if output.ndim == 4 else output.reshape(len(output), 1, 1, -1)
        return maps[jnp.arange(len(x)), rows, columns, units].sum()

    return jax.grad(sum_of_units)(images)


@functools.partial(jax.jit, static_argnames=("network", "size", "stride"))
def occlusion(
    network: Network, variables: Variables, images: Array, classes: Array, size: int = 5, stride: int = 2,
    fill: float = 0.0,
) -> Array:  # fmt: skip
    """How far the logit falls when a square of the image is covered (zeiler2014visualizing, 4.2).

    Args:
        network, variables, images, classes: as for every method, see the module's docstring.
        size: side of the square in pixels.
        stride: distance between squares in pixels; the last square of a row or column is cut off at the border.
        fill: value of the covered pixels.

    Returns:
        Maps (n, h, w, 1): for each pixel the mean over the squares that cover it.
    """
    height, width = images.shape[1:3]
    corners = [(y, x) for y in _starts(height, size, stride) for x in _starts(width, size, stride)]
    masks = np.zeros((len(corners), height, width, 1), np.float32)
    for mask, (y, x) in zip(masks, corners, strict=True):
        mask[y : y + size, x : x + size] = 1.0
    uncovered = score(network, variables, images, classes, "gradient")

    def drop(mask: Array) -> Array:
        return uncovered - score(network, variables, jnp.where(mask[None] > 0, fill, images), classes, "gradient")

    drops = lax.map(drop, jnp.asarray(masks), batch_size=8)  # (squares, n)
    total = jnp.einsum("sn,shwc->nhwc", drops, jnp.asarray(masks))
    return total / jnp.maximum(jnp.asarray(masks.sum(0)), 1.0)[None]


def _starts(length: int, size: int, stride: int) -> range:
    """Where the squares begin along an axis: every `stride` pixels until one reaches the end."""
    return range(0, max(-(-(length - size) // stride), 0) * stride + 1, stride)


def grad_cam_layer(network: Network) -> str:
    """Grad-CAM's default layer: the last one, at or after a convolution, with maps of at least 2x2. Raises RequestError
    if there is none."""
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
    """ReLU of the weighted sum of a layer's maps; a map's weight is the logit's derivative, averaged over the map
    (selvaraju2017grad, 3, equations 1 and 2).

    Args:
        network, variables, images, classes: as for every method, see the module's docstring.
        layer: name of a layer with maps, see `grad_cam_layer`.

    Returns:
        Maps (n, map height, map width, 1).

    Raises:
        RequestError: the layer does not exist or has no maps.
    """
    shape = maps_node(network, layer).output

    def logit(shift: Array) -> tuple[Array, Array]:
        outputs = network.activations(variables, images, shifts={layer: shift})
        logits = list(outputs.values())[-1].reshape(len(images), -1)
        return jnp.take_along_axis(logits, classes[:, None], axis=1).sum(), outputs[layer]

    gradients, maps = jax.grad(logit, has_aux=True)(jnp.zeros((len(images), *shape), images.dtype))
    weights = gradients.mean((1, 2), keepdims=True)
    return jax.nn.relu((weights * maps).sum(-1, keepdims=True))


def enlarged(maps: Array, height: int, width: int) -> Array:
    """Maps (n, h, w, c) resized bilinearly to (n, height, width, c), as Grad-CAM is shown."""
    return jax.image.resize(maps, (len(maps), height, width, maps.shape[-1]), "bilinear")


Method = Callable[[Network, Variables, Array, Array], Array]


def methods(network: Network, key: Array, **options: Any) -> dict[str, Method]:
    """All attribution methods with their default settings.

    Args:
        network: decides the size of occlusion's squares and whether there is a layer for Grad-CAM.
        key: of SmoothGrad's noise.
        **options: arguments of `occlusion`: `size`, `stride`, `fill`.

    Returns:
        Each method by its display name; its maps have the height and width of the image. Guided backpropagation and the
        deconvnet are left out for a network with `opaque` layers.
    """
    square = {"size": max(network.input_shape[0] // 6, 1), "stride": max(network.input_shape[0] // 14, 1)} | options
    by_name: dict[str, Method] = {
        "gradient": gradient,
        "gradient x input": gradient_times_input,
        "SmoothGrad": functools.partial(smooth_grad, key=key),
        "integrated gradients": lambda *args: integrated_gradients(*args)[0],
        "guided backpropagation": guided_backpropagation,
        "deconvnet": deconvnet,
        "occlusion": functools.partial(occlusion, **square),
    }
    if network.opaque:
        del by_name["guided backpropagation"], by_name["deconvnet"]
    try:
        layer = grad_cam_layer(network)
    except RequestError:
        return by_name
    height, width, _ = network.input_shape
    return by_name | {"Grad-CAM": lambda *args: enlarged(grad_cam(*args, layer=layer), height, width)}
