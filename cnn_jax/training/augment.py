"""Augmentations inside the jitted step. Each example has a key of its own, so that its augmentation depends neither on
its neighbours nor on the number of devices."""

import re
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from cnn_jax.errors import RequestError, quote


@dataclass(frozen=True)
class Flip:
    """Left and right exchanged in half of the examples."""

    def __call__(self, key: Array, image: Float[Array, "h w c"]) -> Float[Array, "h w c"]:
        return jnp.where(jax.random.bernoulli(key), image[:, ::-1], image)


@dataclass(frozen=True)
class Crop:
    """A window of the image's size from the image with `pad` black pixels around it (he2016deep, 4.2)."""

    pad: int

    def __call__(self, key: Array, image: Float[Array, "h w c"]) -> Float[Array, "h w c"]:
        border = (self.pad, self.pad)
        top, left = jax.random.randint(key, (2,), 0, 2 * self.pad + 1)
        return jax.lax.dynamic_slice(jnp.pad(image, (border, border, (0, 0))), (top, left, 0), image.shape)


@dataclass(frozen=True)
class Cutout:
    """A square of `size` pixels, centred anywhere in the image, set to the image's mean (devries2017improved)."""

    size: int

    def __call__(self, key: Array, image: Float[Array, "h w c"]) -> Float[Array, "h w c"]:
        height, width, _ = image.shape
        centre = jax.random.randint(key, (2,), 0, jnp.asarray([height, width]))
        rows, columns = (
            (jnp.arange(n) >= at - self.size // 2) & (jnp.arange(n) < at - self.size // 2 + self.size)
            for n, at in ((height, centre[0]), (width, centre[1]))
        )
        hidden = rows[:, None, None] & columns[None, :, None]
        return jnp.where(hidden, image.mean((0, 1), keepdims=True), image)


@dataclass(frozen=True)
class Mixup:
    """Each example mixed with another of its batch, weight ~ Beta(alpha, alpha) (zhang2018mixup, equation 2).

    The step does the mixing, since it concerns labels too.
    """

    alpha: float  # above 0


Augmentation = Flip | Crop | Cutout | Mixup

_TOKENS: dict[str, Callable[..., Augmentation]] = {
    r"flip": Flip,
    r"crop([1-9][0-9]{0,4})": lambda pad: Crop(int(pad)),
    r"cutout([1-9][0-9]{0,4})": lambda size: Cutout(int(size)),
    r"mixup([0-9]{0,4}\.?[0-9]{1,9})": lambda alpha: Mixup(float(alpha)),
}


def parse(text: str) -> tuple[Augmentation, ...]:
    """The augmentations that `text` lists, in order. Raises RequestError for an unknown one."""
    augmentations = tuple(map(_parse_token, text.split()))
    kinds = [type(one) for one in augmentations]
    for kind in kinds:
        if kinds.count(kind) > 1:
            raise RequestError(f"augment = {quote(text)} lists {kind.__name__.lower()} twice")
    return augmentations


def _parse_token(token: str) -> Augmentation:
    for pattern, make in _TOKENS.items():
        if match := re.fullmatch(pattern, token):
            augmentation = make(*match.groups())
            if augmentation == Mixup(0.0):
                raise RequestError(f"augmentation {quote(token)} is no mixture: its alpha must be above 0")
            return augmentation
    raise RequestError(f"augmentation {quote(token)} is unknown; there are flip, crop<pad>, cutout<size>, mixup<alpha>")


def check_sizes(augmentations: tuple[Augmentation, ...], height: int, width: int) -> None:
    """RequestError for a border or a square that is too large for images of this height and width, in pixels."""
    side = min(height, width)
    for one in augmentations:
        if isinstance(one, Crop) and one.pad >= side:
            raise RequestError(f"crop{one.pad} can leave nothing of a {height}x{width} image: at most crop{side - 1}")
        if isinstance(one, Cutout) and one.size > side:
            raise RequestError(f"cutout{one.size} is larger than a {height}x{width} image: at most cutout{side}")


def augment(augmentations: tuple[Augmentation, ...], keys: Array, images: Float[Array, "n h w c"]) -> Array:
    """`images` (values 0 … 1) with the one-image augmentations applied in order; `keys` has one key per example."""
    for i, one in enumerate(augmentations):
        if not isinstance(one, Mixup):
            images = jax.vmap(one)(jax.vmap(jax.random.fold_in, (0, None))(keys, i), images)
    return images
