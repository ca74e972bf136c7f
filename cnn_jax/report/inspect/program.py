"""A network as a program for the browser (assets/compute.js): steps with their inputs, and the weights of each."""

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np

from cnn_jax.errors import RequestError
from cnn_jax.layers import (
    Activation,
    BatchNorm,
    Block,
    ChannelScale,
    Concatenate,
    Conv,
    Dense,
    Depthwise,
    Dropout,
    DropPath,
    Gate,
    GlobalPool,
    LeakyReLU,
    Pad,
    Pool,
    PReLU,
    Residual,
)
from cnn_jax.layers.core import STANDARDISED
from cnn_jax.network import Network, Variables
from cnn_jax.nodes import Node, Nodes

KNOWN = ("relu", "tanh", "stanh", "sigmoid", "gelu", "silu", "relu6", "elu", "hardsigmoid", "hardswish", "mish")
Step = dict[str, Any]
Arrays = dict[str, np.ndarray]


class ProgramWriter:
    """Collects the steps of a network. `value` counts from 0, the image."""

    def __init__(self, network: Network):
        self.network = network
        self.steps: list[Step] = []
        self.nodes: list[Node] = []  # of every step
        self._nodes(network.nodes, 0)

    def _nodes(self, nodes: Nodes, value: int) -> int:
        for node in nodes:
            value = self._block(node, value) if isinstance(node.layer, Block) else self._leaf(node, value)
        return value

    def _block(self, node: Node, value: int) -> int:
        ends = [self._nodes(branch, value) for branch in node.branches]
        if isinstance(node.layer, Concatenate):
            return self._step(node, "cat", ends)
        if not isinstance(node.layer, Residual):
            raise _unknown(node)
        short = self._nodes(node.projection, value)
        if node.layer.shortcut == "padA":
            before = (node.output[-1] - node.input[-1]) // 2
            short = self._embed(node, value, before=before, stride=node.layer.stride())
            self.steps[-1]["name"] += ", shortcut"  # the block's own name is that of its sum
        return self._step(node, "add", [*ends, short])

    def _leaf(self, node: Node, value: int) -> int:
        layer = node.layer
        if isinstance(layer, Dropout | DropPath):
            return value
        if isinstance(layer, Conv | Depthwise):
            groups = layer.groups if isinstance(layer, Conv) else node.input[-1]
            return self._step(node, "conv", [value], windows=_windows(node), groups=groups)
        if isinstance(layer, Pool):
            rows, columns = layer.windows(node.input)
            share = (1.0 / (rows.covered[:, None] * columns.covered[None])).ravel().tolist()
            return self._step(node, layer.kind, [value], windows=_windows(node), share=share)
        if isinstance(layer, Pad):
            return self._embed(node, value, border=layer.amount, fill=layer.value)
        if isinstance(layer, Dense):
            return self._step(node, "dense", [value], scale=layer.scale)
        if isinstance(layer, Activation) and layer.kind in KNOWN:
            return self._step(node, "activation", [value], function=layer.kind)
        for kinds, name in (((BatchNorm, ChannelScale, Gate), "affine"), ((LeakyReLU, PReLU), "leaky"),
                            ((GlobalPool,), "mean")):  # fmt: skip
            if isinstance(layer, kinds):
                return self._step(node, name, [value])
        raise _unknown(node)

    def _embed(
        self, node: Node, value: int, border: int = 0, before: int = 0, stride: int = 1, fill: float = 0.0
    ) -> int:
        return self._step(node, "embed", [value], border=border, before=before, stride=stride, fill=fill)

    def _step(self, node: Node, kind: str, inputs: Sequence[int], **facts: Any) -> int:
        self.steps.append({"name": node.name, "kind": kind, "inputs": list(inputs), "shape": list(node.output)} | facts)
        self.nodes.append(node)
        return len(self.steps)

    def arrays(self, variables: Variables) -> list[Arrays]:
        """The arrays of every step."""
        params, stats = variables["params"], variables.get("batch_stats", {})
        return [
            _arrays(node, step["kind"], params.get(node.name, {}), stats.get(node.name, {}))
            for node, step in zip(self.nodes, self.steps, strict=True)
        ]

    def program(self, variables: Variables) -> dict[str, Any]:
        """The network's input shape and its steps, with the place of each array among all weights, see `weights`."""
        start, steps = 0, []
        for step, arrays in zip(self.steps, self.arrays(variables), strict=True):
            places = {}
            for name, array in arrays.items():
                places[name] = [start, array.size]
                start += array.size
            steps.append(step | {"arrays": places})
        return {"shape": list(self.network.input_shape), "steps": steps}

    def weights(self, variables: Variables) -> str:
        """All weights as base64 of float32."""
        parts = [array.ravel() for arrays in self.arrays(variables) for array in arrays.values()]
        return base64.b64encode(np.concatenate(parts or [np.zeros(0)]).astype("<f4").tobytes()).decode()


def _unknown(node: Node) -> RequestError:
    return RequestError(f"{node.name} ({node.layer.kind}) does not run in a browser")


def _windows(node: Node) -> list[dict[str, int]]:
    return [
        {"size": axis.size, "stride": axis.stride, "low": axis.low, "dilation": axis.dilation}
        for axis in node.layer.windows(node.input) or ()
    ]


def _arrays(node: Node, kind: str, params: Any, stats: Any) -> Arrays:
    own = {name: np.asarray(value, np.float64) for name, value in params.items()}
    layer = node.layer
    if isinstance(layer, Conv) and kind == "conv":
        own["kernel"] = _dense_kernel(layer, node.input[-1], own["kernel"])
    elif isinstance(layer, Depthwise):
        own["kernel"] = own["kernel"].reshape(layer.size, layer.size, 1, node.output[-1])
    elif isinstance(layer, BatchNorm):
        factor = own.get("scale", 1.0) / np.sqrt(np.asarray(stats["variance"], np.float64) + layer.epsilon)
        own = {"factor": factor, "offset": own["bias"] - np.asarray(stats["mean"], np.float64) * factor}
    elif isinstance(layer, ChannelScale | Gate):
        own = {"factor": np.atleast_1d(own["factor"]), "offset": np.zeros(1)}
    elif isinstance(layer, LeakyReLU):
        own = {"slope": np.array([layer.slope])}
    return own


def _dense_kernel(layer: Conv, channels: int, kernel: np.ndarray) -> np.ndarray:
    if layer.connections is not None:
        pairs = [(channel, f) for f, seen in enumerate(layer.connections) for channel in seen]
        dense = np.zeros((*layer.sides, channels, layer.features))
        for number, (channel, f) in enumerate(pairs):
            dense[:, :, channel, f] = kernel[..., number]
        return dense
    if layer.standardised:
        kernel = kernel - kernel.mean((0, 1, 2))
        kernel = kernel / np.sqrt(np.square(kernel).mean((0, 1, 2)) + STANDARDISED)
    return kernel
