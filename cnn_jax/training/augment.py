"""Augmentations, inside the jitted step but for the windows that streams cut. Each example has its own key, so that its
augmentation depends neither on its neighbours nor on the number of devices."""

import functools
import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from cnn_jax.data import RandomCrops
from cnn_jax.errors import RequestError, quote, reason
from cnn_jax.registry import Registry

RESIZED_CROP = "resized_crop"
Image = Float[Array, "h w c"]
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Augmentation:
    """An augmentation of one image, or (`mixes`) of two.

    Attributes:
      name: its registered name.
      function: maps (key, image[, value]) to an image of the same shape; if `mixes`, (key, image, other image[, value])
        to (image, share of the label of the first image).
      mixes: whether it mixes two images of a batch.
      value: the number after the name, for a function with a parameter for it.
    """

    name: str
    function: Callable[..., Any]
    mixes: bool
    value: int | float | None = None

    def __call__(self, key: Array, *images: Image) -> Any:
        return self.function(key, *images, *([] if self.value is None else [self.value]))

    @property
    def parameter(self) -> inspect.Parameter | None:
        """The parameter for the number after the name; None if there is none."""
        rest = list(inspect.signature(self.function).parameters.values())[3 if self.mixes else 2 :]
        return rest[0] if rest else None

    @property
    def token(self) -> str:
        return self.name if self.parameter is None else f"{self.name}<{self.parameter.name}>"


AUGMENTATIONS: Registry[Augmentation] = Registry("augmentation")


def register_augmentation(name: str, *, mixes: bool = False) -> Callable[[F], F]:
    """Registers a function of (key, image [h, w, c] of values 0 … 1[, number annotated as int or float]) that returns
    the augmented image. With `mixes` it takes another image of the batch as third argument and returns (image, share of
    the label of the first image)."""

    def add(function: F) -> F:
        AUGMENTATIONS.add(name, Augmentation(name, function, mixes))
        return function

    return add


@register_augmentation("flip")
def flip(key: Array, image: Image) -> Image:
    """Mirrors half of the examples left to right."""
    return jnp.where(jax.random.bernoulli(key), image[:, ::-1], image)


@register_augmentation("crop")
def crop(key: Array, image: Image, pad: int) -> Image:
    """A random window of the original size from the image padded with `pad` black pixels (he2016deep, 4.2)."""
    height, width, _ = image.shape
    if pad >= (side := min(height, width)):
        raise RequestError(f"crop{pad} can leave nothing of a {height}x{width} image: at most crop{side - 1}")
    top, left = jax.random.randint(key, (2,), 0, 2 * pad + 1)
    return jax.lax.dynamic_slice(jnp.pad(image, ((pad, pad), (pad, pad), (0, 0))), (top, left, 0), image.shape)


@register_augmentation(RESIZED_CROP)
def resized_crop(key: Array, image: Image, min_area: float) -> Image:
    """A random window of at least this share of the stored image, resized to the size of the images
    (szegedy2015going). Streams cut it when they read an image (see `crops`): nothing remains to be done here."""
    if min_area > 1:
        raise RequestError(f"resized_crop{min_area:g}: min_area is a share of the image, at most 1")
    return image


@register_augmentation("cutout")
def cutout(key: Array, image: Image, size: int) -> Image:
    """Sets a square of `size` x `size` pixels, centred anywhere in the image, to the mean of the image
    (devries2017improved)."""
    height, width, _ = image.shape
    if size > (side := min(height, width)):
        raise RequestError(f"cutout{size} is larger than a {height}x{width} image: at most cutout{side}")
    centre = jax.random.randint(key, (2,), 0, jnp.asarray([height, width]))
    rows, columns = (
        (jnp.arange(n) >= at - size // 2) & (jnp.arange(n) < at - size // 2 + size)
        for n, at in ((height, centre[0]), (width, centre[1]))
    )
    hidden = rows[:, None, None] & columns[None, :, None]
    return jnp.where(hidden, image.mean((0, 1), keepdims=True), image)


@register_augmentation("mixup", mixes=True)
def mixup(key: Array, image: Image, other: Image, alpha: float) -> tuple[Image, Array]:
    """Mixes each example with another of its batch, with a weight ~ Beta(alpha, alpha) (zhang2018mixup, equation 2)."""
    share = jax.random.beta(key, alpha, alpha)
    return share * image + (1.0 - share) * other, share


AUGMENTATIONS.seal()


def parse(text: str) -> tuple[Augmentation, ...]:
    """The augmentations that `text` lists, in order. Raises RequestError for an unknown one."""
    augmentations = tuple(map(_parse_token, text.split()))
    names = [augmentation.name for augmentation in augmentations]
    for name in names:
        if names.count(name) > 1:
            raise RequestError(f"augment = {quote(text)} lists {name} twice")
    if RESIZED_CROP in names[1:]:
        raise RequestError(f"augment = {quote(text)}: {RESIZED_CROP} acts when an image is read, so it comes first")
    if sum(augmentation.mixes for augmentation in augmentations) > 1:
        raise RequestError(f"augment = {quote(text)} mixes images in two ways")
    return augmentations


def _parse_token(token: str) -> Augmentation:
    match = re.fullmatch(r"([A-Za-z_]\w*?)(\d{0,5}\.?\d{0,9})", token, re.ASCII)
    if match is None or match[1] not in AUGMENTATIONS:
        names = ", ".join(augmentation.token for augmentation in AUGMENTATIONS.values())
        raise RequestError(f"augmentation {quote(token)} is unknown; there are {names}, and those of a --plugin")
    plain = AUGMENTATIONS[match[1]]
    parameter, digits = plain.parameter, match[2]
    if parameter is None and not digits:
        return plain
    kind = int if parameter is not None and parameter.annotation is int else float
    try:
        value = kind(digits)
    except ValueError:
        value = 0
    if parameter is None or value <= 0:
        raise RequestError(
            f"augmentation {quote(token)} is no {plain.token}"
            + ("" if parameter is None else f": {parameter.name} must be a {'whole ' * (kind is int)}number above 0")
        )
    return Augmentation(plain.name, plain.function, plain.mixes, value)


@functools.lru_cache(maxsize=256)
def check(augmentations: tuple[Augmentation, ...], shape: tuple[int, int, int]) -> None:
    """Raises RequestError for an augmentation that fails on images of `shape` or does not return such an image."""
    for augmentation in augmentations:
        images = [jnp.zeros(shape)] * (2 if augmentation.mixes else 1)
        try:
            output = jax.eval_shape(functools.partial(augmentation, jax.random.key(0)), *images)
        except RequestError:
            raise
        except Exception as error:  # of any type: the code is not ours
            raise RequestError(f"augmentation {augmentation.name}: {reason(error)}") from error
        image = output[0] if augmentation.mixes and isinstance(output, tuple) else output
        if getattr(image, "shape", None) != shape:
            raise RequestError(f"augmentation {augmentation.name} returns {output}, not an image of {shape}")


def crops(augmentations: tuple[Augmentation, ...], seed: int, epoch: int) -> RandomCrops | None:
    """The windows in which the images of an epoch are read, if `resized_crop` is listed."""
    areas = [augmentation.value for augmentation in augmentations if augmentation.name == RESIZED_CROP]
    return RandomCrops(seed, epoch, areas[0]) if areas and areas[0] is not None else None


def augment(augmentations: tuple[Augmentation, ...], keys: Array, images: Float[Array, "n h w c"]) -> Array:
    """Applies the augmentations of one image in order to `images` (values 0 … 1), with a key per example."""
    for i, augmentation in enumerate(augmentations):
        if not augmentation.mixes:
            images = jax.vmap(augmentation)(jax.vmap(jax.random.fold_in, (0, None))(keys, i), images)
    return images
