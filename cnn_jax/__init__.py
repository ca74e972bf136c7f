"""cnn_jax: a functional codebase for research on convolutional networks in JAX."""

__version__ = "0.1.0"
