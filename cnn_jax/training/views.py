"""Views of an image whose logits are averaged when a network is scored (test-time augmentation)."""

from collections.abc import Callable
from typing import Literal

import jax.numpy as jnp
from jax import Array

Views = Literal["one", "flip", "flip_shift"]


def mirrored(images: Array) -> Array:
    """Left to right."""
    return images[:, :, ::-1]


def shifted(by: int) -> Callable[[Array], Array]:
    """Along both axes by so many pixels, the rest reflected at the border."""

    def shift(images: Array) -> Array:
        side, (_, height, width, _) = abs(by), images.shape
        padded = jnp.pad(images, ((0, 0), (side, side), (side, side), (0, 0)), "reflect")
        return padded[:, side - by : side - by + height, side - by : side - by + width]

    return shift


def mirrored_after(view: Callable[[Array], Array]) -> Callable[[Array], Array]:
    return lambda images: mirrored(view(images))


# (weight, view): the image itself; with its mirror image; and both shifted by one pixel (jordan2024airbench, 3.5)
VIEWS: dict[Views, tuple[tuple[float, Callable[[Array], Array]], ...]] = {
    "one": ((1.0, lambda images: images),),
    "flip": ((0.5, lambda images: images), (0.5, mirrored)),
    "flip_shift": (
        (0.25, lambda images: images),
        (0.25, mirrored),
        *((0.125, shifted(by)) for by in (1, -1)),
        *((0.125, mirrored_after(shifted(by))) for by in (1, -1)),
    ),
}
