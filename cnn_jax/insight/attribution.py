"""Attribution: which pixels an output depends on. Each method as its paper defines it; others are in `rules`, `cam` and
`sampling`.

Every method takes (function, params, images (n, h, w, c), targets): any function of params and images, as a `Network`
is of its variables, and the output to explain for each image, or a pair of outputs whose difference is explained
(`functions`). It returns one map per image. Gradient maps have the image's channels, occlusion has one.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from cnn_jax.errors import RequestError
from cnn_jax.insight import cam, rules
from cnn_jax.insight.functions import Function, Targets, at_layer, inner, selected
from cnn_jax.network import Network


@functools.partial(jax.jit, static_argnames=("function",))
def gradient(function: Function, params: Any, images: Array, targets: Targets) -> Array:
    """The derivative of the selected output with respect to every pixel (simonyan2014deep, 3): maps (n, h, w, c)."""
    return jax.grad(lambda x: selected(function(params, x), targets).sum())(images)


def gradient_times_input(function: Function, params: Any, images: Array, targets: Targets) -> Array:
    """Gradient × input (shrikumar2017learning, 2.2). The input's zero is the mean of the training images."""
    return gradient(function, params, images, targets) * images


@functools.partial(jax.jit, static_argnames=("function", "samples"))
def smooth_grad(
    function: Function, params: Any, images: Array, targets: Targets, key: Array, noise: float = 0.15,
    samples: int = 50,
) -> Array:  # fmt: skip
    """SmoothGrad: the mean gradient over noisy copies of each image (smilkov2017smoothgrad, 3).

    Args:
        function, params, images, targets: as for every method, see the module's docstring.
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
        return total + gradient(function, params, noisy, targets), None

    total, _ = lax.scan(add, jnp.zeros_like(images), jax.random.split(key, samples))
    return total / samples


@functools.partial(jax.jit, static_argnames=("function", "steps"))
def integrated_gradients(
    function: Function, params: Any, images: Array, targets: Targets, baseline: Array | None = None,
    steps: int = 50,
) -> tuple[Array, Array]:  # fmt: skip
    """The mean gradient on the straight line from a baseline to the image, times their difference
    (sundararajan2017axiomatic, 3, equation 1).

    Args:
        function, params, images, targets: as for every method, see the module's docstring.
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
        return total + weight * gradient(function, params, start + position * difference, targets), None

    line = (jnp.asarray((nodes + 1) / 2, images.dtype), jnp.asarray(weights / 2, images.dtype))
    mean, _ = lax.scan(add, jnp.zeros_like(images), line)
    maps = mean * difference
    end_score, start_score = (selected(function(params, x), targets) for x in (images, start))
    return maps, maps.sum(tuple(range(1, images.ndim))) - (end_score - start_score)


@functools.partial(jax.jit, static_argnames=("function", "layer"))
def of_unit(function: Any, params: Any, images: Array, layer: str, units: Array, rows: Array, columns: Array) -> Array:
    """The gradient of one unit of `layer` for each image, in place of an output.

    Args:
        function, params: a function with named layers, such as a `Network` or one under a rule (`functions.Ruled`).
        images: (n, h, w, c).
        layer: the layer's name.
        units: int (n,), the channel for each image.
        rows, columns: int (n,), its position in the layer's maps; 0 for a layer without maps.

    Returns:
        Maps (n, h, w, c).
    """

    def sum_of_units(x: Array) -> Array:
        output = inner(function, params, x, layer)
        maps = output if output.ndim == 4 else output.reshape(len(output), 1, 1, -1)
        return maps[jnp.arange(len(x)), rows, columns, units].sum()

    return jax.grad(sum_of_units)(images)


@functools.partial(jax.jit, static_argnames=("function", "layer", "steps"))
def layer_conductance(
    function: Any, params: Any, images: Array, targets: Targets, layer: str, baseline: Array | None = None,
    steps: int = 50,
) -> Array:  # fmt: skip
    """The part of the output that flows through every value of a layer with maps (dhamdhere2019important, definition
    2): the derivative with respect to it times its change, summed along the straight line from a baseline, by default
    zero, to the image, by the trapezoidal rule.

    Returns:
        (n, map height, map width, channels); the sum goes to the difference of the two outputs.
    """
    start = jnp.zeros_like(images) if baseline is None else jnp.broadcast_to(baseline, images.shape)

    def at(position: Array) -> tuple[Array, Array]:
        return at_layer(function, params, start + position * (images - start), targets, layer)

    def add(carry: tuple[Array, Array, Array], position: Array) -> tuple[tuple[Array, Array, Array], None]:
        total, maps, slopes = carry
        next_maps, next_slopes = at(position)
        total = total + 0.5 * (slopes + next_slopes) * (next_maps - maps)
        return (total, next_maps, next_slopes), None

    first = at(jnp.zeros((), images.dtype))
    positions = jnp.linspace(0.0, 1.0, steps + 1, dtype=images.dtype)[1:]
    (total, _, _), _ = lax.scan(add, (jnp.zeros_like(first[0]), *first), positions)
    return total


@functools.partial(jax.jit, static_argnames=("function", "size", "stride"))
def occlusion(
    function: Function, params: Any, images: Array, targets: Targets, size: int = 5, stride: int = 2,
    fill: float = 0.0,
) -> Array:  # fmt: skip
    """How far the logit falls when a square of the image is covered (zeiler2014visualizing, 4.2).

    Args:
        function, params, images, targets: as for every method, see the module's docstring.
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
    uncovered = selected(function(params, images), targets)

    def drop(mask: Array) -> Array:
        return uncovered - selected(function(params, jnp.where(mask[None] > 0, fill, images)), targets)

    drops = lax.map(drop, jnp.asarray(masks), batch_size=8)  # (squares, n)
    total = jnp.einsum("sn,shwc->nhwc", drops, jnp.asarray(masks))
    return total / jnp.maximum(jnp.asarray(masks.sum(0)), 1.0)[None]


def _starts(length: int, size: int, stride: int) -> range:
    """Where the squares begin along an axis: every `stride` pixels until one reaches the end."""
    return range(0, max(-(-(length - size) // stride), 0) * stride + 1, stride)


Method = Callable[[Any, Any, Array, Any], Array]  # of function, params, images and targets


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
        "guided backpropagation": rules.guided_backpropagation,
        "deconvnet": rules.deconvnet,
        "occlusion": functools.partial(occlusion, **square),
    }
    if network.opaque:
        del by_name["guided backpropagation"], by_name["deconvnet"]
    try:
        layer = cam.grad_cam_layer(network)
    except RequestError:
        return by_name
    height, width, _ = network.input_shape
    return by_name | {"Grad-CAM": lambda *args: cam.enlarged(cam.grad_cam(*args, layer=layer), height, width)}
