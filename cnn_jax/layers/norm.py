"""Normalisation over the batch and over neighbouring channels."""

import functools
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from cnn_jax import ops
from cnn_jax.errors import RequestError
from cnn_jax.layers.base import Fixed, Layer, Shape, register_described


@register_described("BatchNorm")
class BatchNorm(Layer):
    """Batch normalisation per channel (ioffe2015batch, algorithm 1) with a running mean and (biased) variance.

    In training the statistics are taken over the whole batch, without the examples whose mask is 0; with `axis_name`
    they are summed over that mesh axis. Without `scale` the channels keep unit variance and only a bias is learned.
    """

    momentum: float = 0.9
    epsilon: float = 1e-5
    scale: bool = True

    context = ("train", "mask", "axis_name", "relu")
    kind = "bn"
    zero_channels = True
    words = {"bn": {}}
    options = {"noscale": {"scale": False}}

    def output_shape(self, shape: Shape) -> Shape:
        return shape

    def parameters(self, shape: Shape) -> int:
        return (1 + self.scale) * shape[-1]

    @nn.compact
    def __call__(
        self,
        x: Array,
        *,
        train: bool = False,
        mask: Array | None = None,
        axis_name: str | None = None,
        relu: bool = False,
    ) -> Array:
        """`relu` applies a ReLU in the same operation."""
        channels = x.shape[-1:]
        scale = self.param("scale", nn.initializers.ones, channels) if self.scale else jnp.ones(channels)
        bias = self.param("bias", nn.initializers.zeros, channels)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, channels)
        running_variance = self.variable("batch_stats", "variance", jnp.ones, channels)
        dtype = jnp.promote_types(x.dtype, jnp.float32)
        leading = (None,) * (x.ndim - 1)
        mean, variance = running_mean.value, running_variance.value
        if train:
            mean, variance, count = _batch_statistics(x.astype(dtype), mask, axis_name)
            if not self.is_initializing():
                decay = jnp.where(count > 0, self.momentum, 1.0)  # a batch of padding alone changes nothing
                for running, new in ((running_mean, mean), (running_variance, variance)):
                    running.value = decay * running.value + (1.0 - decay) * lax.stop_gradient(new)
        factor = scale * lax.rsqrt(variance + self.epsilon)
        offset = bias - mean * factor
        if x.ndim == 4:
            return ops.affine(x.astype(dtype), factor, offset, relu).astype(x.dtype)
        output = (x.astype(dtype) * factor[leading] + offset[leading]).astype(x.dtype)
        return jax.nn.relu(output) if relu else output


def _batch_statistics(x: Array, mask: Array | None, axis_name: str | None) -> tuple[Array, Array, Array]:
    """Mean and variance per channel over the whole batch, and the number of values per channel."""
    if mask is None:
        mask = jnp.ones(x.shape[0], x.dtype)
    if x.ndim == 4 and axis_name is None:
        return *ops.moments(x, mask.astype(x.dtype)), mask.sum() * math.prod(x.shape[1:-1])
    weight = mask.astype(x.dtype).reshape(-1, *(1,) * (x.ndim - 1))
    count = _total(weight.sum(), axis_name) * math.prod(x.shape[1:-1])
    mean, variance = _moments(axis_name, x, weight / jnp.maximum(count, 1.0))
    return mean, variance, count


def _total(value: Array, axis_name: str | None) -> Array:
    return value if axis_name is None else lax.psum(value, axis_name)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _moments(axis_name: str | None, x: Array, weight: Array) -> tuple[Array, Array]:
    """Weighted mean and variance per channel; the weights sum to one.

    The derivative is written out, since the variance has zero derivative with respect to the mean, and autodiff would
    spend a pass over memory on it.
    """
    axes = tuple(range(x.ndim - 1))
    mean = _total((x * weight).sum(axes), axis_name)
    return mean, _total((jnp.square(x - mean[(None,) * len(axes)]) * weight).sum(axes), axis_name)


@_moments.defjvp
def _(axis_name: str | None, primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> Any:
    (x, weight), (dx, _) = primals, tangents  # the weights come from the mask, which is constant
    axes = tuple(range(x.ndim - 1))
    mean, variance = _moments(axis_name, x, weight)
    dx = dx * weight
    variance_tangent = _total((2.0 * (x - mean[(None,) * len(axes)]) * dx).sum(axes), axis_name)
    return (mean, variance), (_total(dx.sum(axes), axis_name), variance_tangent)


@register_described("LocalResponseNorm")
class LocalResponseNorm(Fixed):
    """x / (k + alpha · sum of x² over `size` neighbouring channels) ^ beta (krizhevsky2012imagenet, 3.3).

    `alpha` multiplies the sum, as in the paper; Caffe and PyTorch divide it by `size` first.
    """

    size: int
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 2.0

    kind = "lrn"
    zero_channels = True
    words = {"lrn<size>": {}}

    def output_shape(self, shape: Shape) -> Shape:
        if self.size < 1:
            raise RequestError(f"{self.size} neighbouring channels: at least 1 is needed")
        return shape

    @nn.compact
    def __call__(self, x: Array) -> Array:
        # A product with a banded matrix, whose transpose is another, and a logarithm: on a CPU, XLA computes sums of
        # slices, their transpose and powers many times slower.
        channel = np.arange(x.shape[-1])
        offset = channel[:, None] - channel + self.size // 2  # of a channel that is summed, in the window of another
        band = jnp.asarray((offset >= 0) & (offset < self.size), x.dtype)
        total = jnp.matmul(jnp.square(x), band, precision="highest")
        return x * jnp.exp(-self.beta * jnp.log(self.k + self.alpha * total))


@register_described("LayerNorm")
class LayerNorm(Layer):
    """Normalises the channels of each position of each example to zero mean and unit variance (ba2016layer; over the
    channels alone as in liu2022convnet), then scales and shifts each channel."""

    epsilon: float = 1e-6

    kind = "ln"
    words = {"ln": {}}

    def output_shape(self, shape: Shape) -> Shape:
        return shape

    def parameters(self, shape: Shape) -> int:
        return 2 * shape[-1]

    @nn.compact
    def __call__(self, x: Array) -> Array:
        return _scaled_and_shifted(self, _normalised(x, (-1,), self.epsilon), x.dtype)


@register_described("GroupNorm")
class GroupNorm(Layer):
    """Normalises each of `groups` groups of channels, over all positions of an example (wu2018group, equation 7), then
    scales and shifts each channel."""

    groups: int
    epsilon: float = 1e-5

    kind = "gn"
    words = {"gn<groups>": {}}

    def output_shape(self, shape: Shape) -> Shape:
        if self.groups < 1 or shape[-1] % self.groups:
            raise RequestError(f"{shape[-1]} channels do not split in {self.groups} groups")
        return shape

    def parameters(self, shape: Shape) -> int:
        return 2 * shape[-1]

    @nn.compact
    def __call__(self, x: Array) -> Array:
        grouped = x.reshape(*x.shape[:-1], self.groups, -1)
        axes = (*range(1, x.ndim - 1), x.ndim)
        return _scaled_and_shifted(self, _normalised(grouped, axes, self.epsilon).reshape(x.shape), x.dtype)


def _normalised(x: Array, axes: tuple[int, ...], epsilon: float) -> Array:
    """`x` less its mean over these axes, divided by its standard deviation; in at least float32."""
    x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    x = x - x.mean(axes, keepdims=True)
    return x * lax.rsqrt(jnp.square(x).mean(axes, keepdims=True) + epsilon)


def _scaled_and_shifted(layer: Layer, x: Array, dtype: Any) -> Array:
    """`x` times a learned scale plus a learned bias of each channel."""
    leading = (None,) * (x.ndim - 1)
    scale = layer.param("scale", nn.initializers.ones, x.shape[-1:])
    bias = layer.param("bias", nn.initializers.zeros, x.shape[-1:])
    return (x * scale[leading] + bias[leading]).astype(dtype)
