"""DeepLIFT and layer-wise relevance propagation against computations layer by layer in NumPy, and their theorems."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from initial import variables_of

from cnn_jax.errors import RequestError
from cnn_jax.insight import attribution, rules
from cnn_jax.insight.functions import selected
from cnn_jax.network import Network
from cnn_jax.notation import parse


def made(text, shape=(6, 6, 2), seed=0, biases=True):
    network = Network(shape, parse(text))
    images = jnp.asarray(np.random.default_rng(seed + 1).normal(size=(3, *shape)), jnp.float32)
    variables = variables_of(network, seed)
    if not biases:
        flat = jax.tree_util.tree_map_with_path(
            lambda path, leaf: jnp.zeros_like(leaf) if path[-1].key == "bias" else leaf, variables["params"]
        )
        variables = {**variables, "params": flat}
    return network, variables, images, jnp.array([0, 2, 1])


def dense_stack(variables, images):
    """The values before and after the ReLU of `dense-20 relu dense-3`, and the weights."""
    weights = [
        tuple(np.asarray(variables["params"][n][k], float) for k in ("kernel", "bias")) for n in ("dense1", "dense2")
    ]
    x = np.asarray(images, float).reshape(len(images), -1)
    inside = x @ weights[0][0] + weights[0][1]
    return x, inside, np.maximum(inside, 0), weights


def test_deep_lift_of_two_dense_layers_is_the_rescale_rule_by_hand():
    network, variables, images, classes = made("dense-20 relu dense-3")
    baseline = 0.3 * jnp.ones((6, 6, 2))
    start = jnp.broadcast_to(baseline, images.shape)
    (x, inside, active, weights), (x0, inside0, active0, _) = (dense_stack(variables, v) for v in (images, start))
    multiplier = (active - active0) / (inside - inside0)
    through = multiplier * weights[1][0].T[np.asarray(classes)]
    expected = ((through @ weights[0][0].T) * (x - x0)).reshape(3, 6, 6, 2)
    found = rules.deep_lift(network, variables, images, classes, baseline)
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-5)


@pytest.mark.parametrize(
    "text",
    [
        "conv3-4 relu max2 dense-3", "conv3-4:same tanh avg2 dense-8 gelu dense-3", "conv3-4:same leaky0.1 gap dense-3",
        "conv3-4:same relu res( conv3-4:same relu conv3-4:same ) relu max2 dense-3",
        "cat( conv1-2 | conv1-3 ) silu dense-3",
    ],
)  # fmt: skip
def test_deep_lift_adds_up_to_the_difference_of_the_logits(text):
    network, variables, images, classes = made(text)
    found = rules.deep_lift(network, variables, images, classes)
    ends = [selected(network.apply(variables, x), classes) for x in (images, jnp.zeros_like(images))]
    np.testing.assert_allclose(found.sum((1, 2, 3)), ends[0] - ends[1], rtol=2e-3, atol=2e-3)


def test_of_equal_images_deep_lift_says_nothing_and_of_a_linear_network_it_is_gradient_times_difference():
    network, variables, images, classes = made("conv3-4 relu dense-3")
    np.testing.assert_array_equal(rules.deep_lift(network, variables, images, classes, images), 0)
    network, variables, images, classes = made("conv3-4 avg2 dense-3")
    expected = attribution.gradient_times_input(network, variables, images, classes)
    np.testing.assert_allclose(rules.deep_lift(network, variables, images, classes), expected, rtol=1e-4, atol=1e-5)


def by_hand(rule, x, weights, bias, relevance):
    """One dense layer of relevance propagation: a loop over the units (montavon2019layer, 10.2; bach2015pixel, 60)."""
    found = np.zeros_like(x)
    for n in range(len(x)):
        for k in range(weights.shape[1]):
            parts = x[n] * weights[:, k]
            if rule.startswith("epsilon"):
                z = parts.sum() + bias[k]
                found[n] += parts / (z + np.copysign(1e-6, z)) * relevance[n, k]
            elif rule == "gamma":
                favoured = x[n] * (weights[:, k] + 0.25 * np.maximum(weights[:, k], 0))
                z = favoured.sum() + bias[k] + 0.25 * max(bias[k], 0)
                found[n] += favoured / (z + np.copysign(1e-6, z)) * relevance[n, k]
            else:
                alpha = 1.0 if rule == "z_plus" else 2.0
                gains, losses = np.maximum(parts, 0), np.minimum(parts, 0)
                found[n] += alpha * gains / (gains.sum() + max(bias[k], 0) + 1e-6) * relevance[n, k]
                found[n] += (1 - alpha) * losses / (losses.sum() + min(bias[k], 0) - 1e-6) * relevance[n, k]
    return found


@pytest.mark.parametrize("rule", ["epsilon", "gamma", "alpha_beta", "z_plus"])
def test_relevance_of_two_dense_layers_by_a_loop(rule):
    network, variables, images, classes = made("dense-20 relu dense-3")
    x, _, active, weights = dense_stack(variables, images)
    logits = active @ weights[1][0] + weights[1][1]
    of_class = np.where(np.arange(3) == np.asarray(classes)[:, None], logits, 0)
    inside = by_hand(rule, active, *weights[1], of_class)
    expected = by_hand(rule, x, *weights[0], inside).reshape(3, 6, 6, 2)
    found = rules.relevance(network, variables, images, classes, rules.Relevance(rule, rule))
    np.testing.assert_allclose(found, expected, rtol=5e-3, atol=5e-4 * np.abs(expected).max())


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000))
def test_without_biases_the_epsilon_rule_is_gradient_times_input_and_nothing_is_lost(seed):
    """ancona2018towards, proposition 1, for ReLUs; the sum of relevance is the logit."""
    network, variables, images, classes = made("conv3-4 relu max2 dense-8 relu dense-3", seed=seed, biases=False)
    found = rules.relevance(network, variables, images, classes, rules.Relevance(epsilon=1e-9))
    logits = selected(network.apply(variables, images), classes)
    np.testing.assert_allclose(found.sum((1, 2, 3)), logits, rtol=1e-2, atol=1e-3)
    expected = attribution.gradient_times_input(network, variables, images, classes)
    np.testing.assert_allclose(found, expected, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("rule", ["gamma", "alpha_beta", "z_plus"])
@pytest.mark.parametrize(
    "text", ["conv3-4 relu avg2 dense-3", "conv3-4:same relu res( conv3-4:same relu ) relu gap dense-3"]
)
def test_without_biases_relevance_is_conserved(rule, text):
    """The paper's property: what the pixels get is the logit, if no unit is without contributions of a sign."""
    network, variables, images, classes = made(text, biases=False)
    found = rules.relevance(network, variables, jnp.abs(images), classes, rules.Relevance(rule, "epsilon"))
    logits = selected(network.apply(variables, jnp.abs(images)), classes)
    np.testing.assert_allclose(found.sum((1, 2, 3)), logits, rtol=2e-2, atol=1e-2)


def test_what_has_no_rule_is_refused_by_name():
    network, variables, images, classes = made("conv3-4 relu lrn3 dense-3")
    with pytest.raises(RequestError, match="lrn1: relevance propagation has no rule for LocalResponseNorm"):
        rules.relevance(network, variables, images, classes)


def test_a_contrast_is_the_difference_of_two_explanations():
    network, variables, images, classes = made("conv3-4 relu max2 dense-3")
    others = (classes + 1) % 3
    for method in (attribution.gradient, rules.deep_lift, rules.guided_backpropagation, attribution.occlusion):
        both = method(network, variables, images, (classes, others))
        apart = method(network, variables, images, classes) - method(network, variables, images, others)
        if method is not rules.guided_backpropagation:  # whose rule is not linear in the signal
            np.testing.assert_allclose(both, apart, rtol=1e-3, atol=1e-4)
        assert both.shape == apart.shape
