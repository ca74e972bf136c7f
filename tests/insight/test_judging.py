"""Measures of explanations: where the truth is known, against loops, and by what they must prefer."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from initial import variables_of

from cnn_jax.insight import attribution, judging
from cnn_jax.insight.functions import selected
from cnn_jax.network import Network
from cnn_jax.notation import parse

KEY = jax.random.key(11)
LINEAR = Network((8, 8, 2), parse("dense-3"))
VARIABLES = variables_of(LINEAR)
IMAGES = jnp.asarray(np.random.default_rng(0).normal(size=(4, 8, 8, 2)), jnp.float32)
TARGETS = jnp.array([0, 2, 1, 0])
GIVEN = (LINEAR, VARIABLES, IMAGES, TARGETS)


def nothing(function, params, images, targets):
    return jnp.zeros_like(images)


def pictures(function, params, images, targets):
    """An explanation that does not look at the function."""
    return images


def test_of_a_linear_function_gradients_are_faithful_and_complete():
    product = attribution.gradient_times_input
    np.testing.assert_allclose(judging.completeness_gap(product, *GIVEN), 0, atol=1e-4)
    np.testing.assert_allclose(judging.infidelity(attribution.gradient, *GIVEN), 0, atol=1e-8)
    np.testing.assert_allclose(judging.max_sensitivity(attribution.gradient, *GIVEN, KEY), 0, atol=1e-6)
    ends = [np.asarray(selected(LINEAR(VARIABLES, x), TARGETS)) for x in (IMAGES, jnp.zeros_like(IMAGES))]
    np.testing.assert_allclose(judging.completeness_gap(nothing, *GIVEN), ends[1] - ends[0], atol=1e-5)


def test_infidelity_of_no_explanation_is_the_mean_square_of_what_squares_do():
    falls = []
    for y in range(0, 8, 4):
        for x in range(0, 8, 4):
            covered = IMAGES.at[:, y : y + 4, x : x + 4].set(0)
            falls.append(selected(LINEAR(VARIABLES, IMAGES), TARGETS) - selected(LINEAR(VARIABLES, covered), TARGETS))
    expected = np.square(falls).mean(0)
    np.testing.assert_allclose(judging.infidelity(nothing, *GIVEN), expected, rtol=1e-4)


def test_sensitivity_of_an_explanation_that_is_the_image_is_the_noise():
    found = judging.max_sensitivity(pictures, *GIVEN, KEY, radius=0.1, samples=3)
    noise = [np.asarray(jax.random.uniform(k, IMAGES.shape, minval=-0.1, maxval=0.1)) for k in jax.random.split(KEY, 3)]
    size = np.linalg.norm(np.asarray(IMAGES).reshape(4, -1), axis=1)  # of the map, which is the image
    expected = np.max([np.linalg.norm(x.reshape(4, -1), axis=1) / size for x in noise], axis=0)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_flipping_the_most_relevant_pixels_first_lowers_the_output_fastest():
    curve = judging.pixel_flipping(attribution.gradient_times_input, *GIVEN, steps=16)
    assert curve.shape == (17, 4)
    np.testing.assert_allclose(curve[0], selected(LINEAR(VARIABLES, IMAGES), TARGETS), rtol=1e-5)
    np.testing.assert_allclose(curve[-1], selected(LINEAR(VARIABLES, 0 * IMAGES), TARGETS), atol=1e-5)
    relevance = np.asarray(attribution.gradient_times_input(*GIVEN)).sum(-1).reshape(4, -1)
    ordered = -np.sort(-relevance, axis=1)
    by_hand = curve[0] - np.concatenate([np.zeros((4, 1)), ordered.cumsum(1)], axis=1).T[::4]
    np.testing.assert_allclose(curve, by_hand, atol=1e-3)
    assert (curve.mean(0) < judging.pixel_flipping(pictures, *GIVEN, steps=16).mean(0)).all()


def test_a_removed_pixel_is_the_mean_of_its_neighbours_solved_together():
    """The solution of the equations, by fixed-point iteration; a plane stays a plane inside."""
    random = np.random.default_rng(3)
    image, removed = random.normal(size=(7, 6, 2)), random.random((7, 6)) < 0.4
    found = judging.imputed(image, removed)
    np.testing.assert_array_equal(found[~removed], image[~removed])
    guess = np.where(removed[..., None], 0.0, image)
    for _ in range(3000):
        padded = np.pad(guess, ((1, 1), (1, 1), (0, 0)))
        inside = np.pad(np.ones((7, 6, 1)), ((1, 1), (1, 1), (0, 0)))
        total = weight = 0
        for (dy, dx), w in (judging.SIDES | judging.CORNERS).items():
            window = np.s_[1 + dy : 8 + dy, 1 + dx : 7 + dx]
            total, weight = total + w * padded[window], weight + w * inside[window]
        guess = np.where(removed[..., None], total / weight, image)
    np.testing.assert_allclose(found, guess, atol=1e-6)
    rows, columns = np.mgrid[:7, :6]
    plane = (2.0 * rows - columns)[..., None]
    middle = np.zeros((7, 6), bool)
    middle[2:5, 2:4] = True
    np.testing.assert_allclose(judging.imputed(plane, middle), plane, atol=1e-9)
    np.testing.assert_array_equal(judging.imputed(plane, np.ones((7, 6), bool)), 0)


def test_removing_the_pixels_that_matter_costs_accuracy():
    """The class is the sign of the mean of one corner."""

    def corner(params, images):
        value = images[:, :3, :3].mean((1, 2, 3))
        return jnp.stack([value, -value], 1)

    def knows(function, params, images, targets):
        return jnp.zeros_like(images).at[:, :3, :3].set(1.0)

    def opposite(function, params, images, targets):
        return -knows(function, params, images, targets)

    random = np.random.default_rng(5)
    images = random.normal(size=(64, 8, 8, 1)).astype(np.float32)
    images[:, :3, :3] += random.choice([-1, 1], 64)[:, None, None, None] * 1.5
    labels = np.asarray(corner(None, jnp.asarray(images)).argmax(1))
    good = judging.road(knows, corner, None, jnp.asarray(images), labels, KEY, (0.2,))
    bad = judging.road(opposite, corner, None, jnp.asarray(images), labels, KEY, (0.2,))
    assert bad[0.2] == 1.0
    assert good[0.2] < 0.8


def test_measures_with_a_mask():
    found = np.array([[[3.0, 1.0], [-2.0, 0.0]], [[0.0, 0.0], [5.0, 1.0]]])
    masks = np.array([[[1, 0], [0, 0]], [[1, 1], [0, 1]]])
    assert judging.pointing_game(found, masks).tolist() == [True, False]
    np.testing.assert_allclose(judging.relevance_mass(found, masks), [3 / 4, 1 / 6])
    np.testing.assert_allclose(judging.relevance_rank(found, masks), [1.0, 2 / 3])
    assert np.isnan(judging.relevance_mass(-np.ones((1, 2, 2)), masks[:1]))[0]


def test_the_entropy_of_a_map_rises_only_if_the_explainer_depends_on_the_parameters():
    flat, even = np.zeros((1, 10, 10)), np.arange(100.0).reshape(1, 10, 10)
    assert judging.entropy(flat)[0] == pytest.approx(0)
    assert judging.entropy(even)[0] == pytest.approx(np.log(100))
    random = variables_of(LINEAR, 9)
    assert judging.entropy_rise(pictures, LINEAR, VARIABLES, random, IMAGES, TARGETS).tolist() == [0.0] * 4
    assert judging.entropy_rise(attribution.gradient, LINEAR, VARIABLES, random, IMAGES, TARGETS).any()


QUANTUS = Path(__file__).with_name("quantus_values.npz")


def test_measures_are_those_of_quantus():
    """Eleven measures of the same maps and the same network, by Quantus 0.6.0 on torch: see quantus_values.py."""
    with np.load(QUANTUS) as file:
        arrays = {name: file[name] for name in file.files}
    expected = {name.removeprefix("quantus/"): x for name, x in arrays.items() if name.startswith("quantus/")}
    images, maps = (arrays[name].transpose(0, 2, 3, 1) for name in ("images", "maps"))
    network = Network((12, 10, 1), parse("conv3-4:same relu dense-4"))
    dense = arrays["dense_kernel"].reshape(4, 4, 12, 10).transpose(2, 3, 1, 0).reshape(-1, 4)
    params = {
        "conv1": {"kernel": arrays["kernel"].transpose(2, 3, 1, 0), "bias": arrays["bias"]},
        "dense1": {"kernel": dense, "bias": arrays["dense_bias"]},
    }
    given = network, {"params": params, "batch_stats": {}}, jnp.asarray(images), jnp.asarray(arrays["targets"])
    np.testing.assert_allclose(attribution.gradient_times_input(*given), maps, atol=1e-6)

    def explainer(function, params, images, targets):
        return maps

    flat, masks = maps[..., 0].astype(np.float64), arrays["masks"][:, 0]
    fractions = (0.025, 0.05, 0.075, 0.2)
    survived = [
        judging.right_without(sign * flat, *given[:3], arrays["targets"], KEY, fractions, noise=0.0).mean(1)
        for sign in (1, -1)
    ]
    found = {
        "pointing_game": judging.pointing_game(flat, masks),
        "relevance_mass": judging.relevance_mass(np.abs(flat), masks),
        "relevance_rank": judging.relevance_rank(flat, masks),
        "top_intersection": judging.top_intersection(flat, masks, 20),
        "mask_auc": judging.mask_auc(flat, masks),
        "sparseness": judging.sparseness(flat),
        "complexity": judging.complexity(flat),
        "pixel_flipping": judging.pixel_flipping(explainer, *given, steps=30)[1:],
        "faithfulness_estimate": judging.faithfulness_estimate(explainer, *given),
        "entropy": judging.entropy(flat),
        "road": survived[0], "road_least": survived[1],
    }  # fmt: skip
    assert set(found) == set(expected)
    assert 0 < expected["road"].max() > expected["road"].min()
    for name, values in expected.items():
        np.testing.assert_allclose(np.asarray(found[name], float), values, rtol=1e-6, atol=1e-6, err_msg=name)


def test_measures_of_a_map_by_hand():
    found = np.array([[[4.0, 3.0], [2.0, 1.0]]])
    masks = np.array([[[1, 0], [1, 0]]])
    assert judging.top_intersection(found, masks, 2)[0] == 0.5
    assert judging.mask_auc(found, masks)[0] == 0.75  # of four pairs, three are in order
    assert judging.sparseness(found)[0] == pytest.approx(0.25, abs=1e-6)
    assert judging.sparseness(np.ones((1, 4, 4)))[0] == pytest.approx(0)
    assert judging.complexity(np.ones((1, 4, 4)))[0] == pytest.approx(np.log(16))
    product = attribution.gradient_times_input
    np.testing.assert_allclose(judging.faithfulness_estimate(product, *GIVEN), 1, atol=1e-4)
