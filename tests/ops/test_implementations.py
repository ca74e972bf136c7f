"""Every implementation of convolution and pooling against float64, and under every transformation of JAX."""

import concurrent.futures
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from commands import finish
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import PartitionSpec as P
from jax.test_util import check_grads
from rounding import gamma

from cnn_jax import ops
from cnn_jax.ops import Window, canonical
from cnn_jax.ops.native import library

OURS = ["canonical", pytest.param("native", marks=pytest.mark.skipif(not library.available(), reason="no compiler"))]
every = pytest.mark.parametrize("implementation", OURS)


@st.composite
def cases(draw):
    """A convolution of any geometry: (n, rows, columns, groups, channels, filters, pool, rectify)."""
    axes = []
    size = (draw(st.integers(1, 5)), draw(st.integers(1, 5)))
    for k in size:
        stride, dilation = draw(st.integers(1, 3)), draw(st.sampled_from([1, 1, 2]))
        low, high = draw(st.integers(0, 3)), draw(st.integers(0, 3))
        extent = (k - 1) * dilation + 1
        length = draw(st.integers(max(1, extent - low - high), extent + 9))
        axes.append(Window(length, k, stride, dilation, low, high))
    groups = draw(st.sampled_from([1, 1, 1, 2, 3]))
    most = 70 // groups
    channels, filters = (groups * draw(st.sampled_from([1, 2, 3, 6, 16, 17, most])) for _ in range(2))
    pool = draw(st.integers(1, min(3, axes[0].output, axes[1].output)))
    return draw(st.sampled_from([0, 1, 3, 9])), *axes, groups, channels, filters, pool, draw(st.booleans())


def operands(case, seed):
    n, rows, columns, groups, channels, filters, *_ = case
    random = np.random.default_rng(seed)
    images = random.normal(size=(n, rows.length, columns.length, channels))
    kernel = random.normal(size=(rows.size, columns.size, channels // groups, filters))
    bias = random.normal(size=filters)
    return tuple(x.astype(np.float32) for x in (images, kernel, bias))


@every
@settings(max_examples=25, deadline=None)
@given(cases(), st.integers(0, 2**16))
def test_the_three_products_are_those_of_float64(implementation, case, seed):
    """To the rounding of a sum of as many products, whatever its order."""
    n, rows, columns, groups, channels, filters, *_ = case
    images, kernel, _ = operands(case, seed)
    gradient = np.random.default_rng(seed + 1).normal(size=(n, rows.output, columns.output, filters))
    arrays = images, kernel, gradient.astype(np.float32)

    @jax.jit
    def products(images, kernel, gradient):
        maps, pull = jax.vjp(lambda x, k: ops.convolution(x, k, rows, columns, groups), images, kernel)
        return maps, *pull(gradient)

    with ops.using(implementation):
        results = products(*arrays)
    exact = reference.products(*arrays, rows, columns, groups)
    absolute = reference.products(*map(np.abs, arrays), rows, columns, groups)
    taps = rows.size * columns.size
    lengths = taps * channels // groups, taps * filters // groups, n * rows.output * columns.output
    for result, truth, size, length in zip(results, exact, absolute, lengths, strict=True):
        assert (result.dtype, result.shape) == (jnp.float32, truth.shape)
        assert (np.abs(np.asarray(result, np.float64) - truth) <= gamma(length) * size).all()


@pytest.mark.parametrize("implementation", [pytest.param("canonical", marks=pytest.mark.slow), *OURS[1:]])
@settings(max_examples=25, deadline=None)
@given(cases(), st.integers(0, 2**16))
def test_bias_relu_and_pool_in_one_are_the_three_one_after_another(implementation, case, seed):
    """Of whole numbers, so that sums are exact and ties are many: values, decisions and gradients are the same."""
    _, rows, columns, groups, *_, pool, rectify = case
    images, kernel, bias = map(np.round, operands(case, seed))
    windows = [Window.along(axis.output, pool, pool, "valid") for axis in (rows, columns)]

    def fused(images, kernel, bias):
        return ops.convolution_pooled(images, kernel, bias, rows, columns, groups, pool, rectify)

    def apart(images, kernel, bias):
        maps = ops.convolution(images, kernel, rows, columns, groups) + bias
        return ops.max_pool(jax.nn.relu(maps) if rectify else maps, *windows)

    maps = reference.convolution(images, kernel, rows, columns, groups) + bias
    values = np.maximum(maps, 0) if rectify else maps
    pooled, positions = reference.max_pool(values, pool)
    gradient = np.round(np.random.default_rng(seed + 1).normal(size=pooled.shape, scale=4)).astype(np.float32)
    to_maps = reference.unpool(gradient, positions, pool, maps.shape)
    if rectify:
        to_maps = np.where(maps > 0, to_maps, 0)
    _, to_images, to_kernel = reference.products(images, kernel, to_maps, rows, columns, groups)
    expected = pooled, to_images, to_kernel, to_maps.sum((0, 1, 2))

    def with_gradients(function, *arrays):
        value, pull = jax.vjp(function, *arrays)
        return value, *pull(gradient)

    with jax.numpy_rank_promotion("allow"), ops.using(implementation):
        for function in (fused, apart):
            results = jax.jit(functools.partial(with_gradients, function))(images, kernel, bias)
            for result, truth in zip(results, expected, strict=True):
                np.testing.assert_array_equal(result, truth, err_msg=function.__name__)


@every
def test_nan_and_infinity_pass_through(implementation):
    window, pool = Window.along(6, 3, 1, "same"), Window.along(6, 2, 2, "valid")
    kernel = jnp.ones((3, 3, 1, 2))
    for special in (np.nan, np.inf, -np.inf):
        images = jnp.zeros((1, 6, 6, 1)).at[0, 2, 2].set(special)
        with ops.using(implementation):
            maps = ops.convolution(images, kernel, window, window)
            fused = ops.convolution_pooled(images, kernel, jnp.zeros(2), window, window, 1, 2, True)
        expected = jax.nn.relu(maps)
        np.testing.assert_array_equal(maps[0, 1:4, 1:4], np.full((3, 3, 2), special))
        with ops.using("lax"):
            np.testing.assert_array_equal(fused, ops.max_pool(expected, pool, pool))
            np.testing.assert_array_equal(fused, jnp.maximum(ops.max_pool(maps, pool, pool), 0))


CASE = (3, Window.along(8, 3, 1, "same"), Window.along(8, 3, 1, "same"), 1, 2, 4, 2, True)


def loss(images, kernel, bias):
    _, rows, columns, groups, *_, pool, rectify = CASE
    pooled = ops.convolution_pooled(images, kernel, bias, rows, columns, groups, pool, rectify)
    window = Window.along(pooled.shape[1], 3, 1, "same")
    return jnp.square(ops.convolution(pooled, kernel[:, :, :1].repeat(4, 2), window, window)).sum()


def whole_numbers(seed, *shapes):
    """-1, 0 and 1: what is added and multiplied of them stays a whole number below 2^24, so exact in float32."""
    random = np.random.default_rng(seed)
    return tuple(jnp.asarray(random.integers(-1, 2, shape).astype(np.float32)) for shape in shapes)


@jax.jit
def transformed(images, kernel, bias, weights):
    """Derivatives of the loss under every transformation, by name."""
    more_images, more_kernels = (jnp.stack([x, 2 * x, -x]) for x in (images, kernel))
    gradient = jax.grad(loss, (0, 1, 2))
    results = {}
    tangents = (images[::-1], kernel[::-1], bias[::-1])
    results["grad"] = gradient(images, kernel, bias)
    results["vmap of data"] = jax.vmap(gradient, (0, None, None))(more_images, kernel, bias)
    results["vmap of weights"] = jax.vmap(gradient, (None, 0, None))(images, more_kernels, bias)
    results["vmap of both"] = jax.vmap(gradient, (0, 0, None))(more_images, more_kernels, bias)
    nested = jax.vmap(jax.vmap(gradient, (None, 0, None)), (0, None, None))
    results["nested vmap"] = nested(more_images, more_kernels, bias)
    outside = jax.grad(lambda *x: jax.vmap(loss, (0, None, None))(*x).sum(), (0, 1, 2))
    results["grad of vmap"] = outside(more_images, kernel, bias)
    results["scan"] = jax.lax.scan(
        lambda k, x: (jnp.sign(gradient(x, k, bias)[1]), loss(x, k, bias)), kernel, more_images
    )
    results["map"] = jax.lax.map(lambda x: gradient(x, kernel, bias), more_images)
    results["remat"] = jax.grad(jax.checkpoint(loss), (0, 1, 2))(images, kernel, bias)
    results["forward mode"] = jax.jvp(loss, (images, kernel, bias), tangents)
    results["forward over reverse"] = jax.jvp(gradient, (images, kernel, bias), tangents)
    results["reverse over reverse"] = jax.grad(lambda k: (gradient(images, k, bias)[1] * weights).sum())(kernel)
    results["jacfwd"] = jax.jacfwd(gradient, 2)(images, kernel, bias)
    mesh = jax.make_mesh((8,), ("batch",), (jax.sharding.AxisType.Auto,))
    spread = jnp.concatenate([images, images, images])[:8]
    each = jax.shard_map(
        lambda x: jax.lax.psum(gradient(x, kernel, bias)[1], "batch"), mesh=mesh, in_specs=P("batch"), out_specs=P(),
        check_vma=False,
    )  # fmt: skip
    results["shard_map"] = each(spread)
    return results


@pytest.fixture(scope="module")
def arrays():
    return [np.asarray(x) for x in whole_numbers(0, (3, 8, 8, 2), (3, 3, 2, 4), (4,), (3, 3, 2, 4))]


@pytest.fixture(scope="module")
def exact(arrays):
    with jax.enable_x64(True), ops.using("lax"):
        return jax.device_get(transformed(*(x.astype(np.float64) for x in arrays)))


@every
def test_every_transformation_gives_what_float64_gives(implementation, arrays, exact):
    """Exactly, since all sums are exact in any order, and with the same decisions where values tie."""
    transformed.clear_cache()
    with ops.using(implementation):
        results = transformed(*arrays)
    for name, truths in exact.items():
        for ours, truth in zip(jax.tree.leaves(results[name]), jax.tree.leaves(truths), strict=True):
            assert ours.dtype == jnp.float32
            np.testing.assert_array_equal(ours, truth, err_msg=name)
            assert (ours != 0).any(), name


@every
def test_gradients_are_the_numeric_ones(implementation):
    """To the second order, forward and reverse, away from the kinks of relu and maximum."""
    images, kernel, _ = operands(CASE, 0)
    smooth = functools.partial(ops.convolution, rows=CASE[1], columns=CASE[2])
    with ops.using(implementation):
        check_grads(lambda *x: jnp.tanh(0.1 * smooth(*map(jnp.asarray, x))), (images, kernel), 2, atol=0.05, rtol=0.05)


@every
def test_max_pool_of_any_window_is_xlas_own(implementation):
    """Overlapping, padded, rounded up: values and gradients, and under vmap. Of whole numbers, so that many tie and
    sums are exact."""
    rows, columns = Window.along(9, 3, 2, 1, ceil=True), Window.along(8, 3, 2, 1, ceil=True)
    images, gradients = whole_numbers(0, (2, 3, 9, 8, 5), (2, 3, rows.output, columns.output, 5))

    def value_and_gradient(images, gradient):
        maps, pull = jax.vjp(lambda x: ops.max_pool(x, rows, columns), images)
        return maps, *pull(gradient)

    with ops.using(implementation):
        ours = jax.vmap(value_and_gradient)(images, gradients)
    with ops.using("lax"):
        theirs = jax.vmap(value_and_gradient)(images, gradients)
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)


@every
def test_a_window_over_padding_alone_is_minus_infinity(implementation):
    window = Window(2, 1, 1, 1, 1, 0)
    with ops.using(implementation):
        pooled = ops.max_pool(jnp.ones((1, 2, 2, 3)), window, window)
    assert np.isneginf(pooled[0, 0]).all()
    assert (pooled[0, 1:, 1:] == 1).all()


def test_a_trial_among_others_is_bit_for_bit_the_trial_alone():
    """In the native operations, so that a stack of trials differs only by what XLA makes of the rest."""
    images, kernel, bias = operands((9, *CASE[1:]), 3)
    stacked = jnp.stack([kernel, jnp.full_like(kernel, jnp.nan), 1e30 * kernel])
    gradient = jax.grad(lambda x, k, b: jnp.square(loss(x, k, b)).sum(), (0, 1))
    if not library.available():
        pytest.skip("no compiler")
    with ops.using("native"):
        alone = jax.jit(gradient)(images, kernel, bias)
        among = jax.jit(jax.vmap(gradient, (None, 0, None)))(images, stacked, bias)
    for one, all_three in zip(alone, among, strict=True):
        np.testing.assert_array_equal(all_three[0], one)


@every
def test_many_threads_at_once_get_what_one_gets(implementation):
    images, kernel, bias = operands((16, *CASE[1:]), 1)
    with ops.using(implementation):
        gradient = jax.jit(jax.grad(loss, (0, 1, 2)))
        expected = gradient(images, kernel, bias)
        with concurrent.futures.ThreadPoolExecutor(8) as threads:
            for found in threads.map(lambda _: gradient(images, kernel, bias), range(64)):
                jax.tree.map(np.testing.assert_array_equal, found, expected)


SUMS = """
import hashlib, jax, numpy as np
from cnn_jax import ops
from cnn_jax.ops import Window
random = np.random.default_rng(0)
digest = hashlib.sha256()
for n, size, c, f, pool in ((67, 11, 3, 24, 2), (16, 8, 64, 130, 1), (5, 9, 1, 6, 3)):
    w = Window.along(size, 3, 1, "same")
    x, k = (random.normal(size=s).astype("f") for s in ((n, size, size, c), (3, 3, c, f)))
    y, pull = jax.vjp(lambda x, k: ops.convolution_pooled(x, k, k[0, 0, 0], w, w, 1, pool, True), x, k)
    for value in (y, *pull(y)):
        digest.update(np.asarray(value).tobytes())
print(ops.resolve(), digest.hexdigest())
"""


def test_sums_do_not_depend_on_the_number_of_threads():
    found = {finish("-c", SUMS, NPROC=str(threads))[1] for threads in (1, 2, 7)}
    assert len(found) == 1
    assert found.pop().strip()


def test_a_group_of_codes_is_bounded():
    """A pool of more positions than a byte can number is XLA's own."""
    window = Window.along(16, 16, 16, "valid")
    assert ops.choice(jnp.float32, 256).implementation == "lax"
    images = jax.random.normal(jax.random.key(0), (1, 16, 16, 1))
    assert ops.max_pool(images, window, window).ravel()[0] == images.max()


def test_codes_in_jax_are_first_maxima():
    window = Window.along(2, 2, 2, "valid")
    images = jnp.array([[3, 3, 1, 3], [1, 2, jnp.nan, jnp.nan], [0, 1, 2, 2]]).reshape(3, 2, 2, 1)
    _, codes = canonical.max_pool(images, window, window)
    assert codes.ravel().tolist() == [0, 2, 2]
