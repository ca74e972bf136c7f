"""Prints shapes, receptive fields, parameters and multiply-adds of a network, layer by layer."""

import argparse
import json
import re

from cnn_jax import geometry, zoo
from cnn_jax.errors import RequestError, quote
from cnn_jax.network import Network


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_network(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")


def add_network(parser: argparse.ArgumentParser, optional: bool = False) -> None:
    """The arguments that `network_of` reads."""
    parser.add_argument(
        "network", nargs="?" if optional else None, help="a network in the notation (quoted), or a name of the zoo"
    )
    parser.add_argument("--input", help="HxWxC, e.g. 28x28x1; a network of the zoo has its own", metavar="HxWxC")


def run(arguments: argparse.Namespace) -> None:
    network = network_of(arguments.network, arguments.input)
    described = geometry.describe(network)
    if arguments.json:
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
    """The network of a command line; RequestError for one that cannot be."""
    if size is None:
        if text in zoo.ZOO:
            return zoo.get(text).network()
        zoo.layers_of(text)  # a network that cannot be read is the greater fault
        raise RequestError("a network in the notation needs its input size: --input HxWxC, e.g. --input 28x28x1")
    if not (found := re.fullmatch(r"(\d{1,9})x(\d{1,9})x(\d{1,9})", size)):
        raise RequestError(f"--input {quote(size)} is no size; write HxWxC, e.g. 28x28x1")
    height, width, channels = map(int, found.groups())
    if text in zoo.ZOO:
        entry = zoo.get(text)
        return entry.for_data((height, width, channels), entry.network().outputs)
    return Network((height, width, channels), zoo.layers_of(text))


def _by(numbers: int | list[int]) -> str:
    return str(numbers) if isinstance(numbers, int) else "x".join(map(str, numbers))
