"""Augmentations, inside the jitted step but for the windows that streams cut. Each example has its own key, so that its
augmentation depends neither on its neighbours nor on the number of devices."""

import dataclasses
import functools
import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from cnn_jax.data import RandomCrops
from cnn_jax.errors import RequestError, quote, reason
from cnn_jax.registry import Registry
from cnn_jax.training.randaugment import LARGEST, luminance
from cnn_jax.training.randaugment import randaugment as two_operations

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
      by_epoch: whether the key is that of the example, the same in every epoch, and the number of the epoch comes after
        the image.
      value: the number after the name, for a function with a parameter for it.
    """

    name: str
    function: Callable[..., Any]
    mixes: bool
    by_epoch: bool = False
    value: int | float | None = None

    def __call__(self, key: Array, *inputs: Any) -> Any:
        return self.function(key, *inputs, *([] if self.value is None else [self.value]))

    @property
    def parameter(self) -> inspect.Parameter | None:
        """The parameter for the number after the name; None if there is none."""
        rest = list(inspect.signature(self.function).parameters.values())[3 if self.mixes or self.by_epoch else 2 :]
        return rest[0] if rest else None

    @property
    def token(self) -> str:
        return self.name if self.parameter is None else f"{self.name}<{self.parameter.name}>"


AUGMENTATIONS: Registry[Augmentation] = Registry("augmentation")


def register_augmentation(name: str, *, mixes: bool = False, by_epoch: bool = False) -> Callable[[F], F]:
    """Registers a function of (key, image [h, w, c] of values 0 … 1[, number annotated as int or float]) that returns
    the augmented image. With `mixes` it takes another image of the batch as third argument and returns (image, share of
    the label of the first image). With `by_epoch` the key is the same in all epochs, and the number of the epoch, from
    0, is the third argument."""

    def add(function: F) -> F:
        AUGMENTATIONS.add(name, Augmentation(name, function, mixes, by_epoch))
        return function

    return add


@register_augmentation("flip")
def flip(key: Array, image: Image) -> Image:
    """Mirrors half of the examples left to right."""
    return jnp.where(jax.random.bernoulli(key), image[:, ::-1], image)


@register_augmentation("alternate_flip", by_epoch=True)
def alternate_flip(key: Array, image: Image, epoch: Any) -> Image:
    """Mirrors half of the examples in one epoch and the other half in the next, so that two epochs always show both
    (jordan2024airbench, 3.6)."""
    return jnp.where(jax.random.bernoulli(key) ^ (epoch % 2 == 1), image[:, ::-1], image)


@register_augmentation("crop")
def crop(key: Array, image: Image, pad: int) -> Image:
    """A random window of the original size from the image padded with `pad` black pixels (he2016deep, 4.2)."""
    return _window(key, image, pad, "crop", "constant")


@register_augmentation("shift")
def shift(key: Array, image: Image, pad: int) -> Image:
    """As `crop`, with the image reflected at its border in the place of black pixels (jordan2024airbench, 3)."""
    return _window(key, image, pad, "shift", "reflect")


def _window(key: Array, image: Image, pad: int, name: str, mode: str) -> Image:
    height, width, _ = image.shape
    if pad >= (side := min(height, width)):
        raise RequestError(f"{name}{pad} can leave nothing of a {height}x{width} image: at most {name}{side - 1}")
    top, left = jax.random.randint(key, (2,), 0, 2 * pad + 1)
    return jax.lax.dynamic_slice(jnp.pad(image, ((pad, pad), (pad, pad), (0, 0)), mode), (top, left, 0), image.shape)


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


@register_augmentation("erase")
def erase(key: Array, image: Image, probability: float) -> Image:
    """With this probability fills a rectangle of 2 to 40 % of the image, between three times as high as wide and three
    times as wide as high, with random pixels (zhong2020random, 3)."""
    if probability > 1:
        raise RequestError(f"erase{probability:g}: a probability is at most 1")
    height, width, _ = image.shape
    act, area, shape, place, fill = jax.random.split(key, 5)
    pixels = height * width * jax.random.uniform(area, minval=0.02, maxval=0.4)
    ratio = jnp.exp(jax.random.uniform(shape, minval=-jnp.log(1 / 0.3), maxval=jnp.log(1 / 0.3)))
    size = jnp.minimum(jnp.round(jnp.sqrt(jnp.stack([pixels * ratio, pixels / ratio]))), jnp.array([height, width]))
    corner = jnp.floor(jax.random.uniform(place, (2,)) * (jnp.array([height, width]) - size + 1))
    inside = _rectangle(height, width, corner, corner + size)
    hidden = inside & jax.random.bernoulli(act, probability)
    return jnp.where(hidden[..., None], jax.random.uniform(fill, image.shape), image)


@register_augmentation("jitter")
def jitter(key: Array, image: Image, strength: float) -> Image:
    """Multiplies brightness, contrast and saturation, in this order, by random factors of 1 - strength … 1 + strength
    (howard2013some, 2)."""
    if strength >= 1:
        raise RequestError(f"jitter{strength:g}: a factor of 0 leaves nothing; strength is below 1")
    brightness, contrast, saturation = jax.random.uniform(key, (3,), minval=1 - strength, maxval=1 + strength)
    image = jnp.clip(image * brightness, 0, 1)
    image = jnp.clip(_blend(luminance(image).mean(), image, contrast), 0, 1)
    return jnp.clip(_blend(luminance(image), image, saturation), 0, 1)


@register_augmentation("randaugment")
def randaugment(key: Array, image: Image, magnitude: float) -> Image:
    """Two of fourteen operations on shape and colour, of this magnitude, at most 30 (cubuk2020randaugment, 3)."""
    if magnitude > LARGEST:
        raise RequestError(f"randaugment{magnitude:g}: a magnitude is at most {LARGEST:g}")
    return two_operations(key, image, magnitude)


def _blend(base: Array, image: Image, factor: Array) -> Array:
    return base + factor * (image - base)


def _rectangle(height: int, width: int, corner: Array, end: Array) -> Array:
    """Bool (h, w): the pixels from `corner` up to, excluding, `end`, each (row, column)."""
    rows, columns = jnp.arange(height), jnp.arange(width)
    inside = [(n >= corner[axis]) & (n < end[axis]) for axis, n in enumerate((rows, columns))]
    return inside[0][:, None] & inside[1][None]


@register_augmentation("cutmix", mixes=True)
def cutmix(key: Array, image: Image, other: Image, alpha: float) -> tuple[Image, Array]:
    """Replaces a rectangle of each example by that of another of its batch; its share of the image is ~ Beta(alpha,
    alpha), less what lies beyond the border (yun2019cutmix, 3.1)."""
    height, width, _ = image.shape
    of_share, of_centre = jax.random.split(key)
    side = jnp.sqrt(1.0 - jax.random.beta(of_share, alpha, alpha))
    whole = jnp.array([height, width])
    centre = jax.random.randint(of_centre, (2,), 0, whole)
    size = jnp.floor(whole * side).astype(int)
    pasted = _rectangle(height, width, centre - size // 2, centre - size // 2 + size)
    return jnp.where(pasted[..., None], other, image), 1.0 - pasted.mean()


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
    return dataclasses.replace(plain, value=value)


@functools.lru_cache(maxsize=256)
def check(augmentations: tuple[Augmentation, ...], shape: tuple[int, int, int]) -> None:
    """Raises RequestError for an augmentation that fails on images of `shape` or does not return such an image."""
    for augmentation in augmentations:
        inputs = [jnp.zeros(shape)] * (2 if augmentation.mixes else 1) + [jnp.zeros((), int)] * augmentation.by_epoch
        try:
            output = jax.eval_shape(functools.partial(augmentation, jax.random.key(0)), *inputs)
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


def augment(
    augmentations: tuple[Augmentation, ...],
    keys: Array,
    images: Float[Array, "n h w c"],
    example_keys: Array,
    epoch: ArrayLike,
) -> Array:
    """Applies the augmentations of one image in order to `images` (values 0 … 1), with a key per slot of the batch;
    those `by_epoch` with the key of the example and the number of the epoch."""
    for i, augmentation in enumerate(augmentations):
        if augmentation.mixes:
            continue
        own = jax.vmap(jax.random.fold_in, (0, None))(example_keys if augmentation.by_epoch else keys, i)
        if augmentation.by_epoch:
            images = jax.vmap(augmentation, (0, 0, None))(own, images, epoch)
        else:
            images = jax.vmap(augmentation)(own, images)
    return images
