"""The networks with names: the published ones, each with its source and its exact count of parameters, families by
depth and width, and a researcher's own."""

from cnn_jax.zoo.build import build, layers_of
from cnn_jax.zoo.catalogue import NETWORKS, Entry, register_network

__all__ = ["NETWORKS", "Entry", "build", "layers_of", "register_network"]
