"""A network is a value: an input shape and a tuple of layers. Its methods are pure functions of (variables, images)."""

import contextlib
import functools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from cnn_jax.errors import RequestError, quote
from cnn_jax.forward import Pass, Reached, Rule, Variables
from cnn_jax.layers import KernelInit, Layer, Shape, Wrapped, he, wrap
from cnn_jax.nodes import LARGEST, Node, Nodes, place, walk
from cnn_jax.ops import choice, with_generator

__all__ = ["Network", "Variables"]


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
        for node in list(self.walk())[1:]:
            if node.layer.of_images:
                raise RequestError(f"{node.name} is computed from the training images: it can only be the first layer")

    @classmethod
    def wrap(cls, module: Any, input_shape: Shape) -> "Network":
        """A user-defined module as a network for images of `input_shape` (height, width, channels): a Linen module, an
        NNX class or a pair of pure functions (init, apply), see `layers.Wrapped`. Its output is the logits."""
        return cls(input_shape, (wrap(module),))

    def __repr__(self) -> str:
        """The network in the notation."""
        return f"Network({self.input_shape}, '{' '.join(map(repr, self.layers))}')"

    @functools.cached_property
    def nodes(self) -> Nodes:
        """The top-level nodes; `walk` also yields those inside blocks."""
        return place(self.layers, self.input_shape)

    def walk(self) -> Iterator[Node]:
        """All nodes in order of execution; the nodes inside a block come before the block."""
        return walk(self.nodes)

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

    @functools.partial(jax.jit, static_argnums=(0, 2))
    def init(self, key: Array, kernel_init: KernelInit = he) -> dict[str, Any]:
        """Random float32 variables: {"params": {layer: {…}}, "batch_stats": {layer: {…}}}, without empty entries."""
        key = with_generator(key, choice(jnp.float32).implementation)
        variables: dict[str, Any] = {"params": {}, "batch_stats": {}}
        parts = [part for node in self.walk() for part in node.parts]
        for i, part in enumerate(parts):
            context: dict[str, Any] = {"kernel_init": kernel_init} if "kernel_init" in part.layer.context else {}
            collections = part.layer.init(jax.random.fold_in(key, i), jnp.zeros((1, *part.input)), **context)
            for collection, values in collections.items():
                variables[collection][part.name] = values
        return variables

    @property
    def of_images(self) -> bool:
        """Whether the first layer is computed from training images (`with_images`)."""
        return self.layers[0].of_images

    def with_images(self, variables: Variables, images: Array) -> Variables:
        """`variables` with the arrays that the first layer computes from normalised training images (n, h, w, c)."""
        first = self.nodes[0]
        fixed = {**variables["batch_stats"], first.name: first.layer.fixed(images)}
        return {**variables, "batch_stats": fixed}

    def apply(self, variables: Variables, images: Array, *, rule: Rule | None = None) -> Array:
        """Logits (n, outputs) of `images` (n, *input_shape), computed in the dtype of the images and returned in at
        least float32. Dropout is off, batch norm uses its running statistics. `rule` stands for every layer, with
        another derivative (`insight.rules`)."""
        return self._run(variables, images, {} if rule is None else {"rule": rule})[0]

    def __call__(self, variables: Variables, images: Array) -> Array:
        """As `apply`: a network is a function of (variables, images)."""
        return self.apply(variables, images)

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
        remat: bool = False,
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
          remat: whether the backward pass computes the inside of every block again, instead of keeping it in memory
            (chen2016training).
        """
        context: dict[str, Any] = {
            "train": True, "mask": mask, "axis_name": axis_name, "dropout_key": key, "dropout_rate": dropout_rate,
            "remat": remat,
        }  # fmt: skip
        if feedback_key is not None:
            context["feedback_key"] = feedback_key
        if contained is not None:
            context["contained"] = contained
        return self._run(variables, images, context)

    def activations(
        self,
        variables: Variables,
        images: Array,
        *,
        rule: Rule | None = None,
        shifts: Mapping[str, Array] = MappingProxyType({}),
        until: str | None = None,
    ) -> dict[str, Array]:
        """The output of every layer by name, in order of execution, as `apply` computes it. `shifts` are added to the
        outputs of the layers they name: the derivative with respect to a shift is the derivative with respect to the
        output of that layer. Nothing is computed after the layer called `until`, if there is one."""
        outputs: dict[str, Array] = {}
        one = self._pass(variables, images, {} if rule is None else {"rule": rule}, outputs, shifts, until)
        with contextlib.suppress(Reached):
            one.nodes(self.nodes, images)
        return outputs

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

    def _run(self, variables: Variables, images: Array, context: Mapping[str, Any]) -> tuple[Array, dict[str, Any]]:
        one = self._pass(variables, images, context)
        x = one.nodes(self.nodes, images)
        logits = x.reshape(x.shape[0], self.outputs)
        return logits.astype(jnp.promote_types(logits.dtype, jnp.float32)), one.batch_stats

    def _pass(
        self,
        variables: Variables,
        images: Array,
        context: Mapping[str, Any],
        outputs: dict[str, Array] | None = None,
        shifts: Mapping[str, Array] = MappingProxyType({}),
        until: str | None = None,
    ) -> Pass:
        """A pass that has not begun. Raises RequestError if it cannot."""
        if self.opaque and {"feedback_key", "rule"} & set(context):
            raise RequestError(
                f"{self.opaque[0]} is a user-defined module: guided backpropagation, the deconvnet, DeepLIFT, "
                "relevance propagation and feedback alignment cannot modify its backward pass"
            )
        if images.shape[1:] != self.input_shape:
            raise RequestError(f"images of {images.shape[1:]} do not fit a network for {self.input_shape}")
        return Pass(variables, context, outputs, shifts, until)
