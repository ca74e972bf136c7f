"""Every implementation of convolution and pooling against float64, and under every transformation of JAX."""

import concurrent.futures
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from commands import finish
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import PartitionSpec as P
from jax.test_util import check_grads

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


def operands(case, seed, dtype=np.float32):
    n, rows, columns, groups, channels, filters, *_ = case
    random = np.random.default_rng(seed)
    images = random.normal(size=(n, rows.length, columns.length, channels))
    kernel = random.normal(size=(rows.size, columns.size, channels // groups, filters))
    bias = random.normal(size=filters)
    return tuple(jnp.asarray(x.astype(np.float32).astype(dtype)) for x in (images, kernel, bias))


def relative(found, expected):
    """The largest error over the largest value."""
    if not expected.size:
        assert found.shape == expected.shape
        return 0.0
    return float(np.abs(np.asarray(found, np.float64) - expected).max() / max(np.abs(expected).max(), 1e-30))


def products(case, seed, implementation, dtype=np.float32):
    """Forward, images' gradient, kernel's gradient, for a random gradient of the maps."""
    _, rows, columns, groups, *_ = case
    images, kernel, _ = operands(case, seed, dtype)
    with ops.using(implementation):
        maps, pull = jax.vjp(lambda x, k: ops.convolution(x, k, rows, columns, groups), images, kernel)
        gradient = np.random.default_rng(seed + 1).normal(size=maps.shape).astype(np.float32).astype(dtype)
        return maps, *pull(jnp.asarray(gradient))


@every
@settings(max_examples=25, deadline=None)
@given(cases(), st.integers(0, 2**16))
def test_the_three_products_are_those_of_float64(implementation, case, seed):
    """Error at most 1e-5, and at most 8 times that of XLA's own."""
    with jax.enable_x64(True):
        exact = [np.asarray(x) for x in products(case, seed, "lax", np.float64)]
    ours, theirs = products(case, seed, implementation), products(case, seed, "lax")
    for mine, other, truth in zip(ours, theirs, exact, strict=True):
        assert mine.dtype == jnp.float32
        assert relative(mine, truth) <= max(8 * relative(other, truth), 5e-7)
        assert relative(mine, truth) <= 1e-5


@every
@settings(max_examples=25, deadline=None)
@given(cases(), st.integers(0, 2**16))
def test_bias_relu_and_pool_in_one_are_the_three_one_after_another(implementation, case, seed):
    """Values to rounding, the same decisions (whole numbers, so that ties are many and sums exact), and gradients."""
    _, rows, columns, groups, *_, pool, rectify = case
    whole = tuple(jnp.round(x) for x in operands(case, seed))
    windows = [Window.along(axis.output, pool, pool, "valid") for axis in (rows, columns)]

    def fused(images, kernel, bias):
        return ops.convolution_pooled(images, kernel, bias, rows, columns, groups, pool, rectify)

    def apart(images, kernel, bias):
        maps = ops.convolution(images, kernel, rows, columns, groups) + bias
        return ops.max_pool(jax.nn.relu(maps) if rectify else maps, *windows)

    with jax.numpy_rank_promotion("allow"):
        results = []
        for function, how in ((fused, implementation), (apart, implementation), (apart, "lax")):
            with ops.using(how):
                pooled, pull = jax.vjp(function, *whole)
                gradient = np.round(np.random.default_rng(seed + 1).normal(size=pooled.shape, scale=4))
                results.append((pooled, *pull(gradient.astype(np.float32))))
    for ours, apart_ours, reference in zip(*results, strict=True):
        np.testing.assert_array_equal(ours, reference)
        np.testing.assert_array_equal(apart_ours, reference)


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


def loss(images, kernel, bias, rows, columns):
    pooled = ops.convolution_pooled(images, kernel, bias, rows, columns, 1, 2, True)
    window = Window.along(pooled.shape[1], 3, 1, "same")
    # (A sine of large numbers would make much of their rounding.)
    return jnp.sin(ops.convolution(pooled, kernel[:, :, :1].repeat(4, 2), window, window) / 16).sum()


CASE = (3, Window.along(8, 3, 1, "same"), Window.along(8, 3, 1, "same"), 1, 2, 4, 2, True)
with_loss = functools.partial(loss, rows=CASE[1], columns=CASE[2])


def outcomes():
    """The loss under every transformation, by name."""
    images, kernel, bias = operands(CASE, 0)
    more_images, more_kernels = (jnp.stack([x, 2 * x, -x]) for x in (images, kernel))
    gradient = jax.grad(with_loss, (0, 1, 2))
    tangents = (images[::-1], kernel[::-1], bias[::-1])
    yield "jit", jax.jit(gradient)(images, kernel, bias)
    yield "vmap of data", jax.vmap(gradient, (0, None, None))(more_images, kernel, bias)
    yield "vmap of weights", jax.vmap(gradient, (None, 0, None))(images, more_kernels, bias)
    yield "vmap of both", jax.vmap(gradient, (0, 0, None))(more_images, more_kernels, bias)
    nested = jax.vmap(jax.vmap(gradient, (None, 0, None)), (0, None, None))
    yield "nested vmap", nested(more_images, more_kernels, bias)
    outside = jax.grad(lambda *x: jax.vmap(with_loss, (0, None, None))(*x).sum(), (0, 1, 2))
    yield "grad of vmap", outside(more_images, kernel, bias)
    yield "scan", jax.lax.scan(lambda k, x: (k - 1e-3 * gradient(x, k, bias)[1], k.sum()), kernel, more_images)
    yield "map", jax.lax.map(lambda x: gradient(x, kernel, bias), more_images)
    yield "remat", jax.grad(jax.checkpoint(with_loss), (0, 1, 2))(images, kernel, bias)
    yield "forward mode", jax.jvp(with_loss, (images, kernel, bias), tangents)
    yield "forward over reverse", jax.jvp(gradient, (images, kernel, bias), tangents)
    of_gradient = jax.grad(lambda k: jnp.square(gradient(images, k, bias)[1]).sum())
    yield "grad of grad", of_gradient(kernel)
    yield "jacfwd", jax.jacfwd(gradient, 2)(images, kernel, bias)
    mesh = jax.make_mesh((8,), ("batch",), (jax.sharding.AxisType.Auto,))
    spread = jnp.concatenate([images, images, images])[:8]
    each = jax.shard_map(
        lambda x: jax.lax.psum(gradient(x, kernel, bias)[1], "batch"), mesh=mesh, in_specs=P("batch"), out_specs=P(),
        check_vma=False,
    )  # fmt: skip
    yield "shard_map", jax.jit(each)(spread)


@every
def test_every_transformation_gives_what_it_gives_on_xlas_own(implementation):
    with ops.using("lax"):
        expected = dict(outcomes())
    with ops.using(implementation):
        for name, found in outcomes():
            for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected[name]), strict=True):
                np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=2e-5, err_msg=name)


@every
def test_gradients_are_the_numeric_ones(implementation):
    """To the second order, forward and reverse, away from the kinks of relu and maximum."""
    images, kernel, _ = operands(CASE, 0)
    smooth = functools.partial(ops.convolution, rows=CASE[1], columns=CASE[2])
    with ops.using(implementation):
        check_grads(lambda *x: jnp.tanh(0.1 * smooth(*map(jnp.asarray, x))), (images, kernel), 2, atol=0.05, rtol=0.05)


@every
def test_max_pool_of_any_window_is_xlas_own(implementation):
    """Overlapping, padded, rounded up: values and gradients, and under vmap."""
    rows, columns = Window.along(9, 3, 2, 1, ceil=True), Window.along(8, 3, 2, 1, ceil=True)
    images = jax.random.normal(jax.random.key(0), (2, 3, 9, 8, 5))

    def value_and_gradient(x):
        return jax.value_and_grad(lambda x: jnp.sin(ops.max_pool(x, rows, columns)).sum())(x)

    with ops.using(implementation):
        ours = jax.vmap(value_and_gradient)(images)
    with ops.using("lax"):
        theirs = jax.vmap(value_and_gradient)(images)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), ours, theirs)


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
    gradient = jax.grad(lambda x, k, b: jnp.square(loss(x, k, b, *CASE[1:3])).sum(), (0, 1))
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
        gradient = jax.jit(jax.grad(with_loss, (0, 1, 2)))
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
    found = {finish("-c", SUMS, NPROC=str(threads))[1] for threads in (1, 2, 3, 7)}
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
