"""How much memory a training step takes, and how much there is: estimates by arithmetic."""

import math
import os

from cnn_jax.network import Network
from cnn_jax.training.devices import home_device


def step_bytes(network: Network, batch_size: int) -> int:
    """An estimate of the peak memory of a training step of one trial, in bytes: parameters, their gradient, two slots
    of the optimizer, and the activations with their gradients."""
    activations = math.prod(network.input_shape) + sum(math.prod(node.output) for node in network.walk())
    return 4 * (5 * network.parameters + 2 * batch_size * activations)


def free_bytes() -> int:
    """Free memory of the home device in bytes."""
    stats = home_device().memory_stats() or {}
    if "bytes_limit" in stats:
        return stats["bytes_limit"] - stats["bytes_in_use"]
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def largest_batch(network: Network, devices: int, free: int) -> int:
    """The largest batch, a power of 2 of examples on each of the devices, whose step takes by the estimate at most
    `free` bytes of each; 0 if none does."""
    each = 1
    while step_bytes(network, 2 * each) <= free:
        each *= 2
    return each * devices if step_bytes(network, each) <= free else 0
