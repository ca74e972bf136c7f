"""The convolution against the guide's own words: a loop that multiplies and sums at every position."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rounding import gamma

from cnn_jax import ops
from cnn_jax.errors import RequestError
from cnn_jax.ops import Window, average_pool, convolution, max_pool


def slide(images, kernel, rows, columns, groups=1):
    """A convolution in float64 as the guide tells it; also counts the multiplications at one position."""
    n = images.shape[0]
    size_h, size_w, c_group, f = kernel.shape
    padded = np.pad(images.astype(np.float64), ((0, 0), (rows.low, rows.high), (columns.low, columns.high), (0, 0)))
    out = np.zeros((n, rows.output, columns.output, f))
    for i in range(rows.output):
        for j in range(columns.output):
            multiplications = 0
            for a in range(size_h):
                for b in range(size_w):
                    y, x = i * rows.stride + a * rows.dilation, j * columns.stride + b * columns.dilation
                    for filter in range(f):
                        first = filter // (f // groups) * c_group
                        out[:, i, j, filter] += padded[:, y, x, first : first + c_group] @ kernel[a, b, :, filter]
                    multiplications += c_group
    return out, multiplications


@st.composite
def geometries(draw):
    size, stride, dilation = draw(st.integers(1, 4)), draw(st.integers(1, 3)), draw(st.integers(1, 2))
    extent = (size - 1) * dilation + 1
    padding = draw(st.sampled_from(["valid", "same", 1, 2]))
    lengths = [draw(st.integers(extent, extent + 5)) for _ in range(2)]
    rows, columns = (Window.along(length, size, stride, padding, dilation) for length in lengths)
    if draw(st.booleans()):  # depthwise, with more and fewer channels than a vector has
        channels = draw(st.sampled_from([3, 16, 21, 37]))
        return rows, columns, channels, channels, channels
    groups = draw(st.integers(1, 3))
    return rows, columns, groups, groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 2))


@settings(max_examples=30, deadline=None)
@given(geometries(), st.integers(0, 2**16))
def test_convolution_is_the_guides_loop(geometry, seed):
    rows, columns, groups, channels, filters = geometry
    random = np.random.default_rng(seed)
    images = random.normal(size=(2, rows.length, columns.length, channels)).astype(np.float32)
    kernel = random.normal(size=(rows.size, columns.size, channels // groups, filters)).astype(np.float32)
    expected, multiplications = slide(images, kernel, rows, columns, groups)
    absolute, _ = slide(np.abs(images), np.abs(kernel), rows, columns, groups)
    found = convolution(jnp.asarray(images), jnp.asarray(kernel), rows, columns, groups)
    assert found.shape == expected.shape
    assert (np.abs(found - expected) <= gamma(multiplications) * absolute).all()


def test_the_guides_first_layer():
    """32x32x3 under one 5x5x3 filter: 75 multiplications at each of 784 positions, a 28x28x1 map."""
    window = Window.along(32, 5, 1, "valid")
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (1, 32, 32, 3)).astype(np.float32) / 255
    kernel = random.normal(size=(5, 5, 3, 1)).astype(np.float32)
    expected, multiplications = slide(images, kernel, window, window)
    assert multiplications == 75
    assert expected.shape == (1, 28, 28, 1)
    assert expected[0].size == 784
    absolute, _ = slide(images, np.abs(kernel), window, window)
    found = convolution(jnp.asarray(images), jnp.asarray(kernel), window, window)
    assert (np.abs(found - expected) <= gamma(multiplications) * absolute).all()


def test_the_guides_curve_detector():
    """The dot product is 6600 = 4·50·30 + 20·30 on the curve and 0 off it."""
    curve = np.zeros((7, 7), np.float32)
    curve[[1, 2, 3, 4, 5], [5, 4, 3, 3, 3]] = 30
    image = np.zeros((1, 14, 14, 1), np.float32)
    image[0, [1, 2, 3, 4], [5, 4, 3, 3], 0] = 50
    image[0, 5, 3, 0] = 20
    window = Window.along(14, 7, 7, "valid")
    found = convolution(jnp.asarray(image), jnp.asarray(curve[:, :, None, None]), window, window)
    np.testing.assert_array_equal(found[0, :, :, 0], [[6600, 0], [0, 0]])


def test_a_7x7_filter_gives_26_and_not_28():
    """Where the guide is loose: a 7x7 filter on a 32x32 image has 26x26 positions."""
    assert Window.along(32, 7, 1, "valid").output == 26


@pytest.mark.parametrize("pool", [max_pool, average_pool])
@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 3), st.integers(1, 3), st.sampled_from(["valid", "same", 1]), st.booleans(), st.integers(0, 6),
    st.integers(0, 2**16),
)  # fmt: skip
def test_pools_are_reductions_over_windows(pool, size, stride, padding, ceil, extra, seed):
    if padding == 1 and size == 1:
        padding = "valid"  # a pool that sees padding alone has no maximum
    rows, columns = (Window.along(size + extra + k, size, stride, padding, ceil=ceil) for k in (0, 1))
    images = np.random.default_rng(seed).normal(size=(2, rows.length, columns.length, 3)).astype(np.float32)
    expected, bound = np.zeros((2, 2, rows.output, columns.output, 3))
    for i in range(rows.output):
        for j in range(columns.output):
            span = [(axis.stride * at - axis.low, axis.size, axis) for at, axis in ((i, rows), (j, columns))]
            inside = [slice(max(start, 0), min(start + n, axis.length)) for start, n, axis in span]
            counted = [min(start + n, axis.length + axis.high) - start for start, n, axis in span]
            window = images[:, inside[0], inside[1]].astype(np.float64)
            if pool is max_pool:  # exactly
                expected[:, i, j] = window.max((1, 2))
            else:
                expected[:, i, j] = window.sum((1, 2)) / np.prod(counted)
                bound[:, i, j] = gamma(size * size + 2) * np.abs(window).sum((1, 2)) / np.prod(counted)
    pooled = jax.jit(pool, static_argnums=(1, 2))(images, rows, columns)
    assert (np.abs(pooled - expected) <= bound).all()


def test_the_gradient_of_a_tie_goes_to_the_first_maximum():
    window = Window.along(2, 2, 2, "valid")
    gradient = jax.grad(lambda x: max_pool(x, window, window).sum())(jnp.ones((1, 2, 2, 1)))
    np.testing.assert_array_equal(gradient.ravel(), [1, 0, 0, 0])


@pytest.mark.parametrize("pool", [max_pool, average_pool])
def test_pools_equal_xlas_own(pool):
    """Values and gradients of whole numbers, many of them equal: exactly but for the division by the count."""
    rows, columns = Window.along(9, 3, 2, 1, ceil=True), Window.along(8, 3, 2, 1, ceil=True)
    random = np.random.default_rng(0)
    images = random.integers(-3, 4, (2, 9, 8, 4)).astype(np.float32)
    gradient = random.integers(-3, 4, (2, rows.output, columns.output, 4)).astype(np.float32)

    def results(implementation):
        def value_and_gradient(images, gradient):
            value, pull = jax.vjp(lambda x: pool(x, rows, columns), images)
            return value, *pull(gradient)

        with ops.using(implementation):
            return jax.jit(value_and_gradient)(images, gradient)

    tolerance = 0 if pool is max_pool else 3 * gamma(11)  # of values up to 3
    for ours, theirs in zip(results("canonical"), results("lax"), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance)


def test_max_pool_lets_nan_and_infinity_through():
    window = Window.along(2, 2, 2, "valid")
    images = jnp.asarray([[jnp.nan, 1, 2, 3], [0, 1, jnp.nan, 3], [0, 1, 2, jnp.nan], [0, -jnp.inf, jnp.inf, 1]])
    pooled = max_pool(images.reshape(4, 2, 2, 1), window, window).ravel()
    np.testing.assert_array_equal(pooled, [jnp.nan, jnp.nan, jnp.nan, jnp.inf])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((4, 5, 1, "valid"), r"a window of 5 does not fit its input of 4: \(4 \+ 0 \+ 0 - 5\) / 1 \+ 1 = 0"),
        ((4, 3, 0, "valid"), "stride 0"),
        ((4, 3, 1, -1), "padding -1 must not be negative"),
        ((5, 3, 1, "valid", 3), "a window of 7 does not fit its input of 5"),
    ],
)
def test_a_window_that_cannot_be_is_refused_with_the_arithmetic(arguments, message):
    with pytest.raises(RequestError, match=message):
        Window.along(*arguments)
