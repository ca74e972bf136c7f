"""Methods that sample, against exact enumerations and formulas in NumPy; class activation maps against their papers."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from initial import variables_of

from cnn_jax.errors import RequestError
from cnn_jax.insight import attribution, cam, sampling
from cnn_jax.insight.functions import Probabilities, Units, WithActivations, selected
from cnn_jax.network import Network
from cnn_jax.notation import parse

KEY = jax.random.key(3)
SEGMENTS = sampling.grid(4, 6, 2)  # six squares


@pytest.fixture(scope="module")
def given():
    network = Network((4, 6, 2), parse("conv3-4:same relu max2 dense-3"))
    images = jnp.asarray(np.random.default_rng(1).normal(size=(2, 4, 6, 2)), jnp.float32)
    return network, variables_of(network), images, jnp.array([0, 2])


def with_segments(given, chosen):
    """The outputs with these segments shown."""
    network, variables, images, targets = given
    mask = np.isin(SEGMENTS, list(chosen))[None, ..., None]
    return np.asarray(selected(network(variables, jnp.where(mask, images, 0.0)), targets), float)


def as_map(values):
    """Values (segments, n) as a map (n, h, w, 1)."""
    return np.moveaxis(np.asarray(values)[SEGMENTS], 2, 0)[..., None]


def test_squares_of_a_grid():
    assert SEGMENTS.tolist() == [[0, 0, 1, 1, 2, 2]] * 2 + [[3, 3, 4, 4, 5, 5]] * 2
    assert sampling.grid(3, 5, 2).max() == 5


def test_ablation_is_a_loop_over_segments(given):
    everything = with_segments(given, range(6))
    drops = [everything - with_segments(given, set(range(6)) - {s}) for s in range(6)]
    np.testing.assert_allclose(sampling.feature_ablation(*given, SEGMENTS), as_map(drops), rtol=1e-4, atol=1e-5)


def test_shapley_values_go_to_the_exact_ones_and_always_add_up(given):
    exact = np.zeros((6, 2))
    for s in range(6):
        rest = [other for other in range(6) if other != s]
        for size in range(6):
            weight = math.factorial(size) * math.factorial(5 - size) / math.factorial(6)
            for chosen in itertools.combinations(rest, size):
                exact[s] += weight * (with_segments(given, {*chosen, s}) - with_segments(given, chosen))
    total = with_segments(given, range(6)) - with_segments(given, ())
    for permutations, tolerance in ((1, None), (400, 0.12)):
        found = np.asarray(sampling.shapley_sampling(*given, SEGMENTS, KEY, permutations))
        np.testing.assert_allclose(found.sum((1, 2, 3)) / 4, total, rtol=1e-4, atol=1e-4)
        if tolerance:
            np.testing.assert_allclose(found, as_map(exact), atol=tolerance * np.abs(exact).max())


def test_of_an_additive_function_every_method_finds_the_parts():
    """f is the sum over pixels of w x: ablation, Shapley values and LIME without penalty are exact."""
    weights = jnp.asarray(np.random.default_rng(2).normal(size=(4, 6, 2)), jnp.float32)
    images = jnp.asarray(np.random.default_rng(3).normal(size=(2, 4, 6, 2)), jnp.float32)

    def additive(params, images):
        return jnp.stack([(params[None] * images).sum((1, 2, 3)), jnp.zeros(len(images))], 1)

    targets = jnp.zeros(2, int)
    parts = np.asarray((weights[None] * images).sum(-1))
    sums = np.array([[part[s == SEGMENTS].sum() for part in parts] for s in range(6)])
    about = (additive, weights, images, targets, SEGMENTS)
    np.testing.assert_allclose(sampling.feature_ablation(*about), as_map(sums), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(sampling.shapley_sampling(*about, KEY, 2), as_map(sums), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(sampling.lime(*about, KEY, 200, penalty=1e-6), as_map(sums), rtol=1e-2, atol=1e-3)
    baselines = jnp.asarray(np.random.default_rng(4).normal(size=(5, 4, 6, 2)), jnp.float32)
    found = sampling.expected_gradients(additive, weights, images, targets, baselines, KEY, 3000)
    expected = weights[None] * (images - baselines.mean(0)[None])
    np.testing.assert_allclose(found, expected, atol=0.15)


def test_lime_is_the_weighted_ridge_regression_of_its_paper(given):
    """Solved by SciPy over the same sets, with an unpenalised column for the intercept."""
    samples, width, penalty = 60, 0.25, 2.0
    there = np.asarray(jax.random.bernoulli(KEY, 0.5, (samples, 6)), float)
    there[0] = 1
    outputs = np.array([with_segments(given, np.flatnonzero(row)) for row in there])
    distance = 1 - there.sum(1) / np.maximum(np.linalg.norm(there, axis=1), 1e-12) / np.sqrt(6)
    weights = np.exp(-((distance / width) ** 2))
    design = np.column_stack([there, np.ones(samples)])
    normal = design.T @ (weights[:, None] * design) + penalty * np.diag([1] * 6 + [0])
    expected = np.linalg.solve(normal, design.T @ (weights[:, None] * outputs))[:6]
    found = sampling.lime(*given, SEGMENTS, KEY, samples, width, penalty)
    np.testing.assert_allclose(found, as_map(expected), rtol=2e-3, atol=2e-4)


def test_rise_finds_the_pixel_that_matters():
    """The output is the mean of one corner: pixels there are shown when it is high."""

    def corner(params, images):
        return jnp.stack([images[:, :4, :4].mean((1, 2, 3)), jnp.zeros(len(images))], 1)

    images = jnp.ones((1, 16, 16, 1))
    found = np.asarray(sampling.rise(corner, None, images, jnp.array([0]), KEY, masks=1500, cells=4))[0, ..., 0]
    assert found.shape == (16, 16)
    assert found[:3, :3].min() > found[8:, 8:].max()
    far = found[8:, 8:].mean()
    assert far == pytest.approx(0.5, abs=0.05), "independent of the mask: the mean output"


def test_gradient_shap_without_noise_is_expected_gradients_and_sums_to_the_difference(given):
    network, variables, images, targets = given
    baselines = jnp.asarray(np.random.default_rng(5).normal(size=(4, 4, 6, 2)), jnp.float32)
    found = sampling.expected_gradients(network, variables, images, targets, baselines, KEY, 4000)
    ends = selected(network(variables, images), targets)
    starts = np.mean([selected(network(variables, baselines), jnp.full(4, t)) for t in targets], axis=1)
    np.testing.assert_allclose(found.sum((1, 2, 3)), ends - starts, atol=0.25 * np.abs(ends - starts).max())
    noisy = sampling.expected_gradients(network, variables, images, targets, baselines, KEY, 50, noise=0.1)
    assert np.isfinite(noisy).all()


def values_and_slopes(given, layer="conv1"):
    """The maps of a layer and finite differences of the output with respect to them, in float64."""
    network, variables, images, targets = given
    with jax.enable_x64(True):
        double = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), variables)
        x = jnp.asarray(images, jnp.float64)
        maps = np.asarray(network.activations(double, x)[layer])
        slopes = np.zeros_like(maps)
        for place in np.ndindex(*maps.shape[1:]):
            ends = []
            for sign in (1, -1):
                shift = np.zeros_like(maps)
                shift[(slice(None), *place)] = sign * 1e-6
                outputs = list(network.activations(double, x, shifts={layer: jnp.asarray(shift)}).values())[-1]
                ends.append(np.asarray(outputs)[np.arange(len(x)), np.asarray(targets)])
            slopes[(slice(None), *place)] = (ends[0] - ends[1]) / 2e-6
    return maps, slopes


def test_class_activation_maps_are_their_papers_formulas(given):
    maps, slopes = values_and_slopes(given)
    rectified = np.maximum(slopes, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        alpha = slopes**2 / (2 * slopes**2 + maps.sum((1, 2), keepdims=True) * slopes**3)
    alpha = np.where(slopes != 0, alpha, 0)
    expected = {
        "Grad-CAM": slopes.mean((1, 2), keepdims=True) * maps,
        "HiResCAM": slopes * maps,
        "LayerCAM": rectified * maps,
        "Grad-CAM++": (alpha * rectified).sum((1, 2), keepdims=True) * maps,
    }
    for name, weighted in expected.items():
        found = cam.METHODS[name](*given, layer="conv1")
        np.testing.assert_allclose(found[..., 0], np.maximum(weighted.sum(-1), 0), rtol=1e-3, atol=1e-4, err_msg=name)


def test_eigen_cam_is_the_first_singular_vector(given):
    network, variables, images, _ = given
    maps = np.asarray(network.activations(variables, images)["relu1"], float)
    for one, found in zip(maps, cam.eigen_cam(*given, layer="relu1"), strict=True):
        flat = one.reshape(-1, one.shape[-1])
        values, vectors = np.linalg.eigh(flat.T @ flat)
        projected = flat @ vectors[:, values.argmax()]
        projected *= np.sign(projected.sum())
        np.testing.assert_allclose(np.asarray(found).ravel(), np.maximum(projected, 0), rtol=1e-3, atol=1e-3)


def test_score_cam_asks_for_every_map(given):
    network, variables, images, targets = given
    maps = network.activations(variables, images)["relu1"]
    scores = []
    for c in range(4):
        mask = np.asarray(jax.image.resize(maps[..., c], (2, 4, 6), "bilinear"))
        low, high = mask.min((1, 2), keepdims=True), mask.max((1, 2), keepdims=True)
        mask = (mask - low) / (high - low)
        scores.append(selected(network(variables, images * mask[..., None]), targets))
    scores = np.array(scores) - np.asarray(selected(network(variables, jnp.zeros_like(images)), targets))
    weights = np.exp(scores) / np.exp(scores).sum(0)
    expected = np.maximum((weights.T[:, None, None] * np.asarray(maps)).sum(-1), 0)
    np.testing.assert_allclose(cam.score_cam(*given, layer="relu1")[..., 0], expected, rtol=1e-3, atol=1e-4)


def test_conductance_adds_up_over_any_layer(given):
    network, variables, images, targets = given
    ends = [selected(network(variables, x), targets) for x in (images, jnp.zeros_like(images))]
    for layer in ("conv1", "relu1", "max1"):
        found = attribution.layer_conductance(*given, layer=layer, steps=300)
        np.testing.assert_allclose(found.sum((1, 2, 3)), ends[0] - ends[1], atol=3e-2)


def test_a_unit_is_explained_as_a_class_is(given):
    network, variables, images, _ = given
    for place, at in (("middle", (2, 3)), ((1, 0), (1, 0))):
        function = Units(network, "conv1", place)
        np.testing.assert_allclose(
            function(variables, images), np.asarray(network.activations(variables, images)["conv1"])[:, *at], rtol=1e-6
        )
        units = jnp.array([3, 1])
        rows, columns = (jnp.full(2, i) for i in at)
        expected = attribution.of_unit(network, variables, images, "conv1", units, rows, columns)
        np.testing.assert_allclose(attribution.gradient(function, variables, images, units), expected, rtol=1e-6)
    of_dense = Units(network, "dense1")
    np.testing.assert_allclose(of_dense(variables, images), network(variables, images), rtol=1e-6)


def test_probabilities_and_functions_without_layers(given):
    network, variables, images, targets = given
    np.testing.assert_allclose(Probabilities(network)(variables, images).sum(1), 1, rtol=1e-6)

    def plain(params, images):
        return network(params, images)

    np.testing.assert_allclose(
        attribution.gradient(plain, variables, images, targets), attribution.gradient(*given), rtol=1e-6
    )
    with pytest.raises(RequestError, match="this function has no named layers: give a Network"):
        cam.grad_cam(plain, variables, images, targets, "conv1")
    named = WithActivations(lambda params, images, shifts: network.activations(params, images, shifts=shifts))
    np.testing.assert_allclose(
        cam.hires_cam(named, variables, images, targets, "relu1"), cam.hires_cam(*given, layer="relu1"), rtol=1e-6
    )
