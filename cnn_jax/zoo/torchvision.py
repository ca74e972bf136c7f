"""Converts weights of torchvision's AlexNet, VGG and ResNet to variables of the same networks here."""

from collections.abc import Mapping

import numpy as np

from cnn_jax.errors import RequestError
from cnn_jax.layers import BatchNorm, Conv, Dense, Residual
from cnn_jax.network import Network, Variables
from cnn_jax.nodes import Node

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # torchvision's normalisation for ImageNet, images in 0..1

State = Mapping[str, np.ndarray]


def is_state_dict(names: Mapping[str, np.ndarray]) -> bool:
    """True if arrays have torchvision's names."""
    return "features.0.weight" in names or "layer1.0.conv1.weight" in names


def variables_of(network: Network, state: State) -> Variables:
    """The variables of `network` from a state dict. Raises RequestError with the name of the first array that is
    missing or has another shape."""
    nodes = _residual_names(network) if "layer1.0.conv1.weight" in state else _sequential_names(network)
    params, batch_stats = {}, {}
    for node, name in nodes:

        def of(what: str, shape: tuple[int, ...], name: str = name, layer: str = node.name) -> np.ndarray:
            key = f"{name}.{what}"
            if key not in state:
                raise RequestError(f"the state dict has no {key}, which would be {layer}'s")
            if state[key].shape != shape:
                raise RequestError(f"{key} has the shape {state[key].shape}, but {layer} needs {shape}")
            return np.asarray(state[key], np.float32)

        layer = node.layer
        if isinstance(layer, BatchNorm):
            channels = node.input[-1:]
            params[node.name] = {"scale": of("weight", channels), "bias": of("bias", channels)}
            batch_stats[node.name] = {"mean": of("running_mean", channels), "variance": of("running_var", channels)}
            continue
        if isinstance(layer, Conv):
            kernel = of("weight", (layer.features, node.input[-1] // layer.groups, layer.size, layer.size))
            kernel = kernel.transpose(2, 3, 1, 0)
        else:
            if not isinstance(layer, Dense):
                raise RequestError(f"torchvision has no layer like {node.name}")
            # Torch flattens (channels, height, width); here it is (height, width, channels).
            rows, columns, maps = node.input if len(node.input) == 3 else (1, 1, node.input[0])
            flat = of("weight", (layer.features, maps * rows * columns))
            kernel = flat.reshape(-1, maps, rows, columns).transpose(2, 3, 1, 0).reshape(-1, layer.features)
        params[node.name] = {"kernel": np.ascontiguousarray(kernel)}
        if layer.bias:
            params[node.name]["bias"] = of("bias", (layer.features,))
    return {"params": params, "batch_stats": batch_stats}


def _sequential_names(network: Network) -> list[tuple[Node, str]]:
    """AlexNet and VGG: features.<i> before the first dropout or dense layer, classifier.<i> from there on; i also
    counts the layers without weights."""
    nodes = list(network.nodes)
    first = next((i for i, node in enumerate(nodes) if node.layer.kind in ("drop", "dense")), len(nodes))
    names = [(node, f"features.{i}" if i < first else f"classifier.{i - first}") for i, node in enumerate(nodes)]
    return [(node, name) for node, name in names if node.parameters]


def _residual_names(network: Network) -> list[tuple[Node, str]]:
    """ResNets: conv1 and bn1, layer<stage>.<block>.conv<i> and .bn<i>, .downsample.0 and .1, fc. A stage begins at the
    first block and at every block with a projection shortcut."""
    names: list[tuple[Node, str]] = []
    stage = block = 0
    for node in network.nodes:
        if isinstance(node.layer, Residual):
            begins = stage == 0 or bool(node.projection)
            stage, block = (stage + 1, 0) if begins else (stage, block + 1)
            name = f"layer{stage}.{block}"
            names += [(inner, f"{name}.{numbered}") for inner, numbered in _numbered(node.body)]
            names += [(inner, f"{name}.downsample.{i}") for i, inner in enumerate(node.projection)]
        elif isinstance(node.layer, Dense):
            names.append((node, "fc"))
        elif node.parameters:
            names += _numbered((node,))
    return names


def _numbered(nodes: tuple[Node, ...]) -> list[tuple[Node, str]]:
    """conv1, bn1, conv2 … in order."""
    counts = {"conv": 0, "bn": 0}
    names = []
    for node in nodes:
        if node.layer.kind in counts:
            counts[node.layer.kind] += 1
            names.append((node, f"{node.layer.kind}{counts[node.layer.kind]}"))
    return names
