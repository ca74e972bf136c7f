"""Operations on each channel alone: depthwise convolution, blurred subsampling, upsampling; and its counterpart that
mixes them all, the transposed convolution."""

import math
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from cnn_jax import ops
from cnn_jax.errors import RequestError
from cnn_jax.layers.base import Fixed, KernelInit, Layer, Shape, Sliding, he, register_described, spatial
from cnn_jax.layers.core import PADDING
from cnn_jax.ops import Padding, Window


@register_described("Depthwise")
class Depthwise(Sliding):
    """Convolution of each channel with a filter of its own (howard2017mobilenets, 3.1); `multiplier` filters for each
    channel."""

    size: int
    stride: int = 1
    padding: Padding = "valid"
    dilation: int = 1
    multiplier: int = 1
    bias: bool = True

    context = ("kernel_init",)
    kind = "dwconv"
    words = {"dwconv<size>[/<stride>]": {}}
    options = {**PADDING, "d<dilation>": {}, "m<multiplier>": {}, "nobias": {"bias": False}}

    def _window(self, length: int) -> Window:
        return Window.along(length, self.size, self.stride, self.padding, self.dilation)

    def _features(self, shape: Shape) -> int:
        return spatial(shape)[2] * self.multiplier

    def output_shape(self, shape: Shape) -> Shape:
        if self.multiplier < 1:
            raise RequestError(f"{self.multiplier} filters for each channel: at least 1 is needed")
        return (*self._output_size(shape), self._features(shape))

    def parameters(self, shape: Shape) -> int:
        return (self.size**2 + self.bias) * self._features(shape)

    def multiply_adds(self, shape: Shape) -> int:
        return math.prod(self._output_size(shape)) * self.size**2 * self._features(shape)

    @nn.compact
    def __call__(self, images: Array, *, kernel_init: KernelInit = he) -> Array:
        features, channels = self._features(images.shape[1:]), images.shape[-1]
        kernel = self.param("kernel", kernel_init, (self.size, self.size, 1, features)).astype(images.dtype)
        maps = ops.convolution(images, kernel, *self.windows(images.shape[1:]), groups=channels)
        if not self.bias:
            return maps
        return maps + self.param("bias", nn.initializers.zeros, (features,)).astype(images.dtype)[None, None, None]


@register_described("Blur")
class Blur(Sliding):
    """Subsampling of each channel after a binomial filter of `size`, which avoids aliasing (zhang2019making, 3.2); the
    border is reflected."""

    size: int
    stride: int = 2

    kind = "blur"
    words = {"blur<size>[/<stride>]": {}}

    def _window(self, length: int) -> Window:
        window = Window.along(length, self.size, self.stride, (self.size - 1) // 2)
        if max(window.low, self.size // 2) >= length:
            raise RequestError(f"a border of {self.size // 2} cannot be reflected in {length} positions")
        return window

    def output_shape(self, shape: Shape) -> Shape:
        return (*self._output_size(shape), shape[2])

    @nn.compact
    def __call__(self, images: Array) -> Array:
        channels, before = images.shape[-1], (self.size - 1) // 2
        row = np.array([math.comb(self.size - 1, i) for i in range(self.size)]) / 2 ** (self.size - 1)
        kernel = jnp.asarray(np.outer(row, row)[:, :, None, None], images.dtype)
        border = (before, before)
        padded = jnp.pad(images, ((0, 0), border, border, (0, 0)), mode="reflect")
        rows, columns = (Window.along(n, self.size, self.stride, "valid") for n in padded.shape[1:3])
        return ops.convolution(padded, jnp.tile(kernel, (1, 1, 1, channels)), rows, columns, groups=channels)


@register_described("Upsample")
class Upsample(Fixed):
    """Each position `factor` times along height and width, or linearly interpolated between their centres."""

    factor: int
    method: Literal["nearest", "bilinear"] = "nearest"

    kind = "up"
    zero_channels = True
    words = {"up<factor>": {}}
    options = {"bilinear": {"method": "bilinear"}}

    def output_shape(self, shape: Shape) -> Shape:
        height, width, channels = spatial(shape)
        if self.factor < 1:
            raise RequestError(f"upsampling by {self.factor}: at least 1 is needed")
        return height * self.factor, width * self.factor, channels

    @nn.compact
    def __call__(self, images: Array) -> Array:
        if self.method == "nearest":
            return images.repeat(self.factor, 1).repeat(self.factor, 2)
        return jax.image.resize(images, (images.shape[0], *self.output_shape(images.shape[1:])), "linear")


@register_described("ConvTranspose")
class ConvTranspose(Layer):
    """The transpose of a convolution with `stride` and `padding` (zeiler2010deconvolutional): n positions become
    (n - 1) · stride + size - 2 · padding."""

    features: int
    size: int
    stride: int = 1
    padding: int = 0
    bias: bool = True

    context = ("kernel_init",)
    kind = "tconv"
    words = {"tconv<size>-<features>[/<stride>]": {}}
    options = {"pad<padding>": {}, "nobias": {"bias": False}}

    def output_shape(self, shape: Shape) -> Shape:
        height, width, _ = spatial(shape)
        if not 0 <= self.padding < self.size or self.features < 1 or self.stride < 1:
            raise RequestError(f"{self.text()}: padding lies below the size, and there is at least one filter")
        rows, columns = ((n - 1) * self.stride + self.size - 2 * self.padding for n in (height, width))
        if min(rows, columns) < 1:
            raise RequestError(f"a padding of {self.padding} leaves nothing of {height}x{width}")
        return rows, columns, self.features

    def parameters(self, shape: Shape) -> int:
        return (self.size**2 * shape[2] + self.bias) * self.features

    def multiply_adds(self, shape: Shape) -> int:
        return math.prod(spatial(shape)) * self.size**2 * self.features

    @nn.compact
    def __call__(self, images: Array, *, kernel_init: KernelInit = he) -> Array:
        kernel = self.param("kernel", kernel_init, (self.size, self.size, images.shape[-1], self.features))
        border = (self.size - 1 - self.padding,) * 2
        maps = lax.conv_general_dilated(
            images, kernel.astype(images.dtype), (1, 1), (border, border), lhs_dilation=(self.stride, self.stride),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )  # fmt: skip
        if not self.bias:
            return maps
        return maps + self.param("bias", nn.initializers.zeros, (self.features,)).astype(images.dtype)[None, None, None]
