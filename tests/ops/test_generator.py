"""Native code draws what jax.random draws, and seeds, splits and folds its keys alike."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from needs import required

from cnn_jax.ops import generator
from cnn_jax.ops.native import library

pytestmark = pytest.mark.skipif(not (library.available() or required("compiler")), reason="no compiler")


def keys(seed):
    """JAX's own key and the native one."""
    return [jax.random.key(seed, impl=impl) for impl in ("threefry2x32", generator("native"))]


def data(key):
    return np.asarray(jax.random.key_data(key))


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.lists(st.integers(0, 6), max_size=4).map(tuple))
def test_keys_are_made_alike(seed, number, shape):
    stock, native = keys(seed)
    np.testing.assert_array_equal(data(native), data(stock))
    np.testing.assert_array_equal(data(jax.random.fold_in(native, number)), data(jax.random.fold_in(stock, number)))
    np.testing.assert_array_equal(data(jax.random.split(native, shape)), data(jax.random.split(stock, shape)))


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0, 1, 7, 4096, 4097, 20_000]), st.sampled_from([8, 16, 32]))
def test_bits_are_the_same(seed, size, width):
    """Of sizes that fill the blocks which threads take, or not."""
    stock, native = keys(seed)
    np.testing.assert_array_equal(*(jax.random.bits(key, (size,), f"uint{width}") for key in (stock, native)))


def test_wide_bits_are_the_same():
    with jax.enable_x64(True):
        stock, native = keys(5)
        np.testing.assert_array_equal(*(jax.random.bits(key, (3, 5), "uint64") for key in (stock, native)))
        np.testing.assert_array_equal(*(jax.random.normal(key, (3, 5)) for key in (stock, native)))


def test_under_nested_vmaps_with_and_without_shared_keys():
    def draw(keys, numbers):
        def one(key, number):
            return jax.random.normal(jax.random.fold_in(key, number), (3, 2)), jax.random.bits(key, (5,))

        return jax.jit(jax.vmap(jax.vmap(one, (0, None)), (None, 0)))(jax.random.split(keys, 4), numbers)

    stock, native = (draw(key, jnp.arange(3)) for key in keys(1))
    jax.tree.map(np.testing.assert_array_equal, native, stock)


def test_more_numbers_than_native_code_counts_are_refused():
    with pytest.raises(ValueError, match="fewer than 2"):
        jax.jit(lambda key: jax.random.bits(key, (2**16, 2**16))).lower(keys(0)[1])


def test_each_implementation_has_its_own():
    assert generator("lax") == generator("canonical") == "threefry2x32"
    assert str(jax.random.key_impl(keys(0)[1])) != "threefry2x32"
