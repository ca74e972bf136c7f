"""Receptive fields and the summary of a network, by arithmetic alone: without allocating arrays or a backend."""

import itertools
from dataclasses import dataclass
from typing import Any

from cnn_jax.errors import RequestError
from cnn_jax.layers import Block, Windows
from cnn_jax.network import Network
from cnn_jax.nodes import LARGEST, Node


@dataclass(frozen=True)
class Field:
    """The receptive field of a unit along one axis (araujo2019computing, equations 2 to 5).

    `size` is its number of input pixels, `jump` the distance in pixels between the fields of neighbouring units,
    `padding` the number of pixels by which the field of unit 0 extends beyond the input. Where paths with different
    fields meet (at the end of a block), the largest counts.
    """

    size: int = 1
    jump: int = 1
    padding: int = 0

    def through(self, window) -> "Field":
        """The field of a unit that sees this layer through `window`. Raises RequestError above LARGEST pixels."""
        size, jump = self.size + (window.extent - 1) * self.jump, self.jump * window.stride
        if max(size, jump) > LARGEST:
            raise RequestError(f"a receptive field of more than {LARGEST:,} pixels")
        return Field(size, jump, padding=self.padding + window.low * self.jump)

    def centre(self, unit: int) -> float:
        """The centre of the field of the unit with index `unit`, in pixels from the first: -P + f·S + (R - 1)/2."""
        return -self.padding + unit * self.jump + (self.size - 1) / 2


Fields = tuple[Field, Field]  # along height and along width


@dataclass(frozen=True)
class Row:
    """A node of a network with its receptive field along height and width."""

    node: Node
    fields: Fields


def rows(network: Network) -> list[Row]:
    """Every layer with its receptive field, in order of execution."""
    return _rows(network.nodes, (Field(), Field()))


def _rows(nodes: tuple[Node, ...], fields: Fields) -> list[Row]:
    table: list[Row] = []
    for node in nodes:
        if isinstance(node.layer, Block):
            branches = [_rows(branch, fields) for branch in node.branches]
            table += itertools.chain(*branches)
            shortcut = _rows(node.projection, fields)
            paths = [path[-1].fields if path else fields for path in (*branches, shortcut)]
            fields = tuple(max(axis, key=lambda field: field.size) for axis in zip(*paths, strict=True))
        else:
            fields = _through(fields, node.layer.windows(node.input))
        table.append(Row(node, fields))
    return table


def _through(fields: Fields, windows: Windows | None) -> Fields:
    if windows is None:
        return fields
    return fields[0].through(windows[0]), fields[1].through(windows[1])


def describe(network: Network) -> dict[str, Any]:
    """The description printed by `python -m cnn_jax describe --json`: output shapes without the batch axis, receptive
    field and jump in pixels (a pair if height and width differ), trained parameters, multiply-adds for one image."""
    layers = [
        {
            "name": row.node.name,
            "kind": row.node.layer.kind,
            "output": list(row.node.output),
            "receptive_field": _number_or_pair(field.size for field in row.fields),
            "jump": _number_or_pair(field.jump for field in row.fields),
            "parameters": row.node.parameters,
            "multiply_adds": row.node.multiply_adds,
        }
        for row in rows(network)
    ]
    return {
        "input": list(network.input_shape),
        "layers": layers,
        "parameters": network.parameters,
        "multiply_adds": network.multiply_adds,
    }


def _number_or_pair(values) -> int | list[int]:
    height, width = values
    return height if height == width else [height, width]
