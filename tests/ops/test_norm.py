"""Moments and affine maps per channel: against NumPy in float64, and under every transformation of JAX."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnn_jax import ops
from cnn_jax.ops.native import library

OURS = ["canonical", pytest.param("native", marks=pytest.mark.skipif(not library.available(), reason="no compiler"))]
every = pytest.mark.parametrize("implementation", OURS)
sizes = st.tuples(st.integers(0, 20), st.integers(1, 7), st.integers(1, 7), st.integers(1, 40))


@every
@settings(max_examples=20, deadline=None)
@given(sizes, st.integers(0, 2**16), st.sampled_from([0.0, 3.0, 100.0]))
def test_moments_are_numpys(implementation, size, seed, shift):
    """Of the examples whose mask is 1, also where the mean is far from zero."""
    random = np.random.default_rng(seed)
    x = (random.normal(size=size) + shift).astype(np.float32)
    mask = random.integers(0, 2, size[0]).astype(np.float32)
    with ops.using(implementation):
        mean, variance = ops.moments(jnp.asarray(x), jnp.asarray(mask))
    kept = x[mask > 0].astype(np.float64)
    expected = (kept.mean((0, 1, 2)), kept.var((0, 1, 2))) if len(kept) else (np.zeros(size[3]),) * 2
    np.testing.assert_allclose(mean, expected[0], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(variance, expected[1], rtol=1e-4, atol=1e-5)


def normalised(x, scale, bias, mask):
    """Batch norm and a relu, as the layer makes them."""
    mean, variance = ops.moments(x, mask)
    factor = scale * jax.lax.rsqrt(variance + 1e-5)
    return jnp.sin(ops.affine(x, factor, bias - mean * factor, True)).sum()


def outcomes():
    random = np.random.default_rng(0)
    x = jnp.asarray(random.normal(size=(6, 4, 3, 5)).astype(np.float32))
    scale, bias, tangent = (jnp.asarray(random.normal(size=5).astype(np.float32)) for _ in range(3))
    mask = jnp.asarray([1.0, 1, 0, 1, 1, 1])
    loss = functools.partial(normalised, mask=mask)
    gradient = jax.grad(loss, (0, 1, 2))
    yield "grad", gradient(x, scale, bias)
    yield "jit", jax.jit(gradient)(x, scale, bias)
    yield "forward mode", jax.jvp(loss, (x, scale, bias), (x[::-1], tangent, scale))
    yield "forward over reverse", jax.jvp(gradient, (x, scale, bias), (x[::-1], tangent, scale))
    yield "grad of grad", jax.grad(lambda *a: sum(jnp.square(g).sum() for g in gradient(*a)), (0, 1, 2))(x, scale, bias)
    scales = jnp.stack([scale, -scale, 2 * scale])
    yield "vmap of weights", jax.vmap(gradient, (None, 0, None))(x, scales, bias)
    yield "vmap of both", jax.vmap(gradient, (0, 0, None))(jnp.stack([x, 2 * x, x + 1]), scales, bias)
    yield "grad of vmap", jax.grad(lambda x: jax.vmap(loss, (None, 0, None))(x, scales, bias).sum())(x)
    yield "remat", jax.grad(jax.checkpoint(loss), (0, 1, 2))(x, scale, bias)
    yield "scan", jax.lax.scan(lambda s, x: (s - 0.1 * gradient(x, s, bias)[1], s.sum()), scale, jnp.stack([x, -x]))


@pytest.mark.skipif(not library.available(), reason="no compiler")
def test_every_transformation_gives_what_plain_jax_gives():
    with ops.using("lax"):
        expected = dict(outcomes())
    with ops.using("native"):
        for name, found in outcomes():
            for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected[name]), strict=True):
                np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=2e-4, err_msg=name)


@every
def test_the_relu_passes_no_gradient_at_zero_and_nan_through(implementation):
    x = jnp.asarray([0.0, 1.0, -1.0, jnp.nan]).reshape(4, 1, 1, 1)
    with ops.using(implementation):
        made, pull = jax.vjp(lambda x: ops.affine(x, jnp.ones(1), jnp.zeros(1), True), x)
        (gradient,) = pull(jnp.ones_like(made))
    np.testing.assert_array_equal(made.ravel(), [0, 1, 0, jnp.nan])
    np.testing.assert_array_equal(gradient.ravel(), [0, 1, 0, 0])
