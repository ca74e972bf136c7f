"""Trials whose networks differ in width, in one program: each is trained as a part of the union of all.

A narrow network is a wide one whose other weights are zero. For the layers of `Layer.zero_channels` the outputs and
derivatives of these weights are zero too, and optimizers that keep zeros (`Optimizer.keeps_zeros`) leave them so.
"""

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from cnn_jax.layers import Dense, Shape
from cnn_jax.network import Network
from cnn_jax.training.config import Config
from cnn_jax.training.state import Program, TrainState, state_shapes
from cnn_jax.training.trials import Transform


def union(programs: Sequence[Program], transform: Transform) -> Program | None:
    """The program that trains trials with these programs of single trials together; None if it would not be exact."""
    first, networks = programs[0], tuple(dict.fromkeys(program.network for program in programs))
    if any(dataclasses.replace(program, network=first.network) != first for program in programs):
        return None
    if len(networks) == 1:
        return dataclasses.replace(first, transform=transform)
    if first.noise or first.feedback:  # drawn for the shapes of a network
        return None
    network: Network | None = networks[0]
    for other in networks[1:]:
        network = network and network.union(other)
    if network is None or not first.optimizer.keeps_zeros:
        return None
    return dataclasses.replace(first, network=network, transform=transform, contained=networks)


def alone(config: Config, program: Program) -> Program:
    """The program of a single trial of a program."""
    return dataclasses.replace(program, network=program.network_of(config), transform=None, contained=())


def whole(program: Program) -> Program:
    """The program of a single trial of the union of all."""
    return dataclasses.replace(program, transform=None, contained=())


def widened(state: TrainState, config: Config, program: Program) -> TrainState:
    """The state of a single trial, with zeros for the weights that only the union has."""
    if not program.contained:
        return state
    split = functools.partial(_split_channels, _positions(program.network))

    def widen(path: tuple, leaf: Any, wide: jax.ShapeDtypeStruct) -> np.ndarray:
        if leaf.shape == wide.shape:
            return np.asarray(leaf)
        array = np.asarray(leaf).reshape(split(path, leaf.shape))
        pad = [(0, more - size) for size, more in zip(array.shape, split(path, wide.shape), strict=True)]
        return np.pad(array, pad).reshape(wide.shape)

    return jax.tree_util.tree_map_with_path(widen, state, state_shapes(config, whole(program)))


def narrowed(state: TrainState, config: Config, program: Program) -> TrainState:
    """The inverse of `widened`."""
    if not program.contained:
        return state
    split = functools.partial(_split_channels, _positions(program.network))

    def narrow(path: tuple, leaf: Any, narrow: jax.ShapeDtypeStruct) -> np.ndarray:
        array = np.asarray(leaf).reshape(split(path, leaf.shape))
        return array[tuple(map(slice, split(path, narrow.shape)))].reshape(narrow.shape)

    return jax.tree_util.tree_map_with_path(narrow, state, state_shapes(config, alone(config, program)))


def _positions(network: Network) -> dict[str, int]:
    """By the name of each dense layer that flattens its input, the number of positions of the input."""
    dense = [node for node in network.walk() if isinstance(node.layer, Dense) and len(node.input) == 3]
    return {node.name: math.prod(node.input[:2]) for node in dense}


def _split_channels(positions: dict[str, int], path: tuple, shape: Shape) -> Shape:
    """The shape in which channels have an axis of their own: the rows of the kernel of a dense layer that flattens its
    input are (positions, channels)."""
    names = [getattr(key, "key", None) for key in path[-2:]]
    if names[-1] == "kernel" and names[0] in positions and len(shape) == 2:
        return (positions[names[0]], shape[0] // positions[names[0]], shape[1])
    return shape
