"""Images that excite a unit: activation maximisation with the regularisers of yosinski2015understanding."""

import functools
from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from cnn_jax.insight.functions import Ruled
from cnn_jax.insight.rules import ReLURule
from cnn_jax.insight.units import middle
from cnn_jax.network import Network, Variables

Target = Literal["unit", "channel"]


@dataclass(frozen=True)
class Recipe:
    """Settings of activation maximisation. A step rolls the image by up to `jitter` pixels, moves it along the gradient
    of the activation, rolls it back and regularises it (yosinski2015understanding, 4)."""

    steps: int = 200
    rate: float = 0.1  # step length, the gradient being divided by its root mean square
    decay: float = 0.01  # share by which every pixel shrinks in a step
    blur: float = 0.5  # standard deviation in pixels of the Gaussian blur
    blur_every: int = 4  # steps
    clip: float = 0.05  # share of the pixels, those of smallest norm over channels, that become zero in a step
    jitter: int = 2  # pixels


USUAL = Recipe()


def maximise(
    network: Network, variables: Variables, layer: str, units: Array, key: Array, target: Target = "unit",
    recipe: Recipe = USUAL,
) -> tuple[Array, Array]:  # fmt: skip
    """Gradient ascent on the activation of each unit, from normal noise of deviation 0.1.

    The backward pass is 'redirected': ReLUs backpropagate every positive signal, so that a unit that is silent at the
    start gets a gradient. In a network with `opaque` layers it is the gradient.

    Args:
        network, variables: the network and its variables.
        layer: the layer's name.
        units: int (units,), channels of that layer.
        key: of the noise and the jitter; the same key gives the same images.
        target: 'unit' for the position in the middle of the maps, 'channel' for the mean over them; the same for a
            dense layer.
        recipe: settings.

    Returns:
        Images (units, h, w, c), normalised as the network's input, and their activations (units, 2) before and after.
    """
    return _maximise(network, variables, jnp.asarray(units), key, layer, target, recipe)


@functools.partial(jax.jit, static_argnames=("network", "layer", "target", "recipe"))
def _maximise(
    network: Network, variables: Variables, units: Array, key: Array, layer: str, target: Target, recipe: Recipe
) -> tuple[Array, Array]:
    function = network if network.opaque else Ruled(network, ReLURule("redirected"))
    start_key, jitter_key = jax.random.split(key)
    start = 0.1 * jax.random.normal(start_key, (len(units), *network.input_shape))

    def activation(images: Array) -> Array:
        output = function.activations(variables, images)[layer]
        if output.ndim == 4 and target == "channel":
            output = output.mean((1, 2))
        return jnp.take_along_axis(middle(output), units[:, None], axis=1)[:, 0]

    gradient_at = jax.grad(lambda images: activation(images).sum())

    def step(images: Array, number: Array) -> tuple[Array, None]:
        shift = jax.random.randint(jax.random.fold_in(jitter_key, number), (2,), -recipe.jitter, recipe.jitter + 1)
        rolled = jnp.roll(images, shift, (1, 2))
        gradient = gradient_at(rolled)
        size = jnp.sqrt(jnp.square(gradient).mean((1, 2, 3), keepdims=True))
        moved = jnp.roll(rolled + recipe.rate * gradient / jnp.maximum(size, 1e-12), -shift, (1, 2))
        return regularised(moved, number, recipe), None

    images, _ = lax.scan(step, start, jnp.arange(recipe.steps))
    return images, jnp.stack([activation(start), activation(images)], 1)


def regularised(images: Array, number: Array, recipe: Recipe) -> Array:
    """The images (n, h, w, c) after step `number`, regularised as `recipe` says."""
    images = images * (1.0 - recipe.decay)
    if recipe.blur > 0:
        blurring = (number + 1) % recipe.blur_every == 0
        images = jnp.where(blurring, blurred(images, recipe.blur), images)
    if recipe.clip > 0:
        norms = jnp.sqrt(jnp.square(images).sum(-1, keepdims=True))
        limit = jnp.quantile(norms, recipe.clip, axis=(1, 2, 3), keepdims=True)
        images = jnp.where(norms < limit, 0.0, images)
    return images


def blurred(images: Array, sigma: float) -> Array:
    """Images (n, h, w, c) blurred with a Gaussian of `sigma` pixels, cut off at 3 sigma; the border is replicated."""
    reach = max(int(np.ceil(3 * sigma)), 1)
    offsets = np.arange(-reach, reach + 1)
    weights = np.exp(-0.5 * (offsets / sigma) ** 2)
    weights /= weights.sum()
    for axis in (1, 2):
        border = [(reach, reach) if i == axis else (0, 0) for i in range(images.ndim)]
        padded = jnp.pad(images, border, mode="edge")
        length = images.shape[axis]
        images = sum(
            float(weight) * lax.slice_in_dim(padded, i, i + length, axis=axis) for i, weight in enumerate(weights)
        )  # type: ignore[assignment]
    return images
