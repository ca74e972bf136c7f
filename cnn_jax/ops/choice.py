"""Which implementation of an operation is used, and why.

`lax` is XLA's own: the reference, and the one used on GPU and TPU. `canonical` is JAX in forms that XLA runs fast on a
CPU. `native` is the C++ in cnn_jax/ops/native, for float32 on a CPU. A compiled program keeps the implementation that
it was traced with.
"""

import contextlib
import contextvars
import os
from collections.abc import Iterator
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from cnn_jax.errors import RequestError
from cnn_jax.ops.native import library

Implementation = Literal["lax", "canonical", "native"]
IMPLEMENTATIONS = ("lax", "canonical", "native")
VARIABLE = "CNN_JAX_OPS"
MOST_TAPS = 255  # of a pooling window: the index of a tap is one byte, and one value is reserved for "no gradient"

_forced: contextvars.ContextVar[Implementation | None] = contextvars.ContextVar("forced", default=None)


class Choice(NamedTuple):
    """An implementation and the reason for choosing it."""

    implementation: Implementation
    reason: str


def resolve(wanted: str = "auto") -> Implementation:
    """The implementation of a program: `wanted`, else $CNN_JAX_OPS, else the best available for the default backend.

    Builds the native library if it is missing. Raises RequestError if `native` is requested but unavailable.
    """
    return _program(wanted).implementation


def _program(wanted: str = "auto") -> Choice:
    reason = "requested"
    if wanted == "auto":
        wanted, reason = os.environ.get(VARIABLE) or "auto", f"{VARIABLE} is set"
    if wanted == "auto":
        backend = jax.default_backend()
        if backend != "cpu":
            return Choice("lax", f"XLA's own are best on {backend}")
        if missing := library.unavailable_because():
            return Choice("canonical", f"no native operations: {missing}")
        return Choice("native", "fastest on a CPU")
    if wanted not in IMPLEMENTATIONS:
        raise RequestError(f"{VARIABLE} = {wanted!r} is unknown; there are auto, {', '.join(IMPLEMENTATIONS)}")
    if wanted == "native" and (missing := library.unavailable_because()):
        raise RequestError(f"the native operations are unavailable: {missing}")
    return Choice(wanted, reason)  # type: ignore[arg-type]


@contextlib.contextmanager
def using(implementation: Implementation) -> Iterator[None]:
    """Everything traced inside uses this implementation. (A function that was jitted earlier keeps its own.)"""
    token = _forced.set(resolve(implementation))
    try:
        yield
    finally:
        _forced.reset(token)


def choice(dtype: DTypeLike, taps: int = 1) -> Choice:
    """The implementation in the current context, for arrays of `dtype` and pooling windows of `taps` positions."""
    forced = _forced.get()
    best = Choice(forced, "requested") if forced else _program()
    if best.implementation == "native" and dtype != jnp.float32:
        best = Choice("canonical", "native operations know only float32")
    if best.implementation != "lax" and taps > MOST_TAPS:
        best = Choice("lax", f"a window of {taps} positions has no codes of one byte")
    return best


def chosen(dtype: DTypeLike, taps: int = 1) -> Implementation:
    """`choice` without the reason."""
    return choice(dtype, taps).implementation
