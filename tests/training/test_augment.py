"""Augmentations against what their papers say, and views against the images by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnn_jax import randomness
from cnn_jax.errors import RequestError
from cnn_jax.network import Network
from cnn_jax.notation import parse
from cnn_jax.training import augment
from cnn_jax.training.config import Config
from cnn_jax.training.views import VIEWS

N, SHAPE = 200, (9, 8, 3)
RUN = randomness.run_key(0)
IMAGES = jnp.asarray(np.random.RandomState(0).uniform(0.2, 0.8, (N, *SHAPE)), jnp.float32)
KEYS = jax.vmap(lambda i: randomness.augmentation(RUN, 5, i))(jnp.arange(N))


def augmented(text, epoch=0, slots=KEYS):
    of_examples = jax.vmap(lambda i: randomness.example(RUN, i))(jnp.arange(N))
    return np.asarray(augment.augment(augment.parse(text), slots, IMAGES, of_examples, epoch))


def test_every_example_is_seen_from_both_sides_in_any_two_epochs():
    """And about half of them are mirrored at a time, whatever the step and slot."""
    first, second, third = (augmented("alternate_flip", epoch) for epoch in range(3))
    plain, mirrored = np.asarray(IMAGES), np.asarray(IMAGES)[:, :, ::-1]
    is_mirrored = (first == mirrored).all((1, 2, 3))
    assert ((first == plain).all((1, 2, 3)) | is_mirrored).all()
    assert 0.35 < is_mirrored.mean() < 0.65
    np.testing.assert_array_equal(second, first[:, :, ::-1])
    np.testing.assert_array_equal(third, first)
    np.testing.assert_array_equal(augmented("alternate_flip", 0, KEYS[::-1]), first)


def test_a_shift_is_a_window_of_the_reflected_image():
    padded = np.pad(np.asarray(IMAGES), ((0, 0), (2, 2), (2, 2), (0, 0)), mode="reflect")
    seen = set()
    for image, frame in zip(augmented("shift2"), padded, strict=True):
        places = [(y, x) for y in range(5) for x in range(5) if (frame[y : y + 9, x : x + 8] == image).all()]
        assert len(places) == 1
        seen.add(places[0])
    assert len(seen) == 25


def test_erasing_leaves_what_it_does_not_hide():
    """Rectangles of 2 to 40 % of the image (whole pixels round), in about the share of the images asked for."""
    changed = (augmented("erase0.5") != np.asarray(IMAGES)).any(-1)
    hit = changed.any((1, 2))
    assert 0.35 < hit.mean() < 0.65
    for one in changed[hit]:
        rows, columns = one.any(1).nonzero()[0], one.any(0).nonzero()[0]
        assert one[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
        assert one.mean() < 0.5
    assert changed[hit].mean() > 0.1


def test_jitter_is_brightness_contrast_and_saturation_in_order():
    def expected(image, factors):
        grey = np.array([0.299, 0.587, 0.114])
        image = np.clip(image * factors[0], 0, 1)
        image = np.clip((image @ grey).mean() * (1 - factors[1]) + image * factors[1], 0, 1)
        return np.clip((image @ grey)[..., None] * (1 - factors[2]) + image * factors[2], 0, 1)

    found = augmented("jitter0.4")
    for i in range(20):
        factors = jax.random.uniform(jax.random.fold_in(KEYS[i], 0), (3,), minval=0.6, maxval=1.4)
        np.testing.assert_allclose(found[i], expected(np.asarray(IMAGES[i], float), np.asarray(factors)), atol=1e-6)


def test_cutmix_gives_each_image_the_share_of_its_label():
    (cutmix,) = augment.parse("cutmix1")
    mixed, shares = jax.vmap(cutmix)(KEYS, IMAGES, IMAGES[::-1])
    own = (np.asarray(mixed) == np.asarray(IMAGES)).all(-1)
    np.testing.assert_allclose(shares, own.mean((1, 2)), atol=1e-6)
    assert (own | (np.asarray(mixed) == np.asarray(IMAGES[::-1])).all(-1)).all()
    assert np.std(shares) > 0.1


def test_views_are_averages_over_the_images_by_hand():
    network = Network(SHAPE, parse("conv3-4 relu dense-5"))
    variables = network.init(jax.random.key(1))
    images = np.asarray(IMAGES[:6])
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
    shifts = [padded[:, :9, :8], padded[:, 2:, 2:]]
    by_hand = {
        "one": [images],
        "flip": [images, images[:, :, ::-1]],
        "flip_shift": [images] * 2 + [images[:, :, ::-1]] * 2 + shifts + [shift[:, :, ::-1] for shift in shifts],
    }
    for name, views in by_hand.items():
        expected = np.mean([network.apply(variables, jnp.asarray(view)) for view in views], 0)
        found = sum(weight * network.apply(variables, view(jnp.asarray(images))) for weight, view in VIEWS[name])
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"augment": "erase2"}, "a probability is at most 1"),
        ({"augment": "jitter1"}, "strength is below 1"),
        ({"augment": "shift9"}, "can leave nothing"),
        ({"augment": "cutmix1 mixup1"}, "mixes images in two ways"),
        ({"augment": "alternate_flip", "stream": True}, "needs the images in memory"),
        ({"views": "six"}, "views"),
    ],
)
def test_what_cannot_be_is_refused(fields, message):
    with pytest.raises(RequestError, match=message):
        augment.check(augment.parse(Config(**fields).augment), SHAPE)
