"""RandAugment: two random operations of fourteen, all of one magnitude (cubuk2020randaugment, 3).

Every image has its own operations, so all are computed and one is chosen: the six geometric ones as one affine map, the
four of colour as one blend. Ranges are those of Pillow's implementations, in which 30 is the largest magnitude: shears
of 0.3, shifts of 150 / 331 of the side, 30 degrees, factors of 1 ± 0.9, 4 bits, a threshold of 0.
"""

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

LARGEST = 30.0
OPERATIONS = (
    "rotate", "shear_x", "shear_y", "translate_x", "translate_y",
    "color", "contrast", "brightness", "sharpness",
    "identity", "autocontrast", "equalize", "posterize", "solarize",
)  # fmt: skip
GEOMETRIC, BLENDED = OPERATIONS[:5], OPERATIONS[5:9]


def randaugment(key: Array, image: Array, magnitude: float) -> Array:
    """Two operations in turn on an image (h, w, c) of values 0 … 1, each drawn anew with a random sign."""
    for one in jax.random.split(key):
        of_operation, of_sign = jax.random.split(one)
        number = jax.random.randint(of_operation, (), 0, len(OPERATIONS))
        sign = jnp.where(jax.random.bernoulli(of_sign), 1.0, -1.0)
        image = operation(number, image, magnitude / LARGEST, sign)
    return image


def operation(number: ArrayLike, image: Array, share: ArrayLike, sign: ArrayLike) -> Array:
    """Operation `number` of OPERATIONS with this share of the largest magnitude; `sign` matters where there is a
    direction."""
    image = jnp.round(image * 255)
    results = {
        **dict.fromkeys(GEOMETRIC, _moved(number, image, share, sign)),
        **dict.fromkeys(BLENDED, _blended(number, image, share, sign)),
        "identity": image,
        "autocontrast": _autocontrast(image),
        "equalize": _equalize(image),
        "posterize": _posterize(image, share),
        "solarize": jnp.where(image >= 255 * (1 - share), 255 - image, image),
    }
    chosen = jnp.select([number == i for i in range(len(OPERATIONS))], [results[name] for name in OPERATIONS])
    return jnp.clip(chosen / 255, 0, 1)


def _is(number: ArrayLike, name: str) -> Array:
    return jnp.asarray(number == OPERATIONS.index(name))


def _moved(number: ArrayLike, image: Array, share: ArrayLike, sign: ArrayLike) -> Array:
    """Rotated about the centre, sheared or shifted; bilinear, black outside."""
    height, width, _ = image.shape
    amount = jnp.asarray(share) * sign
    angle = jnp.where(_is(number, "rotate"), jnp.deg2rad(30.0) * amount, 0.0)
    shear_x, shear_y = (jnp.where(_is(number, f"shear_{axis}"), 0.3 * amount, 0.0) for axis in "xy")
    right, down = (
        jnp.where(_is(number, f"translate_{axis}"), 150 / 331 * side * amount, 0.0)
        for axis, side in (("x", width), ("y", height))
    )
    middle_y, middle_x = (height - 1) / 2, (width - 1) / 2
    y, x = jnp.meshgrid(jnp.arange(height) - middle_y, jnp.arange(width) - middle_x, indexing="ij")
    from_x = jnp.cos(angle) * x + (shear_x - jnp.sin(angle)) * y - right
    from_y = jnp.cos(angle) * y + (shear_y + jnp.sin(angle)) * x - down
    return _sampled(image, from_y + middle_y, from_x + middle_x)


def _sampled(image: Array, y: Array, x: Array) -> Array:
    """The image at fractional places: bilinear, black outside."""
    height, width, _ = image.shape
    total = jnp.zeros_like(image)
    for row in (jnp.floor(y), jnp.floor(y) + 1):
        for column in (jnp.floor(x), jnp.floor(x) + 1):
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            weight = jnp.where(inside, (1 - jnp.abs(y - row)) * (1 - jnp.abs(x - column)), 0)
            pixel = image[jnp.clip(row, 0, height - 1).astype(int), jnp.clip(column, 0, width - 1).astype(int)]
            total += weight[..., None] * pixel
    return total


def _blended(number: ArrayLike, image: Array, share: ArrayLike, sign: ArrayLike) -> Array:
    """Towards, or away from, grey (color), mean grey (contrast), black (brightness) or the smoothed image (sharpness),
    by a factor of 1 ± 0.9."""
    height, width, _ = image.shape
    grey = jnp.round(luminance(image))
    around = sum(image[i : i + height - 2, j : j + width - 2] for i in range(3) for j in range(3))
    smooth = (around + 4 * image[1:-1, 1:-1]) / 13  # Pillow's filter SMOOTH
    bases = {
        "color": jnp.broadcast_to(grey, image.shape),
        "contrast": jnp.broadcast_to(jnp.round(grey.mean()), image.shape),
        "brightness": jnp.zeros_like(image),
        "sharpness": image.at[1:-1, 1:-1].set(jnp.round(smooth)),
    }
    base = jnp.select([_is(number, name) for name in BLENDED], [bases[name] for name in BLENDED], image)
    return jnp.clip(base + (1 + 0.9 * jnp.asarray(share) * sign) * (image - base), 0, 255)


def luminance(image: Array) -> Array:
    """ITU-R BT.601 of an RGB image, the mean of any other: (h, w, 1)."""
    weights = jnp.array([0.299, 0.587, 0.114]) if image.shape[-1] == 3 else jnp.ones(image.shape[-1])
    return (image * (weights / weights.sum())[None, None]).sum(-1, keepdims=True)


def _autocontrast(image: Array) -> Array:
    """Each channel stretched to 0 … 255, unless it has a single value."""
    low, high = image.min((0, 1), keepdims=True), image.max((0, 1), keepdims=True)
    return jnp.where(high > low, jnp.floor((image - low) * 255 / jnp.maximum(high - low, 1)), image)


def _equalize(image: Array) -> Array:
    """Each channel with its values spread evenly, as Pillow does: the step is the pixels, less those of the largest
    value, over 255; a value becomes the pixels below it, plus half a step, over a step."""

    def channel(plane: Array) -> Array:
        values = plane.astype(jnp.int32)
        counts = jnp.zeros(256, jnp.int32).at[values.ravel()].add(1)
        step = (counts.sum() - counts[values.max()]) // 255
        table = (jnp.cumsum(counts) - counts + step // 2) // jnp.maximum(step, 1)
        return jnp.where(step > 0, jnp.clip(table, 0, 255)[values], values).astype(plane.dtype)

    return jnp.stack([channel(plane) for plane in jnp.moveaxis(image, -1, 0)], -1)


def _posterize(image: Array, share: ArrayLike) -> Array:
    """With up to four of the eight bits of each value cleared."""
    size = 2.0 ** jnp.round(4 * jnp.asarray(share))
    return jnp.floor(image / size) * size
