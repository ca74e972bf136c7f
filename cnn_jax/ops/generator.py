"""The random numbers of a program: those of JAX's threefry2x32 (salmon2011parallel), on a CPU by native code.

XLA takes 0.1 to 0.3 s to compile each use of the generator for a CPU, of which the initial weights of a deep network
have hundreds; a call of native code takes nothing. (For a GPU, JAX calls native code of its own.)
"""

import math
from collections.abc import Hashable

import jax
import jax.extend
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from cnn_jax.ops.choice import Implementation

STOCK = jax.extend.random.threefry_prng_impl


def generator(implementation: Implementation) -> Hashable:
    """The generator of a program, an `impl` for `jax.random.key`. All of them give the same numbers, bit for bit."""
    partitionable = jax.config.values.get("jax_threefry_partitionable", True)  # else JAX counts otherwise
    return NATIVE if implementation == "native" and partitionable else STOCK.name


def with_generator(key: Array, implementation: Implementation) -> Array:
    """`key` for the generator of that implementation: what is drawn with it stays the same. A key for another of JAX's
    generators, which draw other numbers, is returned as it is."""
    if jax.random.key_impl(key) not in (STOCK.name, NATIVE):
        return key
    return jax.random.wrap_key_data(jax.random.key_data(key), impl=generator(implementation))


def _encipher(key: Array, counters: Array) -> Array:
    """The words (2, n) of the counters (2, n), high words before low ones, under a key (2,)."""
    call = jax.ffi.ffi_call(
        "cnn_threefry", jax.ShapeDtypeStruct(counters.shape, counters.dtype), vmap_method="expand_dims"
    )
    return call(key, counters)


def _stream(key: Array, shape: tuple[int, ...]) -> Array:
    """The words (2, *shape) of positions in an array."""
    size = math.prod(shape)
    if size >= 2**32:
        raise ValueError(f"{shape}: native code draws fewer than 2^32 numbers at a time")
    low = jnp.arange(size, dtype=jnp.uint32)
    return _encipher(key, jnp.stack([jnp.zeros_like(low), low])).reshape(2, *shape)


def _fold_in(key: Array, data: ArrayLike) -> Array:
    return _encipher(key, STOCK.seed(jnp.asarray(data, jnp.uint32))[:, None])[:, 0]


def _split(key: Array, shape: tuple[int, ...]) -> Array:
    return jnp.moveaxis(_stream(key, shape), 0, -1)


def _random_bits(key: Array, width: int, shape: tuple[int, ...]) -> Array:
    high, low = _stream(key, shape)
    if width == 64:
        return high.astype(jnp.uint64) << 32 | low.astype(jnp.uint64)
    return (high ^ low).astype(f"uint{width}")


NATIVE = jax.extend.random.define_prng_impl(
    key_shape=(2,),
    seed=STOCK.seed,
    split=_split,
    random_bits=_random_bits,
    fold_in=_fold_in,
    name=f"{STOCK.name} in native code",
    tag=f"{STOCK.tag}n",
)
