"""A network is a value: an input shape and a tuple of layers. Its methods are pure functions of (variables, images)."""

import functools
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from cnn_jax.errors import RequestError, quote
from cnn_jax.layers import (
    MOST_LAYERS,
    MOST_NESTED,
    Activation,
    Backward,
    BatchNorm,
    Conv,
    KernelInit,
    Layer,
    Pool,
    Residual,
    Shape,
    Wrapped,
    he,
    wrap,
)

LARGEST = 2**40  # values in a layer's output for one image, or parameters: 4 TB, more than any machine holds

Variables = Mapping[str, Any]  # {"params": {layer: …}, "batch_stats": {layer: …}}


@dataclass(frozen=True)
class Node:
    """A layer within a network: its name, input and output shape and, for a residual block, the nodes inside."""

    name: str
    layer: Layer
    input: Shape
    output: Shape
    body: tuple["Node", ...] = ()
    projection: tuple["Node", ...] = ()

    @property
    def parts(self) -> tuple["Node", ...]:
        """The nodes that hold this node's own parameters: itself, or the projection of a residual block."""
        return self.projection if isinstance(self.layer, Residual) else (self,)

    @property
    def parameters(self) -> int:
        return sum(part.layer.parameters(part.input) for part in self.parts)

    @property
    def multiply_adds(self) -> int:
        return sum(part.layer.multiply_adds(part.input) for part in self.parts)


@dataclass(frozen=True)
class Network:
    """`layers` applied in sequence to images of `input_shape` (height, width, channels). Its output is the logits.

    Layers are named by kind in order of execution: conv1, relu1, max1, dense1 …; the layers inside a residual block
    come before the block itself (res1). Any height and width of the last output are flattened into the logits.
    Raises RequestError with the layer's name and the arithmetic if the layers do not fit together.
    """

    input_shape: Shape
    layers: tuple[Layer, ...]

    def __post_init__(self):
        if len(self.input_shape) != 3 or min(self.input_shape) < 1:
            raise RequestError(f"an input of {self.input_shape} is no image: give height, width and channels")
        if math.prod(self.input_shape) > LARGEST:
            raise RequestError(f"an input of {self.input_shape} is too large")
        if not self.layers:
            raise RequestError("a network needs at least one layer")
        self.nodes  # noqa: B018 - computed now, so that an impossible network raises here

    @classmethod
    def wrap(cls, module: Any, input_shape: Shape) -> "Network":
        """A user-defined module as a network for images of `input_shape` (height, width, channels): a Linen module, an
        NNX class or a pair of pure functions (init, apply), see `layers.Wrapped`. Its output is the logits."""
        return cls(input_shape, (wrap(module),))

    def __repr__(self) -> str:
        """The network in the notation."""
        return f"Network({self.input_shape}, '{' '.join(map(repr, self.layers))}')"

    @functools.cached_property
    def nodes(self) -> tuple[Node, ...]:
        """The top-level nodes; `walk` also yields those inside residual blocks."""
        return _place(self.layers, self.input_shape, Counter(), 0)

    def walk(self) -> Iterator[Node]:
        """All nodes in order of execution; the nodes inside a residual block come before the block."""
        return _walk(self.nodes)

    @property
    def outputs(self) -> int:
        """Number of logits."""
        return math.prod(self.nodes[-1].output)

    @property
    def parameters(self) -> int:
        """Number of trained parameters, by arithmetic."""
        return sum(node.parameters for node in self.walk())

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of the convolutions and dense layers for one image, by arithmetic."""
        return sum(node.multiply_adds for node in self.walk())

    def union(self, other: "Network") -> "Network | None":
        """The network that contains both, each in the first channels of every layer: with the weights of one, and zeros
        for all others, it computes what that one does, and the zeros get no gradient. None if there is none."""
        if self.input_shape != other.input_shape or len(self.layers) != len(other.layers):
            return None
        layers = tuple(a.union(b) for a, b in zip(self.layers, other.layers, strict=True))
        if None in layers:
            return None
        union = Network(self.input_shape, layers)  # type: ignore[arg-type]
        parts = [[part.name for node in n.walk() for part in node.parts] for n in (self, other, union)]
        return union if parts[0] == parts[1] == parts[2] else None  # a shortcut may need a projection in one of them

    def init(self, key: Array, kernel_init: KernelInit = he) -> dict[str, Any]:
        """Random float32 variables: {"params": {layer: {…}}, "batch_stats": {layer: {…}}}, without empty entries."""
        variables: dict[str, Any] = {"params": {}, "batch_stats": {}}
        parts = [part for node in self.walk() for part in node.parts]
        for i, part in enumerate(parts):
            context: dict[str, Any] = {"kernel_init": kernel_init} if "kernel_init" in part.layer.context else {}
            collections = part.layer.init(jax.random.fold_in(key, i), jnp.zeros((1, *part.input)), **context)
            for collection, values in collections.items():
                variables[collection][part.name] = values
        return variables

    def apply(self, variables: Variables, images: Array, *, backward: Backward = "gradient") -> Array:
        """Logits (n, outputs) of `images` (n, *input_shape), computed in the dtype of the images and returned in at
        least float32. Dropout is off, batch norm uses its running statistics. `backward` changes the backward pass of
        the ReLUs and nothing else."""
        return self._run(variables, images, {} if backward == "gradient" else {"backward": backward})[0]

    def apply_train(
        self,
        variables: Variables,
        images: Array,
        *,
        key: Array,
        mask: Array | None = None,
        axis_name: str | None = None,
        dropout_rate: Array | None = None,
        feedback_key: Array | None = None,
        contained: tuple[tuple["Network", ...], Array] | None = None,
    ) -> tuple[Array, dict[str, Any]]:
        """Logits in training mode and the new batch statistics.

        Args:
          key: for dropout.
          mask: float (n,); examples with mask 0 do not count in the batch statistics.
          axis_name: mesh axis over which the batch statistics are summed.
          dropout_rate: overrides the rate of every dropout layer.
          feedback_key: makes convolutions and dense layers backpropagate through random weights drawn with this key.
          contained: networks that this one contains (`union`), and the index, which may be traced, of the one whose
            weights these are: dropout is as in that one.
        """
        context: dict[str, Any] = {
            "train": True, "mask": mask, "axis_name": axis_name, "dropout_key": key, "dropout_rate": dropout_rate
        }  # fmt: skip
        if feedback_key is not None:
            context["feedback_key"] = feedback_key
        if contained is not None:
            context["contained"] = contained
        return self._run(variables, images, context)[:2]

    def activations(
        self,
        variables: Variables,
        images: Array,
        *,
        backward: Backward = "gradient",
        shifts: Mapping[str, Array] = MappingProxyType({}),
    ) -> dict[str, Array]:
        """The output of every layer by name, in order of execution, as `apply` computes it. `shifts` are added to the
        outputs of the layers they name: the derivative with respect to a shift is the derivative with respect to the
        output of that layer."""
        return self._run(variables, images, {"backward": backward}, record=True, shifts=shifts)[2]

    def node(self, name: str) -> Node:
        """The node called `name`. Raises RequestError that lists the names if there is none."""
        nodes = {node.name: node for node in self.walk()}
        if name not in nodes:
            raise RequestError(f"layer {quote(name)} does not exist; there are {', '.join(nodes)}")
        return nodes[name]

    @functools.cached_property
    def opaque(self) -> tuple[str, ...]:
        """The names of the layers whose backward pass cannot be modified: user-defined modules."""
        return tuple(node.name for node in self.walk() if isinstance(node.layer, Wrapped))

    def _run(
        self,
        variables: Variables,
        images: Array,
        context: Mapping[str, Any],
        record: bool = False,
        shifts: Mapping[str, Array] = MappingProxyType({}),
    ) -> tuple[Array, dict[str, Any], dict[str, Array]]:
        if self.opaque and ("feedback_key" in context or context.get("backward", "gradient") != "gradient"):
            raise RequestError(
                f"{self.opaque[0]} is a user-defined module: guided backpropagation, the deconvnet and feedback "
                "alignment cannot modify its backward pass"
            )
        if images.shape[1:] != self.input_shape:
            raise RequestError(f"images of {images.shape[1:]} do not fit a network for {self.input_shape}")
        run = _Run(variables, context, {} if record else None, shifts)
        x = run.nodes(self.nodes, images)
        logits = x.reshape(x.shape[0], self.outputs)
        logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
        return logits, run.batch_stats, run.outputs or {}


class _Run:
    """One pass through the nodes, which collects the batch statistics and, unless `outputs` is None, the outputs."""

    def __init__(
        self,
        variables: Variables,
        context: Mapping[str, Any],
        outputs: dict[str, Array] | None,
        shifts: Mapping[str, Array],
    ):
        self.params = variables["params"]
        self.batch_stats = dict(variables.get("batch_stats", {}))
        self.context = context
        self.outputs = outputs
        self.shifts = shifts
        self.fuse = outputs is None and not {"backward", "feedback_key"} & set(context)
        self.drawn: Counter[str] = Counter()

    def nodes(self, nodes: tuple[Node, ...], x: Array) -> Array:
        at = 0
        while at < len(nodes):
            node = nodes[at]
            count, fused = fusion(nodes[at:]) if self.fuse else (1, {})
            x = self.residual(node, x) if isinstance(node.layer, Residual) else self.leaf(node, x, fused)
            if node.name in self.shifts:
                x = x + self.shifts[node.name]
            if self.outputs is not None:
                self.outputs[node.name] = x
            at += count
        return x

    def residual(self, node: Node, x: Array) -> Array:
        assert isinstance(node.layer, Residual)
        body = self.nodes(node.body, x)
        if node.layer.shortcut == "padA":
            return body + node.layer.pad_shortcut(x, body.shape[-1])
        for part in node.projection:
            x = self.leaf(part, x)
        return body + x

    def leaf(self, node: Node, x: Array, fused: Mapping[str, Any] = MappingProxyType({})) -> Array:
        context = {**{name: self.context[name] for name in node.layer.context if name in self.context}, **fused}
        for name in {"dropout_key", "feedback_key"} & set(context):  # a different key for each layer
            context[name] = jax.random.fold_in(context[name], self.drawn[name])
            self.drawn[name] += 1
        if "contained" in self.context and "channels" in node.layer.context:
            networks, index = self.context["contained"]
            context["channels"] = jnp.array([network.node(node.name).output[-1] for network in networks])[index]
        variables = {"params": self.params.get(node.name, {})}
        if node.name in self.batch_stats:
            variables["batch_stats"] = self.batch_stats[node.name]
        rngs = {"dropout": context["dropout_key"]} if context.get("dropout_key") is not None else None
        x, updates = node.layer.apply(variables, x, mutable=["batch_stats"], rngs=rngs, **context)
        if "batch_stats" in updates:
            self.batch_stats[node.name] = updates["batch_stats"]
        return x


def fusion(nodes: tuple[Node, ...]) -> tuple[int, dict[str, Any]]:
    """How many of `nodes` the first can compute in one operation, and the keyword arguments that make it do so.

    A convolution is fused with a following ReLU and non-overlapping max pool, a batch norm with a following ReLU.
    Names, parameters and results stay the same.
    """
    first, *rest = nodes
    if isinstance(first.layer, BatchNorm) and rest and rest[0].layer == Activation("relu"):
        return 2, {"relu": True}
    if not isinstance(first.layer, Conv) or not first.layer.plain_bias:
        return 1, {}
    fused: dict[str, Any] = {}
    if rest and rest[0].layer == Activation("relu"):
        fused["relu"] = True
        rest = rest[1:]
    if rest and isinstance(pool := rest[0].layer, Pool) and pool.kind == "max":
        side_by_side = all(axis.side_by_side for axis in pool.windows(rest[0].input))
        fused |= {"pool": pool.size} if side_by_side and pool.size > 1 else {}
    return 1 + len(fused), fused


def _place(layers: tuple[Layer, ...], shape: Shape, counts: Counter[str], depth: int) -> tuple[Node, ...]:
    if counts.total() + len(layers) > MOST_LAYERS or depth > MOST_NESTED:
        raise RequestError(f"a network has at most {MOST_LAYERS:,} layers, in blocks at most {MOST_NESTED} deep")
    nodes = []
    for layer in layers:
        if isinstance(layer, Residual):
            node = _place_residual(layer, shape, counts, depth + 1)
        else:
            counts[layer.kind] += 1
            name = f"{layer.kind}{counts[layer.kind]}"
            try:
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


def _place_residual(layer: Residual, shape: Shape, counts: Counter[str], depth: int) -> Node:
    body = _place(layer.body, shape, counts, depth)
    counts["res"] += 1
    name = f"res{counts['res']}"
    if not body:
        raise RequestError(f"{name}: a residual block needs at least one layer")
    output = body[-1].output
    try:
        layer.check_shapes(shape, output)
        projection, current = [], shape
        for part in layer.projection(output[-1]):
            projection.append(Node(f"{name}_{part.kind}", part, current, part.output_shape(current)))
            current = projection[-1].output
    except RequestError as error:
        raise RequestError(f"{name}: {error}") from None
    return Node(name, layer, shape, output, body, tuple(projection))


def _walk(nodes: tuple[Node, ...]) -> Iterator[Node]:
    for node in nodes:
        yield from _walk(node.body)
        yield node
