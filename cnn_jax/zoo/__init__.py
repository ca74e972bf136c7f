"""Named networks: published ones, each with its source and its exact parameter count, families by depth and width, and
your own."""

from cnn_jax.zoo.build import build, layers_of
from cnn_jax.zoo.catalogue import NETWORKS, Entry, register_network

__all__ = ["NETWORKS", "Entry", "build", "layers_of", "register_network"]
