"""The layers: Flax Linen modules that are also descriptions.

A layer is a value (`Conv(32, 5)`), equal to another with the same fields. It knows by arithmetic alone what it makes of
an input shape: `output_shape`, `windows`, `parameters`, `multiply_adds`. Called on images it computes. Shapes are those
of one example: (height, width, channels), or (features,) after a dense layer or a global pool; arrays have a leading
batch axis. Parameters are created in float32 and used in the dtype of the images.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array, lax

from cnn_jax import ops
from cnn_jax.errors import RequestError, quote
from cnn_jax.ops import Padding, Window

MOST_LAYERS = 10_000  # of a network
MOST_NESTED = 32  # residual blocks within residual blocks

Shape = tuple[int, ...]
Windows = tuple[Window, Window]
KernelInit = Callable[..., Array]  # (key, shape) -> float32 array

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "relu": jax.nn.relu,
    "tanh": jnp.tanh,
    "stanh": lambda x: 1.7159 * jnp.tanh(x * (2.0 / 3.0)),  # lecun1998gradient, appendix A
    "sigmoid": jax.nn.sigmoid,
    "gelu": jax.nn.gelu,
    "silu": jax.nn.silu,
}

Backward = Literal["gradient", "guided", "deconvnet", "redirected"]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _relu(backward: Backward, x: Array) -> Array:
    """A ReLU with another rule for the signal on its way back. 'deconvnet' passes what is positive
    (zeiler2014visualizing, 2.1, "rectification"), 'guided' what is positive where the ReLU itself passed
    (springenberg2015striving, 3.4), 'redirected' what is positive or where the ReLU passed, so that a silent unit can
    be woken (olah2017feature)."""
    return jax.nn.relu(x)


def _relu_forward(backward: Backward, x: Array) -> tuple[Array, Array]:
    return jax.nn.relu(x), x > 0


def _relu_backward(backward: Backward, passed: Array, signal: Array) -> tuple[Array]:
    positive = signal > 0
    kept = {"guided": positive & passed, "deconvnet": positive, "redirected": positive | passed}[backward]
    return (jnp.where(kept, signal, 0),)


_relu.defvjp(_relu_forward, _relu_backward)


def _sent_back(product: Callable[[Array, Array], Array], x: Array, kernel: Array, feedback_key: Array | None) -> Array:
    """`product(x, kernel)`. With a key the derivative with respect to `x` is taken through fixed random weights instead
    of the kernel (feedback alignment: lillicrap2016random); the value and the kernel's derivative stay the same."""
    if feedback_key is None:
        return product(x, kernel)
    through = product(x, lax.stop_gradient(he(feedback_key, kernel.shape).astype(kernel.dtype)))
    return product(lax.stop_gradient(x), kernel) + (through - lax.stop_gradient(through))


he = jax.nn.initializers.variance_scaling(2.0, "fan_in", "normal")  # he2015delving, 2.2
INITIALISERS: dict[str, Callable[[float | Array], KernelInit]] = {
    "he": lambda scale: _scaled(he, scale),
    "glorot": lambda scale: _scaled(jax.nn.initializers.glorot_uniform(), scale),  # glorot2010understanding, 4.2
    "lecun": lambda scale: _scaled(jax.nn.initializers.variance_scaling(1.0, "fan_in", "normal"), scale),
    "normal": lambda scale: _scaled(jax.nn.initializers.normal(0.01), scale),  # krizhevsky2012imagenet, 5
}


def _scaled(init: KernelInit, scale: float | Array) -> KernelInit:
    return lambda key, shape: scale * init(key, shape)


class Layer(nn.Module):
    """Base of all layers. `kind` is the word that numbered layer names are made of (conv1, relu2), `context` names the
    keywords that a layer's call takes beside its input."""

    kind: ClassVar[str]
    context: ClassVar[tuple[str, ...]] = ()

    def output_shape(self, shape: Shape) -> Shape:
        """The shape that an input of `shape` becomes. Raises RequestError with the arithmetic if it cannot be."""
        return shape

    def windows(self, shape: Shape) -> Windows | None:
        """The windows along height and width through which an output position sees the input, if there are any."""
        return None

    def parameters(self, shape: Shape) -> int:
        """Number of trained parameters, running statistics not among them."""
        return 0

    def multiply_adds(self, shape: Shape) -> int:
        """Multiply-adds of convolutions and dense layers for one example; biases and elementwise work not counted."""
        return 0


def spatial(shape: Shape) -> tuple[int, int, int]:
    """`shape` as (height, width, channels); refused if the layers before have flattened it."""
    if len(shape) != 3:
        raise RequestError(f"its input {shape} has no height and width: it must come before a dense layer or `gap`")
    return shape


def _whole(shape: Shape) -> Windows:
    height, width, _ = spatial(shape)
    return Window.along(height, height, 1, "valid"), Window.along(width, width, 1, "valid")


class _Sliding(Layer):
    """What convolutions and pools share: a square window, the same along height and width."""

    def windows(self, shape: Shape) -> Windows:
        height, width, _ = spatial(shape)
        return self._window(height), self._window(width)

    def _window(self, length: int) -> Window:
        raise NotImplementedError

    def _output_size(self, shape: Shape) -> tuple[int, int]:
        rows, columns = self.windows(shape)
        return rows.output, columns.output


class Conv(_Sliding):
    """Convolution with `features` square filters of `size`.

    `connections` names for each filter the input channels that it sees (lecun1998gradient, table I); only those weights
    exist. `bias_per_position` gives every position of the map a bias of its own (lecun1989backpropagation, "untied").
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

    context = ("kernel_init", "pool", "rectify", "feedback_key")
    kind = "conv"

    def _window(self, length: int) -> Window:
        return Window.along(length, self.size, self.stride, self.padding, self.dilation)

    def output_shape(self, shape: Shape) -> Shape:
        channels = spatial(shape)[2]
        if self.features < 1:
            raise RequestError(f"{self.features} filters: at least 1 is needed")
        if self.groups < 1 or channels % self.groups or self.features % self.groups:
            raise RequestError(f"{channels} input channels and {self.features} filters do not split in {self.groups}")
        if self.connections is not None:
            seen = {channel for filter in self.connections for channel in filter}
            once = all(0 < len(filter) == len(set(filter)) for filter in self.connections)
            if len(self.connections) != self.features or not once or min(seen) < 0 or max(seen) >= channels:
                raise RequestError(f"its connection table does not fit {self.features} filters on {channels} channels")
        return (*self._output_size(shape), self.features)

    def _kernel_shape(self, channels: int) -> Shape:
        if self.connections is not None:
            return (self.size, self.size, sum(map(len, self.connections)))
        return (self.size, self.size, channels // self.groups, self.features)

    def _bias_shape(self, shape: Shape) -> Shape:
        return self.output_shape(shape) if self.bias_per_position else (self.features,)

    def parameters(self, shape: Shape) -> int:
        return math.prod(self._kernel_shape(shape[2])) + self.bias * math.prod(self._bias_shape(shape))

    def multiply_adds(self, shape: Shape) -> int:
        per_position = self._kernel_shape(shape[2])
        return math.prod(self._output_size(shape)) * math.prod(per_position)

    @property
    def plain_bias(self) -> bool:
        """Whether every map has one bias, so that a relu and a pool behind can be fused."""
        return self.bias and not self.bias_per_position

    @nn.compact
    def __call__(
        self,
        images: Array,
        *,
        kernel_init: KernelInit = he,
        pool: int = 1,
        rectify: bool = False,
        feedback_key: Array | None = None,
    ) -> Array:
        """With `rectify` a relu and with `pool` > 1 a max pool of that size follow, in one operation with the
        convolution; both need `plain_bias`. `feedback_key` sends the signal back through random weights."""
        shape = images.shape[1:]
        kernel_shape = self._kernel_shape(shape[2])
        if self.connections is None:
            kernel = self.param("kernel", kernel_init, kernel_shape)
        else:
            kernel = self.param("kernel", self._table_init(kernel_init), kernel_shape)
            into = [(channel, f) for f, channels in enumerate(self.connections) for channel in channels]
            channel, filter = map(jnp.asarray, zip(*into, strict=True))
            whole = jnp.zeros((self.size, self.size, shape[2], self.features), kernel.dtype)
            kernel = whole.at[:, :, channel, filter].set(kernel)
        kernel = jnp.asarray(kernel, images.dtype)
        if self.bias:
            bias = jnp.asarray(self.param("bias", nn.initializers.zeros, self._bias_shape(shape)), images.dtype)
        if rectify or pool > 1:
            return ops.convolution_pooled(images, kernel, bias, *self.windows(shape), self.groups, pool, rectify)
        windows, groups = self.windows(shape), self.groups
        maps = _sent_back(lambda x, k: ops.convolution(x, k, *windows, groups=groups), images, kernel, feedback_key)
        return maps + bias[(None,) * (1 if self.bias_per_position else 3)] if self.bias else maps

    def _table_init(self, kernel_init: KernelInit) -> KernelInit:
        def init(key: Array, shape: Shape) -> Array:
            assert self.connections is not None
            keys = jax.random.split(key, len(self.connections))
            parts = [
                kernel_init(k, (self.size, self.size, len(channels), 1))[..., 0]
                for k, channels in zip(keys, self.connections, strict=True)
            ]
            return jnp.concatenate(parts, axis=-1)

        return init


class Pool(_Sliding):
    """Max or average pooling over a square window. `stride` is `size` unless given; `ceil` rounds the output size up.

    In an average, padding counts as zeros, the overhang of `ceil` does not count.
    """

    kind: Literal["max", "avg"]  # type: ignore[misc]
    size: int
    stride: int | None = None
    padding: Padding = "valid"
    ceil: bool = False

    def _window(self, length: int) -> Window:
        stride = self.size if self.stride is None else self.stride
        return Window.along(length, self.size, stride, self.padding, ceil=self.ceil)

    def output_shape(self, shape: Shape) -> Shape:
        return (*self._output_size(shape), shape[2])

    @nn.compact
    def __call__(self, images: Array) -> Array:
        pool = ops.max_pool if self.kind == "max" else ops.average_pool
        return pool(images, *self.windows(images.shape[1:]))


class Subsample(_Sliding):
    """The trainable subsampling of lecun1998gradient, II.B: the sum under a window times a coefficient plus a bias,
    one of each per map. The coefficient starts as 1 / size², an average."""

    size: int

    kind = "sub"

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


class GlobalPool(Layer):
    """The mean over height and width: (h, w, c) becomes (c,) (lin2014network, 3.2)."""

    kind = "gap"

    def output_shape(self, shape: Shape) -> Shape:
        return spatial(shape)[2:]

    def windows(self, shape: Shape) -> Windows:
        return _whole(shape)

    @nn.compact
    def __call__(self, images: Array) -> Array:
        return images.mean((1, 2))


class Pad(Layer):
    """A border of `amount` positions with `value` on all four sides."""

    amount: int
    value: float = 0.0

    kind = "pad"

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


class Activation(Layer):
    """An elementwise nonlinearity, one of ACTIVATIONS."""

    kind: str  # type: ignore[misc]

    context = ("backward",)

    def output_shape(self, shape: Shape) -> Shape:
        if self.kind not in ACTIVATIONS:
            raise RequestError(f"activation {quote(self.kind)} is unknown; there are {', '.join(ACTIVATIONS)}")
        return shape

    @nn.compact
    def __call__(self, x: Array, *, backward: Backward = "gradient") -> Array:
        """`backward` is what a ReLU does with the signal on its way back; other nonlinearities know no other rule."""
        if self.kind == "relu" and backward != "gradient":
            return _relu(backward, x)
        return ACTIVATIONS[self.kind](x)


class BatchNorm(Layer):
    """Batch normalisation per channel (ioffe2015batch, algorithm 1) with a running mean and (biased) variance.

    In training the statistics are those of the whole batch: examples with mask 0 have no part in them, and with
    `axis_name` they are summed over that mesh axis.
    """

    momentum: float = 0.9
    epsilon: float = 1e-5

    context = ("train", "mask", "axis_name", "rectify")
    kind = "bn"

    def parameters(self, shape: Shape) -> int:
        return 2 * shape[-1]

    @nn.compact
    def __call__(
        self,
        x: Array,
        *,
        train: bool = False,
        mask: Array | None = None,
        axis_name: str | None = None,
        rectify: bool = False,
    ) -> Array:
        """With `rectify` a relu follows, in one operation."""
        channels = x.shape[-1:]
        scale = self.param("scale", nn.initializers.ones, channels)
        bias = self.param("bias", nn.initializers.zeros, channels)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, channels)
        running_variance = self.variable("batch_stats", "variance", jnp.ones, channels)
        dtype = jnp.promote_types(x.dtype, jnp.float32)
        leading = (None,) * (x.ndim - 1)
        mean, variance = running_mean.value, running_variance.value
        if train:
            mean, variance, count = _batch_statistics(x.astype(dtype), mask, axis_name)
            if not self.is_initializing():
                kept = jnp.where(count > 0, self.momentum, 1.0)  # a batch of padding alone says nothing
                for running, new in ((running_mean, mean), (running_variance, variance)):
                    running.value = kept * running.value + (1.0 - kept) * lax.stop_gradient(new)
        factor = scale * lax.rsqrt(variance + self.epsilon)
        offset = bias - mean * factor
        if x.ndim == 4:
            return ops.affine(x.astype(dtype), factor, offset, rectify).astype(x.dtype)
        made = (x.astype(dtype) * factor[leading] + offset[leading]).astype(x.dtype)
        return jax.nn.relu(made) if rectify else made


def _batch_statistics(x: Array, mask: Array | None, axis_name: str | None) -> tuple[Array, Array, Array]:
    """Mean, variance and the number of values they are of, per channel, over the whole batch."""
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

    Its own derivative, since that of the variance by way of the mean is zero, but a pass over memory to compute.
    """
    axes = tuple(range(x.ndim - 1))
    mean = _total((x * weight).sum(axes), axis_name)
    return mean, _total((jnp.square(x - mean[(None,) * len(axes)]) * weight).sum(axes), axis_name)


@_moments.defjvp
def _(axis_name: str | None, primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> Any:
    (x, weight), (dx, _) = primals, tangents  # the weights are the mask's, which is no function of anything
    axes = tuple(range(x.ndim - 1))
    mean, variance = _moments(axis_name, x, weight)
    dx = dx * weight
    of_variance = _total((2.0 * (x - mean[(None,) * len(axes)]) * dx).sum(axes), axis_name)
    return (mean, variance), (_total(dx.sum(axes), axis_name), of_variance)


class LocalResponseNorm(Layer):
    """x / (k + alpha · sum of x² over `size` neighbouring channels) ^ beta (krizhevsky2012imagenet, 3.3).

    `alpha` multiplies the sum, as in the paper; Caffe and PyTorch divide it by `size` first.
    """

    size: int
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 2.0

    kind = "lrn"

    def output_shape(self, shape: Shape) -> Shape:
        if self.size < 1:
            raise RequestError(f"{self.size} neighbouring channels: at least 1 is needed")
        return shape

    @nn.compact
    def __call__(self, x: Array) -> Array:
        below, channels = self.size // 2, x.shape[-1]
        squares = jnp.pad(jnp.square(x), [(0, 0)] * (x.ndim - 1) + [(below, self.size - 1 - below)])
        total = sum(lax.slice_in_dim(squares, i, i + channels, axis=-1) for i in range(self.size))
        return x / (self.k + self.alpha * total) ** self.beta


class Dropout(Layer):
    """In training, zeroes each value with probability `rate` and divides the others by 1 - rate
    (srivastava2014dropout, 10, "inverted")."""

    rate: float

    context = ("train", "dropout_key", "dropout_rate")
    kind = "drop"

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
    ) -> Array:
        """`dropout_rate`, which may be traced, stands in for `rate`."""
        rate = self.rate if dropout_rate is None else dropout_rate
        if not train or (dropout_rate is None and rate == 0.0):
            return x
        assert dropout_key is not None, "a network with dropout is trained with a key"
        kept = jax.random.bernoulli(dropout_key, 1.0 - rate, x.shape)
        return jnp.where(kept, x / (1.0 - rate), 0.0).astype(x.dtype)


class Dense(Layer):
    """A fully connected layer; an input with height and width is flattened in row-major (h, w, c) order."""

    features: int
    bias: bool = True

    context = ("kernel_init", "feedback_key")
    kind = "dense"

    def output_shape(self, shape: Shape) -> Shape:
        if self.features < 1:
            raise RequestError(f"{self.features} units: at least 1 is needed")
        return (self.features,)

    def windows(self, shape: Shape) -> Windows | None:
        return _whole(shape) if len(shape) == 3 else None

    def parameters(self, shape: Shape) -> int:
        return (math.prod(shape) + self.bias) * self.features

    def multiply_adds(self, shape: Shape) -> int:
        return math.prod(shape) * self.features

    @nn.compact
    def __call__(self, x: Array, *, kernel_init: KernelInit = he, feedback_key: Array | None = None) -> Array:
        """`feedback_key` sends the signal back through random weights."""
        x = x.reshape(x.shape[0], math.prod(x.shape[1:]))
        kernel = self.param("kernel", kernel_init, (x.shape[1], self.features))
        x = _sent_back(jnp.matmul, x, kernel.astype(x.dtype), feedback_key)
        if self.bias:
            x += self.param("bias", nn.initializers.zeros, (self.features,)).astype(x.dtype)[None]
        return x


class RadialBasis(Layer):
    """The output layer of LeNet-5 (lecun1998gradient, II.B): minus the squared distance to each class's fixed code."""

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


class Residual(Layer):
    """body(x) + shortcut(x) (he2016deep, 3.2 and 3.3).

    `shortcut` is 'identity'; 'proj', a 1x1 convolution (their option B) that ends as the body ends, with batch norm or
    without and with a bias or without; or 'padA', every stride-th position and zeros for the new channels (option A,
    half of the zeros before, half after). The stride is the body's. The network runs the parts.
    """

    body: tuple[Layer, ...]
    shortcut: Literal["identity", "proj", "padA"] = "identity"

    kind = "res"

    def stride(self) -> int:
        """The product of the strides in the body."""
        strides = [layer.stride for layer in self.body if isinstance(layer, Conv | Pool)]
        return math.prod(layer or 1 for layer in strides)

    @nn.nowrap  # else Flax would adopt the layers made here
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

    def check_shapes(self, shape: Shape, body: Shape) -> None:
        """Raises RequestError if the shortcut of an input of `shape` cannot be added to a body's output of `body`."""
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


LAYERS: dict[str, Any] = {
    layer.__name__: layer
    for layer in (
        Conv, Pool, Subsample, GlobalPool, Pad, Activation, BatchNorm, LocalResponseNorm, Dropout, Dense, RadialBasis,
        Residual,
    )
}  # fmt: skip
