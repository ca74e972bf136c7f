"""Converts weights of torchvision's AlexNet, VGG, ResNet, MobileNet, EfficientNet and ConvNeXt to variables of the same
networks here."""

from collections.abc import Mapping

import numpy as np

from cnn_jax.errors import RequestError
from cnn_jax.layers import BatchNorm, ChannelScale, Conv, Dense, Depthwise, LayerNorm, Residual, SqueezeExcite
from cnn_jax.network import Network, Variables
from cnn_jax.nodes import Node

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # torchvision's normalisation for ImageNet, images in 0..1

State = Mapping[str, np.ndarray]


def is_state_dict(names: Mapping[str, np.ndarray]) -> bool:
    """True if arrays have torchvision's names."""
    return any(name in names for name in ("features.0.weight", "layer1.0.conv1.weight", "features.0.0.weight"))


def variables_of(network: Network, state: State) -> Variables:
    """The variables of `network` from a state dict. Raises RequestError with the name of the first array that is
    missing or has another shape."""
    if "layer1.0.conv1.weight" in state:
        nodes = _residual_names(network)
    else:
        nodes = _names_in_order(network, state) if "features.0.0.weight" in state else _sequential_names(network)
    params, batch_stats = {}, {}
    for node, name in nodes:

        def of(what: str, shape: tuple[int, ...], name: str = name, layer: str = node.name) -> np.ndarray:
            key = f"{name}.{what}"
            if key not in state:
                raise RequestError(f"the state dict has no {key}, which would be {layer}'s")
            if [n for n in state[key].shape if n > 1] != [n for n in shape if n > 1]:  # a dense layer may be a 1x1
                raise RequestError(f"{key} has the shape {state[key].shape}, but {layer} needs {shape}")
            return np.asarray(state[key], np.float32).reshape(shape)

        layer, channels = node.layer, node.input[-1]
        if isinstance(layer, BatchNorm | LayerNorm):
            params[node.name] = {"scale": of("weight", (channels,)), "bias": of("bias", (channels,))}
            if isinstance(layer, BatchNorm):
                moments = {"mean": of("running_mean", (channels,)), "variance": of("running_var", (channels,))}
                batch_stats[node.name] = moments
            continue
        if isinstance(layer, ChannelScale):
            params[node.name] = {"factor": of("layer_scale", (channels,))}
            continue
        if isinstance(layer, SqueezeExcite):
            params[node.name] = {
                "reduce_kernel": of("fc1.weight", (layer.squeezed, channels)).T,
                "reduce_bias": of("fc1.bias", (layer.squeezed,)),
                "expand_kernel": of("fc2.weight", (channels, layer.squeezed)).T,
                "expand_bias": of("fc2.bias", (channels,)),
            }
            continue
        features = node.output[-1]
        if isinstance(layer, Conv | Depthwise):
            groups = channels if isinstance(layer, Depthwise) else layer.groups
            kernel = of("weight", (features, channels // groups, layer.size, layer.size)).transpose(2, 3, 1, 0)
        else:
            if not isinstance(layer, Dense):
                raise RequestError(f"torchvision has no layer like {node.name}")
            # Torch flattens (channels, height, width); here it is (height, width, channels).
            rows, columns, maps = node.input if len(node.input) == 3 else (1, 1, channels)
            flat = of("weight", (features, maps * rows * columns))
            kernel = flat.reshape(-1, maps, rows, columns).transpose(2, 3, 1, 0).reshape(-1, features)
        params[node.name] = {"kernel": np.ascontiguousarray(kernel)}
        if layer.bias:
            params[node.name]["bias"] = of("bias", (features,))
    return {"params": params, "batch_stats": batch_stats}


def _names_in_order(network: Network, state: State) -> list[tuple[Node, str]]:
    """MobileNet, EfficientNet, ConvNeXt: the modules in the order of the numbers in their names, which is that of
    execution, with the classifier last; fc1 and fc2 belong to one squeeze-and-excitation."""

    def module(key: str) -> str:
        name = key.rpartition(".")[0]
        return key if key.endswith(".layer_scale") else name.removesuffix(".fc1").removesuffix(".fc2")

    def order(name: str) -> tuple:
        words = [(int(word), "") if word.isdigit() else (-1, word) for word in name.split(".")]
        return (name.startswith("classifier"), words)

    modules = sorted({module(key) for key in state}, key=order)
    nodes = [part for node in network.walk() for part in node.parts if part.parameters]
    if len(modules) != len(nodes):
        raise RequestError(f"the state dict has {len(modules)} modules with weights, the network {len(nodes)}")
    return [(n, name.removesuffix(".layer_scale")) for n, name in zip(nodes, modules, strict=True)]


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
