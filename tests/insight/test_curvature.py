"""Curvature against matrices whose eigenvalues are known, full Hessians and simulated gradients."""

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest
from initial import variables_of

from cnn_jax.insight import curvature
from cnn_jax.losses import LOSSES
from cnn_jax.network import Network
from cnn_jax.notation import parse

KEY = jax.random.key(2)


def quadratic(eigenvalues):
    """½ w' H w with these eigenvalues of H, and its parameters in two arrays."""
    random = np.random.default_rng(0)
    basis, _ = np.linalg.qr(random.normal(size=(len(eigenvalues),) * 2))
    matrix = jnp.asarray(basis * eigenvalues @ basis.T, jnp.float32)

    def loss(params):
        w = jnp.concatenate([params["a"].ravel(), params["b"]])
        return 0.5 * w @ matrix @ w

    return loss, {"a": jnp.ones((2, 3)), "b": jnp.ones(len(eigenvalues) - 6)}


def test_lanczos_finds_the_ends_of_the_spectrum_and_with_as_many_steps_all_of_it():
    eigenvalues = np.array([-3.0, -0.5, 0.0, 0.1, 0.2, 0.5, 1.0, 2.0, 4.0, 10.0])
    loss, params = quadratic(eigenvalues)
    found = curvature.lanczos(loss, params, KEY, 10)
    np.testing.assert_allclose(found.eigenvalues, eigenvalues, atol=2e-3)
    assert found.weights.sum() == pytest.approx(1.0)
    few = curvature.lanczos(loss, params, KEY, 7).eigenvalues
    np.testing.assert_allclose([few[0], few[-1]], [-3, 10], atol=0.05)
    np.testing.assert_allclose(curvature.top_eigenvalues(loss, params, KEY, 2, 10), [10, 4], atol=2e-3)


@pytest.fixture(scope="module")
def network():
    made = Network((4, 4, 1), parse("conv3-2 tanh dense-3"))
    variables = variables_of(made)
    images = jnp.asarray(np.random.default_rng(1).normal(size=(6, 4, 4, 1)), jnp.float32)
    loss = curvature.loss_of(made, LOSSES["cross_entropy"], variables, images, jnp.array([0, 1, 2, 0, 1, 2]))
    return loss, variables["params"]


def test_of_a_network_the_eigenvalues_are_those_of_the_full_hessian(network):
    loss, params = network
    flat, unravel = jax.flatten_util.ravel_pytree(params)
    hessian = np.asarray(jax.hessian(lambda v: loss(unravel(v)))(flat), float)
    expected = np.linalg.eigvalsh(hessian)
    found = curvature.top_eigenvalues(loss, params, KEY, 3, flat.size)
    np.testing.assert_allclose(found, expected[::-1][:3], rtol=1e-3, atol=1e-4)
    vector = unravel(jax.random.normal(KEY, flat.shape))
    product = jax.flatten_util.ravel_pytree(curvature.hessian_product(loss, params, vector))[0]
    np.testing.assert_allclose(product, hessian @ jax.flatten_util.ravel_pytree(vector)[0], rtol=1e-3, atol=1e-4)


def test_the_density_is_that_of_the_eigenvalues():
    eigenvalues = np.concatenate([np.zeros(30), np.full(8, 5.0), [12.0, 12.0]])
    loss, params = quadratic(eigenvalues)
    at = np.linspace(-3, 15, 721)
    found = curvature.spectral_density(loss, params, KEY, at, draws=30, steps=20, width=0.3)
    assert np.trapezoid(found, at) == pytest.approx(1.0, abs=0.01)
    for low, high, share in ((-1, 1, 0.75), (4, 6, 0.2), (11, 13, 0.05)):
        inside = (at >= low) & (at <= high)
        assert np.trapezoid(found[inside], at[inside]) == pytest.approx(share, abs=0.04)


def test_sharpness_of_a_quadratic_by_hand():
    loss, params = quadratic(np.arange(1.0, 9.0))
    flat, unravel = jax.flatten_util.ravel_pytree(params)
    gradient = np.asarray(jax.flatten_util.ravel_pytree(jax.grad(loss)(params))[0], float)
    step = 0.05 * gradient / np.linalg.norm(gradient)
    expected = loss(unravel(flat + jnp.asarray(step, jnp.float32))) - loss(params)
    assert curvature.sharpness(loss, params) == pytest.approx(float(expected), rel=1e-3)
    doubled = jax.tree.map(lambda leaf: 2 * leaf, params)
    size = np.abs(np.asarray(flat, float)) * 2
    step = 0.05 * size**2 * (2 * gradient) / np.linalg.norm(size * 2 * gradient)
    expected = loss(unravel(2 * flat + jnp.asarray(step, jnp.float32))) - loss(doubled)
    assert curvature.sharpness(loss, doubled, adaptive=True) == pytest.approx(float(expected), rel=1e-3)


def test_the_noise_scale_of_gradients_that_are_simulated():
    """True gradient of squared norm 4, covariance of trace 50: the mean of many estimates is theirs."""
    random = np.random.default_rng(6)
    true = np.full(100, 0.2)
    found = []
    for _ in range(300):
        batches = true + random.normal(size=(8, 100)) * np.sqrt(0.5 / 16)
        found.append(curvature.gradient_noise([{"w": jnp.asarray(b)} for b in batches], 16))
    assert np.mean([one.squared_gradient for one in found]) == pytest.approx(4.0, rel=0.03)
    assert np.mean([one.trace for one in found]) == pytest.approx(50.0, rel=0.03)
    assert curvature.GradientNoise(4.0, 50.0).scale == 12.5
    with pytest.raises(ValueError, match="at least two"):
        curvature.gradient_noise([{"w": jnp.ones(3)}], 4)
