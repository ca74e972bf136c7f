"""Class activation maps: sums of the maps of any layer, weighted by what they do for an output.

Every method takes (function, params, images (n, h, w, c), targets, layer) and returns maps (n, map height, map width,
1), not negative; `enlarged` resizes them to the image. The function needs named layers, as a `Network` has.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from cnn_jax.errors import RequestError
from cnn_jax.insight.functions import Targets, at_layer, inner, selected
from cnn_jax.insight.units import layers_with_maps
from cnn_jax.layers import Conv
from cnn_jax.network import Network

TINY = 1e-12
_jit = functools.partial(jax.jit, static_argnames=("function", "layer"))


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


def enlarged(maps: Array, height: int, width: int) -> Array:
    """Maps (n, h, w, c) resized bilinearly to (n, height, width, c), as they are shown."""
    return jax.image.resize(maps, (len(maps), height, width, maps.shape[-1]), "bilinear")


def _summed(weighted: Array) -> Array:
    return jax.nn.relu(weighted.sum(-1, keepdims=True))


@_jit
def grad_cam(function: Any, params: Any, images: Array, targets: Targets, layer: str) -> Array:
    """The weight of a map is the derivative, averaged over the map (selvaraju2017grad, 3, equations 1 and 2)."""
    maps, gradients = at_layer(function, params, images, targets, layer)
    return _summed(gradients.mean((1, 2), keepdims=True) * maps)


@_jit
def hires_cam(function: Any, params: Any, images: Array, targets: Targets, layer: str) -> Array:
    """Every value times its own derivative (draelos2020use, 3.3)."""
    maps, gradients = at_layer(function, params, images, targets, layer)
    return _summed(gradients * maps)


@_jit
def layer_cam(function: Any, params: Any, images: Array, targets: Targets, layer: str) -> Array:
    """Every value times the positive part of its derivative (jiang2021layercam, III.C)."""
    maps, gradients = at_layer(function, params, images, targets, layer)
    return _summed(jax.nn.relu(gradients) * maps)


@_jit
def grad_cam_plus_plus(function: Any, params: Any, images: Array, targets: Targets, layer: str) -> Array:
    """The weight of a map is a weighted mean of the positive derivatives (chattopadhay2018grad, equations 5 and 19, for
    the exponential of the output)."""
    maps, gradients = at_layer(function, params, images, targets, layer)
    square, cube = gradients**2, gradients**3
    sums = 2.0 * square + maps.sum((1, 2), keepdims=True) * cube
    alpha = jnp.where(square > 0, square / jnp.where(jnp.abs(sums) > TINY, sums, 1.0), 0.0)
    return _summed((alpha * jax.nn.relu(gradients)).sum((1, 2), keepdims=True) * maps)


@_jit
def score_cam(function: Any, params: Any, images: Array, targets: Targets, layer: str) -> Array:
    """The weight of a map is the softmax, over the maps, of the output for the image seen through it (wang2020score,
    equations 5 to 7 and algorithm 1): the map, enlarged and scaled to 0 … 1, times the image."""
    maps = inner(function, params, images, layer)
    masks = enlarged(maps, *images.shape[1:3])
    low, high = masks.min((1, 2), keepdims=True), masks.max((1, 2), keepdims=True)
    masks = (masks - low) / jnp.maximum(high - low, TINY)
    before = selected(function(params, jnp.zeros_like(images)), targets)

    def through(mask: Array) -> Array:
        return selected(function(params, images * mask[..., None]), targets) - before

    scores = lax.map(through, jnp.moveaxis(masks, -1, 0))  # (channels, n)
    return _summed(jax.nn.softmax(scores, axis=0).T[:, None, None] * maps)


@_jit
def eigen_cam(function: Any, params: Any, images: Array, targets: Targets, layer: str) -> Array:
    """The projection of the maps on their first principal direction, without centring (muhammad2020eigen, III); it does
    not depend on the targets. Its sign is that which makes the sum positive."""
    del targets
    maps = inner(function, params, images, layer)
    flat = maps.reshape(len(maps), -1, maps.shape[-1])
    _, _, directions = jnp.linalg.svd(flat, full_matrices=False)
    projected = jnp.einsum("npc,nc->np", flat, directions[:, 0])
    sign = jnp.where(projected.sum(1, keepdims=True) >= 0, 1.0, -1.0)
    return jax.nn.relu(projected * sign).reshape(*maps.shape[:3], 1)


METHODS = {
    "Grad-CAM": grad_cam,
    "Grad-CAM++": grad_cam_plus_plus,
    "HiResCAM": hires_cam,
    "LayerCAM": layer_cam,
    "ScoreCAM": score_cam,
    "EigenCAM": eigen_cam,
}
