"""cnn-jax ops: shows which implementation of convolution and pooling is used where, and why."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
from tyro.conf import Positional

from cnn_jax import ops, runtime
from cnn_jax.cli import common
from cnn_jax.cli.describe import network_of
from cnn_jax.forward import fusion
from cnn_jax.layers import Conv, Pool, Subsample
from cnn_jax.network import Network
from cnn_jax.nodes import Node
from cnn_jax.ops.native import library


@dataclass(frozen=True, kw_only=True)
class Ops(common.Common):
    """Shows which implementation of convolution and pooling is used where, and why; builds the native one.

    For example: cnn-jax ops lenet5
    """

    network: Positional[str] = ""
    """A network in the notation (quoted), or a registered name."""
    input: str | None = None
    """Input shape HxWxC, e.g. 28x28x1; not needed for published networks."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Type of the activations."""
    json: bool = False
    """Print JSON."""


def command(arguments: Sequence[str]) -> None:
    """Builds the native operations if they are missing, and prints the implementations."""
    parsed = common.parse(Ops, arguments, "cnn-jax ops")
    dtype = jnp.dtype(parsed.dtype)
    default = ops.choice(dtype)
    missing = library.unavailable_because()
    report: dict[str, Any] = {
        "backend": jax.default_backend(),
        "implementation": default.implementation,
        "reason": default.reason,
        "native": missing or str(library.build()),
        "vectors": library.vectors(),
        "settings": list(runtime.settings()),
    }
    if parsed.network:
        report["layers"] = operations(network_of(parsed.network, parsed.input), dtype)
    if parsed.json:
        print(json.dumps(report, indent=2))
        return
    for name in ("backend", "implementation", "reason", "native", "vectors", "settings"):
        value = report[name]
        print(f"{name:<15} {', '.join(value) if isinstance(value, list) else value}")
    for layer in report.get("layers", []):
        print(f"{' + '.join(layer['names']):<24} {layer['implementation']:<10} {layer['reason']}")


def operations(network: Network, dtype: jnp.dtype) -> list[dict[str, Any]]:
    """For every convolution and pool in order of execution: the layers fused into one operation, its implementation
    and the reason."""
    rows: list[dict[str, Any]] = []

    def visit(nodes: tuple[Node, ...]) -> None:
        at = 0
        while at < len(nodes):
            count, fused = fusion(nodes[at:])
            node = nodes[at]
            if isinstance(node.layer, Conv | Pool | Subsample):
                taps = fused.get("pool", 1) ** 2 if isinstance(node.layer, Conv) else node.layer.size**2
                choice = ops.choice(dtype, taps)
                if choice.implementation == "native" and (
                    isinstance(node.layer, Subsample) or node.layer.kind == "avg"
                ):
                    choice = choice._replace(implementation="canonical", reason="averages are plain sums in JAX")
                names = [fused_node.name for fused_node in nodes[at : at + count]]
                rows.append({"names": names, **choice._asdict()})
            for branch in (*node.branches, node.projection):
                visit(branch)
            at += count

    visit(network.nodes)
    return rows
