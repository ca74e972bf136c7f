"""The layers of a network in their places: each with a name, and its input and output shape."""

import itertools
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from cnn_jax.errors import RequestError
from cnn_jax.layers import MOST_LAYERS, MOST_NESTED, Block, Layer, Shape

LARGEST = 2**40  # values in a layer's output for one image, or parameters: 4 TB, more than any machine holds


@dataclass(frozen=True)
class Node:
    """A layer within a network: its name, input and output shape and, for a block, the nodes of each branch inside and
    of the projection shortcut of a residual block."""

    name: str
    layer: Layer
    input: Shape
    output: Shape
    branches: tuple[tuple["Node", ...], ...] = ()
    projection: tuple["Node", ...] = ()

    @property
    def body(self) -> tuple["Node", ...]:
        """The nodes of all branches, in order of execution."""
        return tuple(itertools.chain(*self.branches))

    @property
    def parts(self) -> tuple["Node", ...]:
        """The nodes that hold this node's own parameters: itself, or the projection of a residual block."""
        return self.projection if isinstance(self.layer, Block) else (self,)

    @property
    def parameters(self) -> int:
        return sum(part.layer.parameters(part.input) for part in self.parts)

    @property
    def multiply_adds(self) -> int:
        return sum(part.layer.multiply_adds(part.input) for part in self.parts)


Nodes = tuple[Node, ...]


def walk(nodes: Nodes) -> Iterator[Node]:
    """All nodes in order of execution; those inside a block come before the block."""
    for node in nodes:
        yield from walk(node.body)
        yield node


def place(layers: tuple[Layer, ...], shape: Shape) -> Nodes:
    """The nodes of `layers` for an input of `shape`. Raises RequestError with the layer's name and the arithmetic if
    the layers do not fit together."""
    return _place(layers, shape, Counter(), 0)


def _place(layers: tuple[Layer, ...], shape: Shape, counts: Counter[str], depth: int) -> Nodes:
    if counts.total() + len(layers) > MOST_LAYERS or depth > MOST_NESTED:
        raise RequestError(f"a network has at most {MOST_LAYERS:,} layers, in blocks at most {MOST_NESTED} deep")
    nodes = []
    for layer in layers:
        branches = tuple(_place(branch, shape, counts, depth + 1) for branch in layer.branches())
        counts[layer.kind] += 1
        name = f"{layer.kind}{counts[layer.kind]}"
        try:
            if isinstance(layer, Block):
                node = _place_block(name, layer, shape, branches)
            else:
                node = Node(name, layer, shape, layer.output_shape(shape))
        except RequestError as error:
            raise RequestError(f"{name}: {error}") from None
        if max(math.prod(node.output), node.parameters) > LARGEST:
            raise RequestError(
                f"{node.name}: its output {node.output} or its {node.parameters:,} parameters are too large"
            )
        nodes.append(node)
        shape = node.output
    return tuple(nodes)


def _place_block(name: str, layer: Block, shape: Shape, branches: tuple[Nodes, ...]) -> Node:
    output = layer.joined_shape(shape, tuple(branch[-1].output if branch else shape for branch in branches))
    projection: list[Node] = []
    for part in layer.projection(output[-1]):
        before = projection[-1].output if projection else shape
        projection.append(Node(f"{name}_{part.kind}", part, before, part.output_shape(before)))
    return Node(name, layer, shape, output, branches, tuple(projection))
