"""Losses and metrics against the numbers of the guide and independent formulas."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from cnn_jax.errors import RequestError
from cnn_jax.losses import LOSSES, best_constant, cross_entropy, l2, squared_error
from cnn_jax.metrics import totals


def test_an_untrained_network_scores_the_guides_numbers():
    logits, labels = jnp.zeros((3, 10)), jnp.asarray([3, 0, 9])
    np.testing.assert_allclose(squared_error(logits, labels), 0.45, rtol=1e-6)
    np.testing.assert_allclose(cross_entropy(logits, labels), np.log(10), rtol=1e-6)
    titles = {name: LOSSES[name].title for name in ("cross_entropy", "squared_error")}
    assert titles == {"cross_entropy": "cross-entropy (nats)", "squared_error": "half squared error"}, "axes of figures"


def test_the_guides_softmax_example():
    """[0 .1 .1 .75 0 0 0 0 0 .05] sums to 1; with label 3 half the squared error is ½(.1² + .1² + .25² + .05²)."""
    probabilities = np.array([0, 0.1, 0.1, 0.75, 0, 0, 0, 0, 0, 0.05])
    assert probabilities.sum() == pytest.approx(1.0)
    with np.errstate(divide="ignore"):
        logits = jnp.asarray(np.maximum(np.log(probabilities), -100.0), jnp.float32)[None]
    assert float(squared_error(logits, jnp.asarray([3]))[0]) == pytest.approx(0.5 * (0.01 + 0.01 + 0.0625 + 0.0025))
    assert float(cross_entropy(logits, jnp.asarray([3]))[0]) == pytest.approx(-np.log(0.75), rel=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from((2, 3, 12)), st.floats(0.0, 0.9), st.integers(0, 999))
def test_smoothing_is_cross_entropy_with_a_mixed_target(classes, smoothing, seed):
    random = np.random.default_rng(seed)
    logits, labels = random.normal(size=(4, classes)), random.integers(0, classes, 4)
    target = np.eye(classes)[labels] * (1 - smoothing) + smoothing / classes
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    found = cross_entropy(jnp.asarray(logits, jnp.float32), jnp.asarray(labels), smoothing)
    np.testing.assert_allclose(found, -(target * log_p).sum(-1), rtol=2e-5, atol=1e-6)
    squared = squared_error(jnp.asarray(logits, jnp.float32), jnp.asarray(labels), smoothing)
    np.testing.assert_allclose(squared, 0.5 * ((target - np.exp(log_p)) ** 2).sum(-1), rtol=2e-5, atol=1e-6)


@functools.cache
def of_constant(name):
    """The mean loss of 12 labels under logits that are the same for all, and its gradient, as SciPy takes them."""

    @jax.jit
    @jax.value_and_grad
    def mean(logits, labels):
        return LOSSES[name](jnp.broadcast_to(logits[None], (12, 4)), labels).mean()

    return lambda logits, labels: tuple(np.asarray(x, float) for x in mean(jnp.asarray(logits, jnp.float32), labels))


@pytest.mark.parametrize("name", LOSSES)
@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=12, max_size=12))
def test_the_best_constant_of_every_loss_is_its_minimum(name, labels):
    """Over logits that do not depend on the image, by a numeric minimiser that starts from equal ones; no smoothing."""
    frequencies = np.bincount(labels, minlength=4) / 12
    found = optimize.minimize(of_constant(name), np.zeros(4), jnp.asarray(labels), jac=True, method="L-BFGS-B")
    assert found.fun == pytest.approx(best_constant(name, frequencies), abs=2e-3)
    assert found.fun > best_constant(name, frequencies) - 1e-5


def test_a_loss_outside_of_the_table_has_no_best_constant():
    with pytest.raises(RequestError, match="loss 'hinge' is unknown; there are cross_ent"):
        best_constant("hinge", np.array([0.5, 0.5]))


def test_the_best_constant_is_the_class_frequencies():
    frequencies = np.array([0.5, 0.25, 0.25, 0.0])
    assert best_constant("cross_entropy", frequencies) == pytest.approx(1.5 * np.log(2))
    expected = sum(f * 0.5 * ((np.eye(4)[k] - frequencies) ** 2).sum() for k, f in enumerate(frequencies))
    assert best_constant("squared_error", frequencies) == pytest.approx(expected)
    random = np.random.default_rng(0)
    for other in random.dirichlet(np.ones(3), 50):
        worse = -(frequencies[:3] * np.log(other)).sum()
        assert worse >= best_constant("cross_entropy", frequencies) - 1e-9


def test_a_mask_is_a_subset():
    random = np.random.default_rng(0)
    logits, labels = jnp.asarray(random.normal(size=(7, 5)), jnp.float32), jnp.asarray(random.integers(0, 5, 7))
    mask = jnp.asarray([1, 0, 1, 1, 0, 0, 1.0])
    losses = jnp.where(mask > 0, cross_entropy(logits, labels), jnp.nan)  # padding may hold anything
    found, kept = totals(losses, logits, labels, mask), np.flatnonzero(mask)
    assert int(found.examples) == 4
    assert int(found.sums["accuracy"]) == int((logits.argmax(-1) == labels)[kept].sum())
    assert float(found.sums["loss"]) == pytest.approx(float(losses[kept].sum()), rel=1e-6)


def test_a_constant_classifier_has_the_frequency_of_its_class_as_accuracy():
    labels = jnp.asarray([2, 2, 0, 1, 2])
    logits = jnp.zeros((5, 3)).at[:, 2].set(1.0)
    assert totals(cross_entropy(logits, labels), logits, labels, jnp.ones(5)).means()["accuracy"] == pytest.approx(
        3 / 5
    )


def test_l2_counts_kernels_only():
    params = {"conv1": {"kernel": jnp.full((2, 2), 3.0), "bias": jnp.ones(2)}, "bn1": {"scale": jnp.ones(4)}}
    assert float(l2(params)) == pytest.approx(0.5 * 4 * 9)
