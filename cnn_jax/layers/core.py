"""Convolution, pooling, dense layers, dropout."""

import math
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array, lax

from cnn_jax import ops
from cnn_jax.errors import RequestError
from cnn_jax.layers.base import (
    Fixed,
    KernelInit,
    Layer,
    Shape,
    Sliding,
    Windows,
    full_windows,
    he,
    register_described,
    spatial,
    with_feedback,
)  # fmt: skip
from cnn_jax.ops import Padding, Window

PADDING: dict[str, dict[str, Any]] = {"valid": {"padding": "valid"}, "same": {"padding": "same"}, "pad<padding>": {}}
STANDARDISED = 1e-10  # added to the variance of standardised weights


@register_described("Conv")
class Conv(Sliding):
    """Convolution with `features` square filters of `size`, or of `size` rows and `columns` columns.

    `connections` lists for each filter the input channels that it sees (lecun1998gradient, table I); no other weights
    exist. `bias_per_position` gives every position of a map its own bias (lecun1989backpropagation, "untied"). With
    `standardised` the weights of each filter are used with zero mean and unit variance (qiao2019weight, equation 3).
    """

    features: int
    size: int
    stride: int = 1
    padding: Padding = "valid"
    dilation: int = 1
    groups: int = 1
    bias: bool = True
    bias_per_position: bool = False
    connections: tuple[tuple[int, ...], ...] | None = None
    standardised: bool = False
    columns: int | None = None

    context = ("kernel_init", "pool", "relu", "feedback_key")
    kind = "conv"
    words = {"conv<size>-<features>[/<stride>]": {}}
    options = {**PADDING, "g<groups>": {}, "d<dilation>": {}, "nobias": {"bias": False}, "ws": {"standardised": True}}
    options |= {"x<columns>": {}}

    @property
    def sides(self) -> tuple[int, int]:
        """The rows and columns of a filter."""
        return self.size, self.size if self.columns is None else self.columns

    def windows(self, shape: Shape) -> Windows:
        rows, columns = (
            Window.along(length, side, self.stride, self.padding, self.dilation)
            for length, side in zip(spatial(shape)[:2], self.sides, strict=True)
        )
        return rows, columns

    def output_shape(self, shape: Shape) -> Shape:
        channels = spatial(shape)[2]
        if self.features < 1:
            raise RequestError(f"{self.features} filters: at least 1 is needed")
        if self.groups < 1 or channels % self.groups or self.features % self.groups:
            raise RequestError(f"{channels} input channels and {self.features} filters do not split in {self.groups}")
        if self.standardised and self.connections is not None:
            raise RequestError("the weights of a connection table are not standardised")
        if self.connections is not None:
            seen = {channel for filter in self.connections for channel in filter}
            once = all(0 < len(filter) == len(set(filter)) for filter in self.connections)
            if len(self.connections) != self.features or not once or min(seen) < 0 or max(seen) >= channels:
                raise RequestError(f"its connection table does not fit {self.features} filters on {channels} channels")
        return (*self._output_size(shape), self.features)

    def _kernel_shape(self, channels: int) -> Shape:
        if self.connections is not None:
            return (*self.sides, sum(map(len, self.connections)))
        return (*self.sides, channels // self.groups, self.features)

    def _bias_shape(self, shape: Shape) -> Shape:
        return self.output_shape(shape) if self.bias_per_position else (self.features,)

    def parameters(self, shape: Shape) -> int:
        return math.prod(self._kernel_shape(shape[2])) + self.bias * math.prod(self._bias_shape(shape))

    def multiply_adds(self, shape: Shape) -> int:
        per_position = self._kernel_shape(shape[2])
        return math.prod(self._output_size(shape)) * math.prod(per_position)

    @property
    def zero_channels(self) -> bool:  # type: ignore[override]
        return self.groups == 1 and self.connections is None

    @property
    def plain_bias(self) -> bool:
        """Whether every map has a single bias, so that a following ReLU and pool can be fused."""
        return self.bias and not self.bias_per_position

    @nn.compact
    def __call__(
        self,
        images: Array,
        *,
        kernel_init: KernelInit = he,
        pool: int = 1,
        relu: bool = False,
        feedback_key: Array | None = None,
    ) -> Array:
        """`relu` and `pool` > 1 apply a ReLU and a max pool of that size in the same operation as the convolution; both
        need `plain_bias`. `feedback_key` replaces the kernel by random weights in the backward pass."""
        shape = images.shape[1:]
        kernel_shape = self._kernel_shape(shape[2])
        if self.connections is None:
            kernel = self.param("kernel", kernel_init, kernel_shape)
        else:
            kernel = self.param("kernel", self._table_init(kernel_init), kernel_shape)
            pairs = [(channel, f) for f, channels in enumerate(self.connections) for channel in channels]
            channel, filter = map(jnp.asarray, zip(*pairs, strict=True))
            dense_kernel = jnp.zeros((*self.sides, shape[2], self.features), kernel.dtype)
            kernel = dense_kernel.at[:, :, channel, filter].set(kernel)
        if self.standardised:
            kernel = kernel - kernel.mean((0, 1, 2), keepdims=True)
            kernel = kernel * lax.rsqrt(jnp.square(kernel).mean((0, 1, 2), keepdims=True) + STANDARDISED)
        kernel = jnp.asarray(kernel, images.dtype)
        if self.bias:
            bias = jnp.asarray(self.param("bias", nn.initializers.zeros, self._bias_shape(shape)), images.dtype)
        if relu or pool > 1:
            return ops.convolution_pooled(images, kernel, bias, *self.windows(shape), self.groups, pool, relu)
        windows, groups = self.windows(shape), self.groups
        maps = with_feedback(lambda x, k: ops.convolution(x, k, *windows, groups=groups), images, kernel, feedback_key)
        return maps + bias[(None,) * (1 if self.bias_per_position else 3)] if self.bias else maps

    def _table_init(self, kernel_init: KernelInit) -> KernelInit:
        def init(key: Array, shape: Shape) -> Array:
            assert self.connections is not None
            keys = jax.random.split(key, len(self.connections))
            parts = [
                kernel_init(k, (*self.sides, len(channels), 1))[..., 0]
                for k, channels in zip(keys, self.connections, strict=True)
            ]
            return jnp.concatenate(parts, axis=-1)

        return init


@register_described("Pool")
class Pool(Sliding):
    """Max or average pooling over a square window. `stride` defaults to `size`; `ceil` rounds the output size up.

    In an average, padding counts as zeros; the overhang of `ceil` does not count.
    """

    kind: Literal["max", "avg"]  # type: ignore[misc]
    size: int
    stride: int | None = None
    padding: Padding = "valid"
    ceil: bool = False

    zero_channels = True
    words = {"max<size>[/<stride>]": {"kind": "max"}, "avg<size>[/<stride>]": {"kind": "avg"}}
    options = {**PADDING, "ceil": {"ceil": True}}

    @classmethod
    def make(cls, **fields: Any) -> "Pool":
        """The pool with the fields given in the notation; a stride equal to the size becomes the default, None."""
        return cls(**fields | {"stride": None} if fields.get("stride") == fields["size"] else fields)

    def _window(self, length: int) -> Window:
        stride = self.size if self.stride is None else self.stride
        return Window.along(length, self.size, stride, self.padding, ceil=self.ceil)

    def output_shape(self, shape: Shape) -> Shape:
        return (*self._output_size(shape), shape[2])

    @nn.compact
    def __call__(self, images: Array) -> Array:
        pool = ops.max_pool if self.kind == "max" else ops.average_pool
        return pool(images, *self.windows(images.shape[1:]))


@register_described("GlobalPool")
class GlobalPool(Fixed):
    """The mean over height and width: (h, w, c) becomes (c,) (lin2014network, 3.2)."""

    kind = "gap"
    zero_channels = True
    words = {"gap": {}}

    def output_shape(self, shape: Shape) -> Shape:
        return spatial(shape)[2:]

    def windows(self, shape: Shape) -> Windows:
        return full_windows(shape)

    @nn.compact
    def __call__(self, images: Array) -> Array:
        return images.mean((1, 2))


@register_described("Pad")
class Pad(Fixed):
    """A border of `amount` positions of `value` on all four sides."""

    amount: int
    value: float = 0.0

    kind = "pad"
    words = {"pad<amount>": {}}

    @property
    def zero_channels(self) -> bool:  # type: ignore[override]
        return self.value == 0.0

    def output_shape(self, shape: Shape) -> Shape:
        height, width, channels = spatial(shape)
        if self.amount < 0:
            raise RequestError(f"padding {self.amount} must not be negative")
        return height + 2 * self.amount, width + 2 * self.amount, channels

    def windows(self, shape: Shape) -> Windows:
        rows, columns = (Window.along(length, 1, 1, self.amount) for length in spatial(shape)[:2])
        return rows, columns

    @nn.compact
    def __call__(self, images: Array) -> Array:
        border = (self.amount, self.amount)
        return jnp.pad(images, ((0, 0), border, border, (0, 0)), constant_values=self.value)


@register_described("Dense")
class Dense(Layer):
    """A fully connected layer; an input with height and width is flattened in row-major (h, w, c) order. Its output is
    multiplied by `scale`, which keeps the first logits small whatever the size of the weights."""

    features: int
    bias: bool = True
    scale: float = 1.0

    context = ("kernel_init", "feedback_key")
    kind = "dense"
    zero_channels = True
    words = {"dense-<features>": {}}
    options = {"nobias": {"bias": False}}

    def output_shape(self, shape: Shape) -> Shape:
        if self.features < 1:
            raise RequestError(f"{self.features} units: at least 1 is needed")
        return (self.features,)

    def windows(self, shape: Shape) -> Windows | None:
        return full_windows(shape) if len(shape) == 3 else None

    def parameters(self, shape: Shape) -> int:
        return (math.prod(shape) + self.bias) * self.features

    def multiply_adds(self, shape: Shape) -> int:
        return math.prod(shape) * self.features

    @nn.compact
    def __call__(self, x: Array, *, kernel_init: KernelInit = he, feedback_key: Array | None = None) -> Array:
        """`feedback_key` replaces the kernel by random weights in the backward pass."""
        x = x.reshape(x.shape[0], math.prod(x.shape[1:]))
        kernel = self.param("kernel", kernel_init, (x.shape[1], self.features))
        x = with_feedback(jnp.matmul, x, kernel.astype(x.dtype), feedback_key)
        if self.bias:
            x += self.param("bias", nn.initializers.zeros, (self.features,)).astype(x.dtype)[None]
        return x if self.scale == 1.0 else x * self.scale


@register_described("Dropout")
class Dropout(Fixed):
    """In training, zeroes each value with probability `rate` and divides the others by 1 - rate
    (srivastava2014dropout, 10, "inverted")."""

    rate: float

    context = ("train", "dropout_key", "dropout_rate", "channels")
    kind = "drop"
    zero_channels = True
    words = {"drop<rate>": {}}

    def output_shape(self, shape: Shape) -> Shape:
        if not 0.0 <= self.rate < 1.0:
            raise RequestError(f"dropout rate {self.rate} must lie in [0, 1)")
        return shape

    @nn.compact
    def __call__(
        self,
        x: Array,
        *,
        train: bool = False,
        dropout_key: Array | None = None,
        dropout_rate: Array | None = None,
        channels: Array | None = None,
    ) -> Array:
        """`dropout_rate`, which may be traced, overrides `rate`. `channels`, which may be traced, is the number of
        channels of a narrower network: its values, in the first channels, are dropped as in that network."""
        rate = self.rate if dropout_rate is None else dropout_rate
        if not train or (dropout_rate is None and rate == 0.0):
            return x
        assert dropout_key is not None, "a network with dropout is trained with a key"
        if channels is None:
            keep = jax.random.bernoulli(dropout_key, 1.0 - rate, x.shape)
        else:  # a draw depends only on its place in the flat array
            own = jnp.arange(x.size // x.shape[-1])[:, None] * channels + jnp.arange(x.shape[-1])[None]
            keep = jax.random.bernoulli(dropout_key, 1.0 - rate, (x.size,))[own].reshape(x.shape)
        return jnp.where(keep, x / (1.0 - rate), 0.0).astype(x.dtype)
