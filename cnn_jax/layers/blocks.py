"""Layers that contain layers. The network, not these layers, runs what is inside."""

import math
from collections.abc import Sequence
from typing import Literal

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from cnn_jax.errors import RequestError
from cnn_jax.layers.base import Fixed, Layer, Shape, register_described, spatial
from cnn_jax.layers.core import Conv, Pool
from cnn_jax.layers.depthwise import Blur, Depthwise
from cnn_jax.layers.norm import BatchNorm

Layers = tuple[Layer, ...]


class Block(Fixed):
    """Base of the layers that join the outputs of branches, each a sequence of layers on the same input."""

    def joined_shape(self, shape: Shape, outputs: tuple[Shape, ...]) -> Shape:
        """The output shape for an input of `shape` and branches with these outputs. Raises RequestError if they do not
        fit together."""
        raise NotImplementedError

    def join(self, outputs: Sequence[Array], shortcut: Array) -> Array:
        """The output, from those of the branches and the input of the block, after its projection if there is one."""
        raise NotImplementedError

    @nn.nowrap
    def projection(self, features: int) -> Layers:
        """The layers through which the input reaches `join`, for a block with so many output channels."""
        return ()


@register_described("Concatenate")
class Concatenate(Block):
    """The channels of the outputs of all branches, one after the other (szegedy2015going, figure 2). An empty branch is
    the input itself (huang2017densely, equation 2)."""

    paths: tuple[Layers, ...]

    kind = "cat"

    def text(self) -> str:
        branches = (" ".join(layer.text() for layer in path) for path in self.paths)
        return " ".join(f"cat( {' | '.join(branches)} )".split())

    @nn.nowrap
    def branches(self) -> tuple[Layers, ...]:
        return self.paths

    def joined_shape(self, shape: Shape, outputs: tuple[Shape, ...]) -> Shape:
        if len({output[:-1] for output in outputs}) != 1:
            raise RequestError(f"branches that make {' and '.join(map(_by, outputs))} cannot be concatenated")
        return (*outputs[0][:-1], sum(output[-1] for output in outputs))

    def join(self, outputs: Sequence[Array], shortcut: Array) -> Array:
        return jnp.concatenate(outputs, -1)


@register_described("Residual")
class Residual(Block):
    """body(x) + shortcut(x) (he2016deep, 3.2 and 3.3).

    `shortcut` is one of:
      'identity': x itself.
      'proj': a 1x1 convolution (option B of the paper). It has a bias, and a batch norm after it, if the body ends so.
      'padA': every stride-th position, with zeros for the new channels (option A), half of them before, half after.
    The stride is the product of the body's strides.
    """

    body: Layers
    shortcut: Literal["identity", "proj", "padA"] = "identity"

    kind = "res"

    def text(self) -> str:
        option = "" if self.shortcut == "identity" else f":{self.shortcut}"
        return " ".join(["res(", *(layer.text() for layer in self.body), f"){option}"])

    @nn.nowrap
    def branches(self) -> tuple[Layers, ...]:
        return (self.body,)

    def stride(self) -> int:
        """The product of the strides in the body."""
        strides = [layer.stride for layer in self.body if isinstance(layer, Conv | Depthwise | Pool | Blur)]
        return math.prod(stride or 1 for stride in strides)

    @nn.nowrap  # else Flax would adopt these layers as submodules
    def projection(self, features: int) -> Layers:
        if self.shortcut != "proj":
            return ()
        convolutions = [layer for layer in self.body if isinstance(layer, Conv)]
        conv = Conv(features, 1, self.stride(), bias=convolutions[-1].bias if convolutions else True)
        normed = any(isinstance(layer, BatchNorm) for layer in self.body[_last(self.body, Conv) + 1 :])
        return (conv, BatchNorm()) if normed else (conv,)

    def join(self, outputs: Sequence[Array], shortcut: Array) -> Array:
        (body,) = outputs
        return body + (self._padded(shortcut, body.shape[-1]) if self.shortcut == "padA" else shortcut)

    def _padded(self, images: Array, features: int) -> Array:
        """Option A: strided, with zero channels up to `features`."""
        stride, missing = self.stride(), features - images.shape[-1]
        before = missing // 2
        return jnp.pad(images[:, ::stride, ::stride], ((0, 0), (0, 0), (0, 0), (before, missing - before)))

    @nn.nowrap
    def union(self, other: Layer) -> "Residual | None":
        """See `Layer.union`. Option A has its new channels on both sides, so that no narrower block lies in a wider."""
        if not isinstance(other, Residual) or self.shortcut != other.shortcut or self.shortcut == "padA":
            return None
        if len(self.body) != len(other.body):
            return None
        body = tuple(a.union(b) for a, b in zip(self.body, other.body, strict=True))
        return None if None in body else Residual(body, self.shortcut)  # type: ignore[arg-type]

    def joined_shape(self, shape: Shape, outputs: tuple[Shape, ...]) -> Shape:
        if not self.body:
            raise RequestError("a residual block needs at least one layer")
        (body,) = outputs
        height, width, channels = spatial(shape)
        if self.shortcut == "identity":
            short: Shape = shape
        else:
            features = channels if len(body) != 3 else body[2]
            stride = self.stride()
            short = (-(-height // stride), -(-width // stride), features)
            if self.shortcut == "padA" and features < channels:
                raise RequestError(f"a padA shortcut adds channels, but the body has {features} after {channels}")
        if short != body:
            raise RequestError(
                f"the {self.shortcut} shortcut makes {_by(short)} of {_by(shape)} but the body makes {_by(body)}"
            )
        return body


def _last(layers: Layers, kind: type[Layer]) -> int:
    """The index of the last layer of a kind, -1 if there is none."""
    return max((i for i, layer in enumerate(layers) if isinstance(layer, kind)), default=-1)


def _by(shape: Shape) -> str:
    return "x".join(map(str, shape))
