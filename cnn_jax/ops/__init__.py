"""Convolution, pooling and channel normalisation as pure functions on NHWC arrays, and their window arithmetic."""

from cnn_jax.ops.choice import IMPLEMENTATIONS, Implementation, choice, resolve, using
from cnn_jax.ops.convolution import convolution, convolution_pooled
from cnn_jax.ops.generator import generator, with_generator
from cnn_jax.ops.norm import affine, moments
from cnn_jax.ops.pooling import average_pool, max_pool
from cnn_jax.ops.window import Padding, Window

__all__ = [
    "IMPLEMENTATIONS", "Implementation", "Padding", "Window", "affine", "average_pool", "choice", "convolution",
    "convolution_pooled", "generator", "max_pool", "moments", "resolve", "using", "with_generator",
]  # fmt: skip
