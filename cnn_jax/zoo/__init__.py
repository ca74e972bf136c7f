"""The published networks by name, each with its source and its exact count of parameters."""

from cnn_jax.zoo.catalogue import ZOO, Entry, get

__all__ = ["ZOO", "Entry", "get"]
