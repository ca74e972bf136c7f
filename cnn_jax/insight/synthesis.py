"""Images made to excite a unit: activation maximisation with the regularisers of yosinski2015understanding."""

import functools
from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from cnn_jax.network import Network, Variables

Target = Literal["unit", "channel"]


@dataclass(frozen=True)
class Recipe:
    """How an image is made. In every step the image moves by `rate` along the gradient of the activation (divided by
    its root mean square), then, as in yosinski2015understanding, 4, it decays by `decay`, every `blur_every` steps it
    is blurred with a Gaussian of `blur` pixels, and the `clip` share of pixels with the smallest norm over colours
    becomes zero. Before a step the image is rolled by up to `jitter` pixels, and after it back."""

    steps: int = 200
    rate: float = 0.1
    decay: float = 0.01
    blur: float = 0.5
    blur_every: int = 4
    clip: float = 0.05
    jitter: int = 2


USUAL = Recipe()


def maximise(
    network: Network, variables: Variables, layer: str, units: Array, key: Array, target: Target = "unit",
    recipe: Recipe = USUAL,
) -> tuple[Array, Array]:  # fmt: skip
    """An image (units, h, w, c) for each channel of `layer` in `units`, from noise of a tenth, and its activations
    (units, 2) before and after. 'unit' is the position in the middle of the maps, 'channel' the mean over them; for a
    dense layer they are the same. The images have the network's own units; the same key gives the same images.

    A unit that is silent at first is woken by ReLUs that hand a positive signal back ('redirected').
    """
    return _maximise(network, variables, jnp.asarray(units), key, layer, target, recipe)


@functools.partial(jax.jit, static_argnames=("network", "layer", "target", "recipe"))
def _maximise(
    network: Network, variables: Variables, units: Array, key: Array, layer: str, target: Target, recipe: Recipe
) -> tuple[Array, Array]:
    start_key, jitter_key = jax.random.split(key)
    start = 0.1 * jax.random.normal(start_key, (len(units), *network.input_shape))

    def activation(images: Array) -> Array:
        found = network.activations(variables, images, backward="redirected")[layer]
        if found.ndim == 4 and target == "unit":
            found = found[:, found.shape[1] // 2, found.shape[2] // 2]
        elif found.ndim == 4:
            found = found.mean((1, 2))
        return jnp.take_along_axis(found, units[:, None], axis=1)[:, 0]

    slope = jax.grad(lambda images: activation(images).sum())

    def step(images: Array, number: Array) -> tuple[Array, None]:
        shift = jax.random.randint(jax.random.fold_in(jitter_key, number), (2,), -recipe.jitter, recipe.jitter + 1)
        rolled = jnp.roll(images, shift, (1, 2))
        way = slope(rolled)
        size = jnp.sqrt(jnp.square(way).mean((1, 2, 3), keepdims=True))
        moved = jnp.roll(rolled + recipe.rate * way / jnp.maximum(size, 1e-12), -shift, (1, 2))
        return regularised(moved, number, recipe), None

    made, _ = lax.scan(step, start, jnp.arange(recipe.steps))
    return made, jnp.stack([activation(start), activation(made)], 1)


def regularised(images: Array, number: Array, recipe: Recipe) -> Array:
    """The images after step `number` as the recipe restrains them."""
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
    """Images (n, h, w, c) under a Gaussian of `sigma` pixels, cut at three of them; the border repeats outwards."""
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
