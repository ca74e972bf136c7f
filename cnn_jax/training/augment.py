"""Augmentations inside the jitted step. Each example has a key of its own, so that its augmentation depends neither on
its neighbours nor on the number of devices."""

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

from cnn_jax.errors import RequestError, quote, reason
from cnn_jax.registry import Registry

Image = Float[Array, "h w c"]
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Augmentation:
    """A function of (key, image) or, where it `mixes`, of (key, image, other image) that returns an image of the same
    shape; one that mixes returns the share of the first image's label beside it. `value` is the number behind the name,
    where the function has one more parameter for it."""

    name: str
    function: Callable[..., Any]
    mixes: bool
    value: int | float | None = None

    def __call__(self, key: Array, *images: Image) -> Any:
        return self.function(key, *images, *([] if self.value is None else [self.value]))

    @property
    def parameter(self) -> inspect.Parameter | None:
        """The parameter for the number behind the name; None where there is none."""
        rest = list(inspect.signature(self.function).parameters.values())[3 if self.mixes else 2 :]
        return rest[0] if rest else None

    @property
    def token(self) -> str:
        return self.name if self.parameter is None else f"{self.name}<{self.parameter.name}>"


AUGMENTATIONS: Registry[Augmentation] = Registry("augmentation")


def register_augmentation(name: str, *, mixes: bool = False) -> Callable[[F], F]:
    """Registers a function of (key, image [h, w, c] of values 0 … 1) and maybe one number, an int or a float by its
    annotation, that returns the augmented image. With `mixes` it takes another image of the batch as its third argument
    and returns (image, share of the first one's label)."""

    def add(function: F) -> F:
        AUGMENTATIONS.add(name, Augmentation(name, function, mixes))
        return function

    return add


@register_augmentation("flip")
def flip(key: Array, image: Image) -> Image:
    """Left and right exchanged in half of the examples."""
    return jnp.where(jax.random.bernoulli(key), image[:, ::-1], image)


@register_augmentation("crop")
def crop(key: Array, image: Image, pad: int) -> Image:
    """A window of the image's size from the image with `pad` black pixels around it (he2016deep, 4.2)."""
    height, width, _ = image.shape
    if pad >= (side := min(height, width)):
        raise RequestError(f"crop{pad} can leave nothing of a {height}x{width} image: at most crop{side - 1}")
    top, left = jax.random.randint(key, (2,), 0, 2 * pad + 1)
    return jax.lax.dynamic_slice(jnp.pad(image, ((pad, pad), (pad, pad), (0, 0))), (top, left, 0), image.shape)


@register_augmentation("cutout")
def cutout(key: Array, image: Image, size: int) -> Image:
    """A square of `size` pixels, centred anywhere in the image, set to the image's mean (devries2017improved)."""
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
    """Each example mixed with another of its batch, weight ~ Beta(alpha, alpha) (zhang2018mixup, equation 2)."""
    share = jax.random.beta(key, alpha, alpha)
    return share * image + (1.0 - share) * other, share


AUGMENTATIONS.seal()


def parse(text: str) -> tuple[Augmentation, ...]:
    """The augmentations that `text` lists, in order. Raises RequestError for an unknown one."""
    augmentations = tuple(map(_parse_token, text.split()))
    names = [one.name for one in augmentations]
    for name in names:
        if names.count(name) > 1:
            raise RequestError(f"augment = {quote(text)} lists {name} twice")
    if sum(one.mixes for one in augmentations) > 1:
        raise RequestError(f"augment = {quote(text)} mixes images in two ways")
    return augmentations


def _parse_token(token: str) -> Augmentation:
    found = re.fullmatch(r"([A-Za-z_]\w*?)(\d{0,5}\.?\d{0,9})", token, re.ASCII)
    if found is None or found[1] not in AUGMENTATIONS:
        names = ", ".join(one.token for one in AUGMENTATIONS.values())
        raise RequestError(f"augmentation {quote(token)} is unknown; there are {names}, and those of a --plugin")
    plain = AUGMENTATIONS[found[1]]
    parameter, digits = plain.parameter, found[2]
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
    """RequestError for an augmentation that does not fit images of `shape`, or returns something else."""
    for one in augmentations:
        images = [jnp.zeros(shape)] * (2 if one.mixes else 1)
        try:
            made = jax.eval_shape(functools.partial(one, jax.random.key(0)), *images)
        except RequestError:
            raise
        except Exception as error:  # of any type: the code is not ours
            raise RequestError(f"augmentation {one.name}: {reason(error)}") from error
        image_of = made[0] if one.mixes and isinstance(made, tuple) else made
        if getattr(image_of, "shape", None) != shape:
            raise RequestError(f"augmentation {one.name} returns {made}, not an image of {shape}")


def augment(augmentations: tuple[Augmentation, ...], keys: Array, images: Float[Array, "n h w c"]) -> Array:
    """`images` (values 0 … 1) with the one-image augmentations applied in order; `keys` has one key per example."""
    for i, one in enumerate(augmentations):
        if not one.mixes:
            images = jax.vmap(one)(jax.vmap(jax.random.fold_in, (0, None))(keys, i), images)
    return images
