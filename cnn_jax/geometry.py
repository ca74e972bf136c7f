"""Receptive fields and the table of a network, by arithmetic alone: nothing is allocated, no backend is started."""

from dataclasses import dataclass
from typing import Any

from cnn_jax.errors import RequestError
from cnn_jax.layers import Residual, Windows
from cnn_jax.network import LARGEST, Network, Node


@dataclass(frozen=True)
class Field:
    """What one unit of a layer sees along one axis of the input: `size` pixels, `jump` pixels from one unit's field to
    its neighbour's, `padding` pixels before the input under unit 0 (araujo2019computing, equations 2 to 5).

    Where paths of different reach meet (a residual block) the field is the largest of them.
    """

    size: int = 1
    jump: int = 1
    padding: int = 0

    def through(self, window) -> "Field":
        """The field of a unit that sees this layer through `window`. RequestError for one beyond all measure."""
        size, jump = self.size + (window.extent - 1) * self.jump, self.jump * window.stride
        if max(size, jump) > LARGEST:
            raise RequestError(f"a receptive field of more than {LARGEST:,} pixels")
        return Field(size, jump, padding=self.padding + window.low * self.jump)

    def centre(self, unit: int) -> float:
        """The centre of the field of the unit with this index, in pixels from the first: -P + f·S + (R - 1)/2."""
        return -self.padding + unit * self.jump + (self.size - 1) / 2


Fields = tuple[Field, Field]  # along height and along width


@dataclass(frozen=True)
class Row:
    """A node of a network with its receptive field along height and width."""

    node: Node
    fields: Fields


def rows(network: Network) -> list[Row]:
    """Every layer in order of execution with its receptive field."""
    return _rows(network.nodes, (Field(), Field()))


def _rows(nodes: tuple[Node, ...], fields: Fields) -> list[Row]:
    found: list[Row] = []
    for node in nodes:
        if isinstance(node.layer, Residual):
            body = _rows(node.body, fields)
            found += body
            shortcut = _rows(node.projection, fields)
            paths = [body[-1].fields, shortcut[-1].fields if shortcut else fields]
            fields = tuple(max(axis, key=lambda field: field.size) for axis in zip(*paths, strict=True))
        else:
            fields = _through(fields, node.layer.windows(node.input))
        found.append(Row(node, fields))
    return found


def _through(fields: Fields, windows: Windows | None) -> Fields:
    if windows is None:
        return fields
    return fields[0].through(windows[0]), fields[1].through(windows[1])


def describe(network: Network) -> dict[str, Any]:
    """The description that `python -m cnn_jax describe --json` prints: shapes without the batch axis, receptive field
    and jump in pixels (a pair where height and width differ), trained parameters, multiply-adds for one image."""
    layers = [
        {
            "name": row.node.name,
            "kind": row.node.layer.kind,
            "output": list(row.node.output),
            "receptive_field": _one(field.size for field in row.fields),
            "jump": _one(field.jump for field in row.fields),
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


def _one(values) -> int | list[int]:
    height, width = values
    return height if height == width else [height, width]
