"""The forward pass: the nodes of a network applied to images, one after the other."""

from collections import Counter
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from cnn_jax.layers import Activation, BatchNorm, Block, Conv, Pool
from cnn_jax.nodes import Node, Nodes, walk

Variables = Mapping[str, Any]  # {"params": {layer: …}, "batch_stats": {layer: …}}
# What stands for a layer in a pass: a function of its node, of the layer itself as a function of (variables, x), of its
# variables, and of x. It returns what the layer returns; its derivative may be another.
Rule = Callable[[Node, Callable[[Variables, Array], Array], Variables, Array], Array]


class Reached(Exception):
    """The layer after which a pass ends has been computed."""


class Pass:
    """One pass through the nodes, which collects the batch statistics and, unless `outputs` is None, the outputs. After
    the layer called `until` it raises Reached."""

    def __init__(
        self,
        variables: Variables,
        context: Mapping[str, Any],
        outputs: dict[str, Array] | None,
        shifts: Mapping[str, Array],
        until: str | None = None,
    ):
        self.params = variables["params"]
        self.batch_stats = dict(variables.get("batch_stats", {}))
        self.context = context
        self.outputs = outputs
        self.shifts = shifts
        self.until = until
        self.fuse = outputs is None and not {"rule", "feedback_key"} & set(context)
        self.drawn: Counter[str] = Counter()

    def nodes(self, nodes: Nodes, x: Array) -> Array:
        at = 0
        while at < len(nodes):
            node = nodes[at]
            count, fused = fusion(nodes[at:]) if self.fuse else (1, {})
            if not isinstance(node.layer, Block):
                x = self.leaf(node, x, fused)
            else:
                x = self.recomputed(node, x) if self.context.get("remat") else self.block(node, x)
            if node.name in self.shifts:
                x = x + self.shifts[node.name]
            if self.outputs is not None:
                self.outputs[node.name] = x
            if node.name == self.until:
                raise Reached
            at += count
        return x

    def block(self, node: Node, x: Array) -> Array:
        """The output of a block; only a residual block has a shortcut beside its branches."""
        assert isinstance(node.layer, Block)
        outputs = [self.nodes(branch, x) for branch in node.branches]
        for part in node.projection:
            x = self.leaf(part, x)
        return node.layer.join(outputs, x)

    def recomputed(self, node: Node, x: Array) -> Array:
        """As `block`, but the backward pass computes again what is inside, which then need not be kept in memory."""
        names = {part.name for inside in walk((node,)) for part in inside.parts}
        own = [{n: v for n, v in tree.items() if n in names} for tree in (self.params, self.batch_stats)]
        context = {name: value for name, value in self.context.items() if name != "remat"}

        @jax.checkpoint
        def run(params: Any, batch_stats: Any, x: Array) -> tuple[Array, dict[str, Any]]:
            inside = Pass({"params": params, "batch_stats": batch_stats}, context, None, self.shifts)
            inside.fuse, inside.drawn = self.fuse, self.drawn
            return inside.block(node, x), inside.batch_stats

        x, batch_stats = run(*own, x)
        self.batch_stats |= batch_stats
        return x

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
        if (rule := self.context.get("rule")) is not None:
            return rule(node, lambda own, x: node.layer.apply(own, x, **context), variables, x)
        rngs = {"dropout": context["dropout_key"]} if context.get("dropout_key") is not None else None
        x, updates = node.layer.apply(variables, x, mutable=["batch_stats"], rngs=rngs, **context)
        if "batch_stats" in updates:
            self.batch_stats[node.name] = updates["batch_stats"]
        return x


def fusion(nodes: Nodes) -> tuple[int, dict[str, Any]]:
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
