"""Convolution and pooling as pure functions on NHWC arrays, and the window arithmetic that they share."""

from cnn_jax.ops.convolution import convolution
from cnn_jax.ops.pooling import average_pool, max_pool
from cnn_jax.ops.window import Padding, Window

__all__ = ["Padding", "Window", "average_pool", "convolution", "max_pool"]
