"""Layers that contain layers."""

import math
from typing import Literal

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from cnn_jax.errors import RequestError
from cnn_jax.layers.base import Fixed, Layer, Shape, register_described, spatial
from cnn_jax.layers.core import Conv, Pool
from cnn_jax.layers.norm import BatchNorm


@register_described("Residual")
class Residual(Fixed):
    """body(x) + shortcut(x) (he2016deep, 3.2 and 3.3).

    `shortcut` is one of:
      'identity': x itself.
      'proj': a 1x1 convolution (option B of the paper). It has a bias, and a batch norm after it, if the body ends so.
      'padA': every stride-th position, with zeros for the new channels (option A), half of them before, half after.
    The stride is the product of the body's strides. The network, not this layer, runs the body and the shortcut.
    """

    body: tuple[Layer, ...]
    shortcut: Literal["identity", "proj", "padA"] = "identity"

    kind = "res"

    def text(self) -> str:
        option = "" if self.shortcut == "identity" else f":{self.shortcut}"
        return " ".join(["res(", *(layer.text() for layer in self.body), f"){option}"])

    def stride(self) -> int:
        """The product of the strides in the body."""
        strides = [layer.stride for layer in self.body if isinstance(layer, Conv | Pool)]
        return math.prod(stride or 1 for stride in strides)

    @nn.nowrap  # else Flax would adopt these layers as submodules
    def projection(self, features: int) -> tuple[Layer, ...]:
        """The layers of the 'proj' shortcut, none for the other shortcuts."""
        if self.shortcut != "proj":
            return ()
        convolutions = [layer for layer in self.body if isinstance(layer, Conv)]
        conv = Conv(features, 1, self.stride(), bias=convolutions[-1].bias if convolutions else True)
        return (conv, BatchNorm()) if isinstance(self.body[-1], BatchNorm) else (conv,)

    def pad_shortcut(self, images: Array, features: int) -> Array:
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

    def check_shapes(self, shape: Shape, body: Shape) -> None:
        """Raises RequestError if the shortcut of an input of `shape` cannot be added to a body output of `body`."""
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


def _by(shape: Shape) -> str:
    return "x".join(map(str, shape))
