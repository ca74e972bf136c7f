"""Layers of 1998 that later networks dropped."""

import math

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from cnn_jax import ops
from cnn_jax.errors import RequestError
from cnn_jax.layers.base import Fixed, Shape, Sliding, register_described
from cnn_jax.ops import Window


@register_described("Subsample")
class Subsample(Sliding):
    """The trainable subsampling of lecun1998gradient, II.B: the sum over a window, times a coefficient, plus a bias.
    Each map has one coefficient, which starts as 1 / size² (an average), and one bias."""

    size: int

    kind = "sub"
    zero_channels = True
    words = {"sub<size>": {}}

    def _window(self, length: int) -> Window:
        return Window.along(length, self.size, self.size, "valid")

    def output_shape(self, shape: Shape) -> Shape:
        return (*self._output_size(shape), shape[2])

    def parameters(self, shape: Shape) -> int:
        return 2 * shape[2]

    @nn.compact
    def __call__(self, images: Array) -> Array:
        channels = images.shape[-1:]
        area = self.size**2
        scale = self.param("scale", nn.initializers.constant(1.0 / area), channels).astype(images.dtype)
        bias = self.param("bias", nn.initializers.zeros, channels).astype(images.dtype)
        total = ops.average_pool(images, *self.windows(images.shape[1:])) * area
        return total * scale[None, None, None] + bias[None, None, None]


@register_described("RadialBasis")
class RadialBasis(Fixed):
    """The output layer of LeNet-5 (lecun1998gradient, II.B): minus the squared distance to the code of each class."""

    codes: tuple[tuple[int, ...], ...]

    kind = "rbf"

    def output_shape(self, shape: Shape) -> Shape:
        lengths = {len(code) for code in self.codes}
        if lengths != {math.prod(shape)}:
            raise RequestError(f"codes of {sorted(lengths) or 'no'} numbers do not fit an input of {math.prod(shape)}")
        return (len(self.codes),)

    @nn.compact
    def __call__(self, x: Array) -> Array:
        x = x.reshape(x.shape[0], math.prod(x.shape[1:]))
        return -jnp.square(x[:, None, :] - jnp.asarray(self.codes, x.dtype)[None]).sum(-1)
