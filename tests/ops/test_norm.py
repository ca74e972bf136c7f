"""Moments and affine maps per channel: against NumPy in float64, and under every transformation of JAX."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rounding import gamma

from cnn_jax import ops
from cnn_jax.ops.native import library

OURS = ["canonical", pytest.param("native", marks=pytest.mark.skipif(not library.available(), reason="no compiler"))]
every = pytest.mark.parametrize("implementation", OURS)
sizes = st.tuples(st.integers(0, 20), st.integers(1, 7), st.integers(1, 7), st.integers(1, 40))


@every
@settings(max_examples=20, deadline=None)
@given(sizes, st.integers(0, 2**16), st.sampled_from([0.0, 3.0, 100.0]))
def test_moments_are_numpys(implementation, size, seed, shift):
    """Of the examples whose mask is 1, also where the mean is far from zero.

    A mean is a sum; where it misses by d, the squares about it are too large by d². Combined of the moments of each
    image (chan1983algorithms), a variance also has the cross terms of an image's own d and its distance from the mean.
    """
    random = np.random.default_rng(seed)
    x = (random.normal(size=size) + shift).astype(np.float32)
    mask = random.integers(0, 2, size[0]).astype(np.float32)
    with ops.using(implementation):
        mean, variance = jax.jit(lambda x, mask: ops.moments(x, mask))(x, mask)
    kept = x[mask > 0].astype(np.float64)
    exact = (kept.mean((0, 1, 2)), kept.var((0, 1, 2))) if len(kept) else (np.zeros(size[3]),) * 2
    count, positions, largest = len(kept) * size[1] * size[2], size[1] * size[2], np.abs(kept).max(initial=0.0)
    of_mean, of_image = gamma(count + 3) * largest, gamma(positions + 1) * largest
    assert (np.abs(mean - exact[0]) <= of_mean).all()
    bound = gamma(count + 5) * exact[1] + 2 * of_image * np.sqrt(exact[1]) + of_image**2 + of_mean**2
    assert (np.abs(variance - exact[1]) <= bound).all()


def loss(x, scale, bias, mask):
    """As batch norm and a relu, but with a factor that is exact."""
    mean, variance = ops.moments(x, mask)
    factor = scale * variance
    return jnp.square(ops.affine(x, factor, bias - mean * factor, True)).sum()


@jax.jit
def transformed(x, scale, bias, tangent, mask):
    """Derivatives of the loss under every transformation, by name."""
    of_examples = functools.partial(loss, mask=mask)
    gradient = jax.grad(of_examples, (0, 1, 2))
    scales = jnp.stack([scale, -scale, 2 * scale])
    every_x = jnp.stack([x, 2 * x, x + 1])
    tangents = x[::-1], tangent, scale
    return {
        "grad": gradient(x, scale, bias),
        "forward mode": jax.jvp(of_examples, (x, scale, bias), tangents),
        "forward over reverse": jax.jvp(gradient, (x, scale, bias), tangents),
        "reverse over reverse": jax.grad(lambda x: (gradient(x, scale, bias)[1] * tangent).sum())(x),
        "vmap of weights": jax.vmap(gradient, (None, 0, None))(x, scales, bias),
        "vmap of both": jax.vmap(gradient, (0, 0, None))(every_x, scales, bias),
        "grad of vmap": jax.grad(lambda x: jax.vmap(of_examples, (None, 0, None))(x, scales, bias).sum())(x),
        "remat": jax.grad(jax.checkpoint(of_examples), (0, 1, 2))(x, scale, bias),
        "scan": jax.lax.scan(
            lambda s, x: (jnp.sign(gradient(x, s, bias)[1]), of_examples(x, s, bias)), scale, jnp.stack([x, -x])
        ),
    }


@every
def test_every_transformation_gives_what_float64_gives(implementation):
    """Exactly: of 1 and -1, as many of each in 32 values that the mask leaves, mean and variance are whole numbers and
    all derivatives multiples of a power of two."""
    random = np.random.default_rng(0)
    half = random.choice([-1.0, 1.0], (2, 4, 2, 5))
    x = np.concatenate([half, random.choice([-1.0, 1.0], (2, 4, 2, 5)), -half])
    mask = np.array([1.0, 1.0, 0.0, 0.0, 1.0, 1.0])
    arrays = x, *(random.integers(-2, 3, 5).astype(np.float64) for _ in range(3)), mask
    transformed.clear_cache()
    with jax.enable_x64(True), ops.using("lax"):
        exact = jax.device_get(transformed(*arrays))
    with ops.using(implementation):
        results = transformed(*(array.astype(np.float32) for array in arrays))
    for name, truths in exact.items():
        for ours, truth in zip(jax.tree.leaves(results[name]), jax.tree.leaves(truths), strict=True):
            assert ours.dtype == jnp.float32
            np.testing.assert_array_equal(ours, truth, err_msg=name)
            assert (ours != 0).any(), name


@every
def test_the_relu_passes_no_gradient_at_zero_and_nan_through(implementation):
    x = jnp.asarray([0.0, 1.0, -1.0, jnp.nan]).reshape(4, 1, 1, 1)
    with ops.using(implementation):
        made, pull = jax.vjp(lambda x: ops.affine(x, jnp.ones(1), jnp.zeros(1), True), x)
        (gradient,) = pull(jnp.ones_like(made))
    np.testing.assert_array_equal(made.ravel(), [0, 1, 0, jnp.nan])
    np.testing.assert_array_equal(gradient.ravel(), [0, 1, 0, 0])
