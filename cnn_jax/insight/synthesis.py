"""Images that excite a unit, by gradient ascent within the range of real images (olah2017feature).

An image is low + (high - low) · s(z), with a sigmoid s that reaches 0 and 1, where z are pixels or, decorrelated,
Fourier coefficients scaled by one over their frequency. Both are tried from several random beginnings, and the best
image of each unit is returned with what it reaches, to be compared with the strongest natural image: one that reaches
less shows little of the unit.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from cnn_jax.geometry import rows
from cnn_jax.insight.functions import Ruled, inner
from cnn_jax.insight.rules import ReLURule
from cnn_jax.insight.units import middle
from cnn_jax.layers import Shape
from cnn_jax.network import Network, Variables

Target = Literal["unit", "channel"]
Span = tuple[float | Array, float | Array]  # the lowest and highest value of each channel of the input
CHECK = 16  # steps between two looks at the progress
PROGRESS = 0.01  # share by which some unit must have gained, or the ascent has stopped
# The square root of the covariance of colours in photographs, columns normalised (olah2017feature, "preconditioning").
COLOURS = np.array([[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]]) / 0.47


@dataclass(frozen=True)
class Recipe:
    """Settings of the ascent.

    Attributes:
      steps: at most so many steps of Adam.
      rate: its step size.
      jitter: the image is rolled by up to so many pixels before each step, but by no more than a sixteenth of the
        unit's receptive field.
      restarts: random beginnings of each parameterisation.
      patience: looks without progress after which the ascent ends.
    """

    steps: int = 256
    rate: float = 0.1
    jitter: int = 2
    restarts: int = 2
    patience: int = 4


USUAL = Recipe()


class Synthetic(NamedTuple):
    """Images (n, h, w, c), the network's input, with their scores before and after the ascent (n,), and whether they
    come from Fourier coefficients, bool (n,)."""

    images: Array
    before: Array
    reached: Array
    fourier: Array


def maximise(
    network: Network, variables: Variables, layer: str, units: Array, key: Array, span: Span, target: Target = "unit",
    recipe: Recipe = USUAL,
) -> Synthetic:  # fmt: skip
    """An image for each unit that maximises its activation.

    At first the backward pass is 'redirected': ReLUs backpropagate every positive signal, so that a unit that is silent
    at the start gets a gradient; then, and in a network with `opaque` layers, it is the gradient.

    Args:
        network, variables: the network and its variables.
        layer: the layer's name.
        units: int (units,), channels of that layer.
        key: of the beginnings and the jitter; the same key gives the same images.
        span: the range of the input, (0 - mean) / std and (1 - mean) / std for images of 0 … 1.
        target: 'unit' for the position in the middle of the maps, 'channel' for the mean over them; the same for a
            dense layer.
        recipe: settings.
    """
    jitter = min(recipe.jitter, field_size(network, layer) // 16)
    drawn = _draw(key, len(units), network.input_shape, recipe, jitter)  # a program of its own, once for all layers
    return _maximise(network, variables, jnp.asarray(units), drawn, span, layer, target, recipe)


@functools.partial(jax.jit, static_argnames=("network", "layer", "target", "recipe"))
def _maximise(
    network: Network, variables: Variables, units: Array, drawn: "_Drawn", span: Span, layer: str, target: Target,
    recipe: Recipe,
) -> Synthetic:  # fmt: skip
    redirected = network if network.opaque else Ruled(network, ReLURule("redirected"))
    score, first = (_activation(f, variables, layer, target) for f in (network, redirected))
    return _ascend(
        lambda images: score(images, units), lambda images: first(images, units), drawn, network.input_shape, span,
        recipe,
    )  # fmt: skip


def _activation(function: Any, variables: Variables, layer: str, target: Target) -> Callable[[Array, Array], Array]:
    """The activation of a unit for each image."""

    def of(images: Array, units: Array) -> Array:
        output = inner(function, variables, images, layer)
        output = output.mean((1, 2)) if output.ndim == 4 and target == "channel" else middle(output)
        return jnp.take_along_axis(output, units[:, None], axis=1)[:, 0]

    return of


def field_size(network: Network, layer: str) -> int:
    """The side of the receptive field of a layer's units, in pixels."""
    fields = next(row.fields for row in rows(network) if row.node.name == layer)
    return min(min(field.size for field in fields), *network.input_shape[:2])


def ascend(
    score: Callable[[Array], Array], count: int, shape: Shape, key: Array, span: Span, recipe: Recipe = USUAL
) -> Synthetic:
    """Images of `shape` that maximise `score`, a function of images (count, h, w, c) that returns (count,); the best of
    all parameterisations and restarts for each. There is no jitter."""
    return _ascend(score, score, _draw(key, count, shape, recipe, 0), shape, span, recipe)


class _Coordinates(NamedTuple):
    """What the images are computed from: pixels (restarts, count, h, w, c), and Fourier coefficients of as many more
    images (restarts, count, h, w // 2 + 1, c, 2)."""

    pixels: Array
    coefficients: Array


class _Drawn(NamedTuple):
    """What is random: the beginning, and how far the image is rolled before each step, int (steps, 2)."""

    start: _Coordinates
    shifts: Array


@functools.partial(jax.jit, static_argnames=("count", "shape", "recipe", "jitter"))
def _draw(key: Array, count: int, shape: Shape, recipe: Recipe, jitter: int) -> _Drawn:
    height, width, channels = shape
    keys = jax.random.split(key, 3)
    pixels = jax.random.normal(keys[0], (recipe.restarts, count, *shape))
    coefficients = jax.random.normal(keys[1], (recipe.restarts, count, height, width // 2 + 1, channels, 2))
    shifts = jax.random.randint(keys[2], (recipe.steps + CHECK, 2), -jitter, jitter + 1)
    return _Drawn(_Coordinates(0.1 * pixels, 0.1 * coefficients), shifts)


class _State(NamedTuple):
    """Of the ascent: `steps` counts for all; `best` (2 restarts, count), `image` (2 restarts, count, h, w, c) and
    `idle` (2 restarts,) have a row for each beginning, pixels first."""

    z: _Coordinates
    mean: _Coordinates
    square: _Coordinates
    steps: Array
    best: Array
    image: Array
    idle: Array


def _ascend(
    score: Callable[[Array], Array], first: Callable[[Array], Array], drawn: _Drawn, shape: Shape, span: Span,
    recipe: Recipe,
) -> Synthetic:  # fmt: skip
    """As `ascend`; `first` is followed in place of `score` in the first quarter of the steps."""
    score, first = jax.vmap(score), jax.vmap(first)  # over beginnings
    low, high = (jnp.broadcast_to(jnp.asarray(end, jnp.float32), shape[-1:]) for end in span)

    def image_of(z: _Coordinates) -> Array:
        values = jnp.concatenate([z.pixels, _from_fourier(z.coefficients, shape)])
        share = jnp.clip(0.5 + 1.05 * (jax.nn.sigmoid(values) - 0.5), 0.0, 1.0)
        return low[None, None, None, None] + (high - low)[None, None, None, None] * share

    def step(score: Callable[[Array], Array], _: Array, state: _State) -> _State:
        """A step of Adam."""
        slope = jax.grad(lambda z: score(jnp.roll(image_of(z), drawn.shifts[state.steps], (2, 3))).sum())(state.z)
        mean = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, state.mean, slope)
        square = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g**2, state.square, slope)
        done = state.steps + 1
        rate = recipe.rate * jnp.sqrt(1 - 0.999**done) / (1 - 0.9**done)
        moved = jax.tree.map(lambda x, m, v: x + rate * m / (jnp.sqrt(v) + 1e-8), state.z, mean, square)
        return state._replace(z=moved, mean=mean, square=square, steps=done)

    def look(state: _State) -> _State:
        state = lax.fori_loop(0, CHECK, functools.partial(step, score), state)
        image = image_of(state.z)
        value = score(image)
        gained = (value > state.best + PROGRESS * jnp.abs(state.best)).any(1)
        better = value > state.best
        return state._replace(
            best=jnp.where(better, value, state.best), idle=jnp.where(gained, 0, state.idle + 1),
            image=jnp.where(better[..., None, None, None], image, state.image),
        )  # fmt: skip

    image, zeros = image_of(drawn.start), jax.tree.map(jnp.zeros_like, drawn.start)
    before = score(image)
    idle = jnp.zeros(len(image), jnp.int32)
    state = _State(drawn.start, zeros, zeros, jnp.zeros((), jnp.int32), before, image, idle)
    state = lax.fori_loop(0, recipe.steps // 4, functools.partial(step, first), state)
    state = lax.while_loop(lambda s: (s.steps < recipe.steps) & (s.idle < recipe.patience).any(), look, state)
    best, each = jnp.argmax(state.best, axis=0), jnp.arange(before.shape[1])
    return Synthetic(state.image[best, each], before[best, each], state.best[best, each], best >= recipe.restarts)


def _from_fourier(z: Array, shape: Shape) -> Array:
    """Values (…, h, w, c) of coefficients whose amplitude is scaled by one over the frequency, as in photographs."""
    height, width, channels = shape
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    scale = 1.0 / np.maximum(frequency, 1.0 / max(height, width)) * np.sqrt(height * width) / 4
    scale = scale.astype(np.float32).reshape((1,) * (z.ndim - 4) + (*scale.shape, 1))
    spectrum = scale * lax.complex(z[..., 0], z[..., 1])
    values = jnp.fft.irfft2(spectrum, (height, width), axes=(-3, -2))
    return values @ jnp.asarray(COLOURS.T, values.dtype) if channels == 3 else values


@functools.partial(jax.jit, static_argnames=("network", "layer", "count", "target", "recipe"))
def diverse(
    network: Network, variables: Variables, layer: str, unit: Array, key: Array, span: Span, count: int = 4,
    weight: float = 1.0, target: Target = "channel", recipe: Recipe = USUAL,
) -> Synthetic:  # fmt: skip
    """Several images for one unit of a layer with maps that differ in how its layer answers (olah2017feature,
    "diversity"): from the activation, as a share of what one image alone reaches, `weight` times the mean cosine
    similarity of the Gram matrices of the layer's maps is subtracted."""
    score = _activation(network, variables, layer, target)
    channels = jnp.full((count,), unit)
    shape = network.input_shape
    alone = ascend(lambda images: score(images, channels[:1]), 1, shape, key, span, recipe).reached[0]

    def apart(images: Array) -> Array:
        maps = inner(network, variables, images, layer)
        flat = maps.reshape(count, -1, maps.shape[-1])
        grams = jnp.einsum("npa,npb->nab", flat, flat).reshape(count, -1)
        grams = grams / jnp.maximum(jnp.linalg.norm(grams, axis=1, keepdims=True), 1e-12)
        alike = (grams @ grams.T).sum(1) - 1.0
        return score(images, channels) / jnp.maximum(jnp.abs(alone), 1e-12) - weight * alike / max(count - 1, 1)

    return ascend(apart, count, shape, key, span, recipe)


@functools.partial(jax.jit, static_argnames=("network", "layer", "count", "target", "recipe"))
def between(
    network: Network, variables: Variables, layer: str, units: tuple[Array, Array], key: Array, span: Span,
    count: int = 5, target: Target = "channel", recipe: Recipe = USUAL,
) -> Synthetic:  # fmt: skip
    """Images on the way from one unit to another: each maximises (1 - t) times the activation of the first plus t times
    that of the second, t from 0 to 1 (olah2017feature, "interactions")."""
    score = _activation(network, variables, layer, target)
    shares = jnp.linspace(0.0, 1.0, count)

    def mixed(images: Array) -> Array:
        first, second = (score(images, jnp.full((count,), unit)) for unit in units)
        return (1 - shares) * first + shares * second

    return ascend(mixed, count, network.input_shape, key, span, recipe)


@functools.partial(jax.jit, static_argnames=("network", "layer", "power", "recipe"))
def caricature(
    network: Network, variables: Variables, layer: str, images: Array, key: Array, span: Span, power: int = 2,
    recipe: Recipe = USUAL,
) -> Synthetic:  # fmt: skip
    """Images that exaggerate what a layer sees of others (n, h, w, c): they maximise the product of the two outputs
    times their cosine similarity to `power` (olah2018building)."""
    seen = inner(network, variables, images, layer).reshape(len(images), -1)
    size = jnp.maximum(jnp.linalg.norm(seen, axis=1), 1e-12)

    def likeness(made: Array) -> Array:
        output = inner(network, variables, made, layer).reshape(len(made), -1)
        product = (output * seen).sum(1) / size
        cosine = product / jnp.maximum(jnp.linalg.norm(output, axis=1), 1e-12)
        return product * jnp.maximum(cosine, 0.1) ** power

    return ascend(likeness, len(images), network.input_shape, key, span, recipe)


def span_of(mean: Any, std: Any) -> Span:
    """The range of the input of images of 0 … 1, normalised by mean and std (channels,)."""
    return (0.0 - np.asarray(mean)) / np.asarray(std), (1.0 - np.asarray(mean)) / np.asarray(std)
