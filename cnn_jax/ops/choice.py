"""Which implementation of an operation is used, and why.

`lax` is XLA's own, the reference, used on GPU and TPU. `canonical` is JAX too, in forms that XLA runs fast on a CPU.
`native` is the C++ in cnn_jax/ops/native, for float32 on a CPU. A program keeps the implementation it was traced with.
"""

import contextlib
import contextvars
import os
from collections.abc import Iterator
from typing import Literal

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from cnn_jax.errors import RequestError
from cnn_jax.ops.native import library

Implementation = Literal["lax", "canonical", "native"]
IMPLEMENTATIONS = ("lax", "canonical", "native")
VARIABLE = "CNN_JAX_OPS"

_forced: contextvars.ContextVar[Implementation | None] = contextvars.ContextVar("forced", default=None)


def resolve(wanted: str = "auto") -> Implementation:
    """The implementation of a whole program: `wanted`, else that of $CNN_JAX_OPS, else the best there is for the
    default backend. Builds the native library where it is missing; RequestError if it is demanded and cannot be had."""
    if wanted == "auto":
        wanted = os.environ.get(VARIABLE) or "auto"
    if wanted == "auto":
        if jax.default_backend() != "cpu":
            return "lax"
        return "native" if library.available() else "canonical"
    if wanted not in IMPLEMENTATIONS:
        raise RequestError(f"{VARIABLE} = {wanted!r} is unknown; there are auto, {', '.join(IMPLEMENTATIONS)}")
    if wanted == "native" and (reason := library.unavailable_because()):
        raise RequestError(f"the native operations cannot be had: {reason}")
    return wanted  # type: ignore[return-value]


@contextlib.contextmanager
def using(implementation: Implementation) -> Iterator[None]:
    """What is traced inside uses this implementation. (A function that was jitted before keeps its own.)"""
    token = _forced.set(resolve(implementation))
    try:
        yield
    finally:
        _forced.reset(token)


def chosen(dtype: DTypeLike) -> Implementation:
    """The implementation for arrays of `dtype` where this is called: native code knows only float32."""
    implementation = _forced.get() or resolve()
    if implementation == "native" and dtype != jnp.float32:
        return "canonical"
    return implementation
