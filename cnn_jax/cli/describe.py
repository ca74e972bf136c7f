"""cnn-jax describe: prints shapes, receptive fields, parameters and multiply-adds of a network, layer by layer."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from tyro.conf import Positional

from cnn_jax import geometry
from cnn_jax.cli import common
from cnn_jax.errors import RequestError, quote
from cnn_jax.network import Network
from cnn_jax.zoo import NETWORKS, build, layers_of


@dataclass(frozen=True, kw_only=True)
class Describe(common.Common):
    """Prints shapes, receptive fields, parameters and multiply-adds of a network, layer by layer.

    For example: cnn-jax describe "conv3-16:same relu max2 dense-10" --input 28x28x1
    """

    network: Positional[str]
    """A network in the notation (quoted), or a registered name."""
    input: str | None = None
    """Input shape HxWxC, e.g. 28x28x1; not needed for published networks."""
    json: bool = False
    """Print JSON."""


def command(arguments: Sequence[str]) -> None:
    parsed = common.parse(Describe, arguments, "cnn-jax describe")
    described = geometry.describe(network_of(parsed.network, parsed.input))
    if parsed.json:
        print(json.dumps(described, indent=2))
        return
    rows = [("layer", "output", "receptive field", "jump", "parameters", "multiply-adds")]
    for layer in described["layers"]:
        counts = f"{layer['parameters']:,}", f"{layer['multiply_adds']:,}"
        rows.append((layer["name"], _by(layer["output"]), _by(layer["receptive_field"]), _by(layer["jump"]), *counts))
    rows.append(("total", "", "", "", f"{described['parameters']:,}", f"{described['multiply_adds']:,}"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    print(f"input {_by(described['input'])}")
    for first, *rest in rows:
        print("  ".join([first.ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(rest, widths[1:], strict=True))]))


def network_of(text: str, size: str | None) -> Network:
    """The network with this name or text and input shape. Raises RequestError if it is impossible."""
    if size is None:
        if text in NETWORKS:
            return NETWORKS[text].network()
        layers_of(text)  # report an unreadable network first
        raise RequestError("a network in the notation needs its input size: --input HxWxC, e.g. --input 28x28x1")
    if not (match := re.fullmatch(r"(\d{1,9})x(\d{1,9})x(\d{1,9})", size)):
        raise RequestError(f"--input {quote(size)} is not a size; write HxWxC, e.g. 28x28x1")
    height, width, channels = map(int, match.groups())
    if text in NETWORKS:
        classes = NETWORKS[text].network().outputs if NETWORKS[text].input_shape else 10
        return build(text, (height, width, channels), classes)
    return Network((height, width, channels), layers_of(text))


def _by(numbers: int | list[int]) -> str:
    return str(numbers) if isinstance(numbers, int) else "x".join(map(str, numbers))
