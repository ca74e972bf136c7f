"""The published networks by name, each with its source and its exact count of parameters."""

from cnn_jax.zoo.build import build, layers_of
from cnn_jax.zoo.catalogue import ZOO, Entry, get

__all__ = ["ZOO", "Entry", "build", "get", "layers_of"]
