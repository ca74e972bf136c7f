"""Each operation of RandAugment against the one of Pillow or SciPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageOps
from scipy import ndimage

from cnn_jax.errors import RequestError
from cnn_jax.training.augment import check, parse
from cnn_jax.training.randaugment import GEOMETRIC, OPERATIONS, operation

HEIGHT, WIDTH = 24, 20
run = jax.jit(operation)


def picture(seed: int) -> np.ndarray:
    """Smooth and of low contrast, with some noise, as photographs are: uint8."""
    random = np.random.RandomState(seed)
    smooth = ndimage.gaussian_filter(random.uniform(0, 255, (HEIGHT, WIDTH, 3)), (2, 2, 0))
    return np.clip(smooth * 0.8 + random.uniform(0, 60, smooth.shape), 0, 255).astype(np.uint8)


def ours(name, image, share, sign):
    return 255 * np.asarray(run(OPERATIONS.index(name), image / np.float32(255), share, sign))


BY_PILLOW = {
    "color": lambda image, factor, _: ImageEnhance.Color(image).enhance(factor),
    "contrast": lambda image, factor, _: ImageEnhance.Contrast(image).enhance(factor),
    "brightness": lambda image, factor, _: ImageEnhance.Brightness(image).enhance(factor),
    "sharpness": lambda image, factor, _: ImageEnhance.Sharpness(image).enhance(factor),
    "identity": lambda image, *_: image,
    "autocontrast": lambda image, *_: ImageOps.autocontrast(image),
    "equalize": lambda image, *_: ImageOps.equalize(image),
    "posterize": lambda image, _, share: ImageOps.posterize(image, 8 - round(4 * share)),
    "solarize": lambda image, _, share: ImageOps.solarize(image, 255 * (1 - share)),
}


@settings(deadline=None)
@given(
    st.sampled_from(list(BY_PILLOW)),
    st.sampled_from([0.1, 0.3, 0.6, 0.9]),
    st.sampled_from([-1, 1]),
    st.integers(0, 99),
)
def test_colours_are_pillows(name, share, sign, seed):
    image = picture(seed)
    expected = np.asarray(BY_PILLOW[name](Image.fromarray(image), 1 + 0.9 * share * sign, share), float)
    found = ours(name, image, share, sign)
    rounded = {"color": 2, "contrast": 2, "sharpness": 2, "brightness": 1, "autocontrast": 1}
    assert np.abs(found - expected).max() <= rounded.get(name, 0) + 1e-3


@settings(deadline=None)
@given(st.sampled_from(GEOMETRIC), st.floats(0, 1), st.sampled_from([-1, 1]), st.integers(0, 99))
def test_shapes_are_affine_maps_about_the_centre(name, share, sign, seed):
    image, amount = picture(seed).astype(float), share * sign
    angle = np.deg2rad(30 * amount)
    of_rows_and_columns = {
        "rotate": [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]],
        "shear_x": [[1, 0], [0.3 * amount, 1]],
        "shear_y": [[1, 0.3 * amount], [0, 1]],
    }
    matrix = np.array(of_rows_and_columns.get(name, np.eye(2)))
    shift = {"translate_x": [0, 150 / 331 * WIDTH * amount], "translate_y": [150 / 331 * HEIGHT * amount, 0]}
    centre = np.array([HEIGHT - 1, WIDTH - 1]) / 2
    offset = centre - matrix @ centre - np.array(shift.get(name, [0, 0]))
    expected = [
        ndimage.affine_transform(plane, matrix, offset, order=1, mode="grid-constant")
        for plane in image.transpose(2, 0, 1)
    ]
    found = ours(name, picture(seed), share, sign)
    # where a place lies on the border to float32's precision, either side is right
    off = np.abs(found - np.stack(expected, -1)) > 0.1
    assert off.mean() < 0.01


def test_every_operation_is_drawn_and_a_grey_image_may_be_augmented():
    (randaugment,) = parse("randaugment9")
    image = jnp.asarray(picture(3), jnp.float32) / 255
    draw = jax.jit(jax.vmap(randaugment, (0, None)))
    many = draw(jax.random.split(jax.random.key(0), 300), image)
    assert len(np.unique(np.asarray(many).reshape(300, -1), axis=0)) > 100
    assert np.asarray(many).min() >= 0
    assert np.asarray(many).max() <= 1
    assert jax.eval_shape(randaugment, jax.random.key(0), image[..., :1]).shape == (HEIGHT, WIDTH, 1)


def test_the_smallest_magnitude_leaves_the_ramps_as_they_are():
    image = picture(5)
    for name in ("rotate", "shear_x", "translate_y", "color", "contrast", "brightness", "sharpness", "posterize"):
        np.testing.assert_allclose(ours(name, image, 0.0, 1), image, atol=1e-3)


@pytest.mark.parametrize("token", ["randaugment", "randaugment31"])
def test_a_magnitude_is_at_most_thirty(token):
    with pytest.raises(RequestError, match="magnitude"):
        check(parse(token), (8, 8, 3))
