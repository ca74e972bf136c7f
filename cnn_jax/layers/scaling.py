"""Learned and random factors: squeeze-and-excitation, scaled and gated residual branches, stochastic depth."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from cnn_jax.errors import RequestError
from cnn_jax.layers.activation import ACTIVATIONS
from cnn_jax.layers.base import Fixed, KernelInit, Layer, Shape, he, register_described, spatial


@register_described("SqueezeExcite")
class SqueezeExcite(Layer):
    """Each channel times a gate that two dense layers, the first with `squeezed` units, compute from the means of all
    channels (hu2018squeeze, 3)."""

    squeezed: int
    activation: str = "relu"
    gate: str = "sigmoid"

    context = ("kernel_init",)
    kind = "se"
    words = {"se-<squeezed>": {}}

    def output_shape(self, shape: Shape) -> Shape:
        spatial(shape)
        for name in (self.activation, self.gate):
            ACTIVATIONS[name]  # raises RequestError for an unknown name
        if self.squeezed < 1:
            raise RequestError(f"{self.squeezed} squeezed units: at least 1 is needed")
        return shape

    def parameters(self, shape: Shape) -> int:
        return (2 * shape[2] + 1) * self.squeezed + shape[2]

    def multiply_adds(self, shape: Shape) -> int:
        return 2 * shape[2] * self.squeezed

    @nn.compact
    def __call__(self, images: Array, *, kernel_init: KernelInit = he) -> Array:
        x = images.mean((1, 2))
        for name, function, units in (("reduce", self.activation, self.squeezed), ("expand", self.gate, x.shape[-1])):
            kernel = self.param(f"{name}_kernel", kernel_init, (x.shape[-1], units)).astype(x.dtype)
            bias = self.param(f"{name}_bias", nn.initializers.zeros, (units,)).astype(x.dtype)
            x = ACTIVATIONS[function](x @ kernel + bias[None])
        return images * x[:, None, None]


@register_described("ChannelScale")
class ChannelScale(Layer):
    """Each channel times a learned factor (touvron2021going, "LayerScale"; the branch of a residual block with it
    begins small)."""

    initial: float

    kind = "scale"
    words = {"scale<initial>": {}}

    def output_shape(self, shape: Shape) -> Shape:
        return shape

    def parameters(self, shape: Shape) -> int:
        return shape[-1]

    @nn.compact
    def __call__(self, x: Array) -> Array:
        factor = self.param("factor", nn.initializers.constant(self.initial), x.shape[-1:])
        return x * factor.astype(x.dtype)[(None,) * (x.ndim - 1)]


@register_described("Gate")
class Gate(Layer):
    """All values times one learned factor (bachlechner2021rezero; de2020batch, "SkipInit"): 0 makes a residual block
    the identity at first."""

    initial: float

    kind = "gate"
    words = {"gate<initial>": {}}

    def output_shape(self, shape: Shape) -> Shape:
        return shape

    def parameters(self, shape: Shape) -> int:
        return 1

    @nn.compact
    def __call__(self, x: Array) -> Array:
        return x * self.param("factor", nn.initializers.constant(self.initial), ()).astype(x.dtype)


@register_described("DropPath")
class DropPath(Fixed):
    """Stochastic depth: in training, zeroes all values of an example with probability `rate` and divides those of the
    others by 1 - rate (huang2016deep, 3). At the end of the body of a residual block it drops the branch."""

    rate: float

    context = ("train", "dropout_key")
    kind = "droppath"
    zero_channels = True
    words = {"droppath<rate>": {}}

    def output_shape(self, shape: Shape) -> Shape:
        if not 0.0 <= self.rate < 1.0:
            raise RequestError(f"a rate of {self.rate} must lie in [0, 1)")
        return shape

    @nn.compact
    def __call__(self, x: Array, *, train: bool = False, dropout_key: Array | None = None) -> Array:
        if not train or self.rate == 0.0:
            return x
        assert dropout_key is not None, "a network with stochastic depth is trained with a key"
        keep = jax.random.bernoulli(dropout_key, 1.0 - self.rate, (x.shape[0],))
        return jnp.where(keep.reshape(-1, *(1,) * (x.ndim - 1)), x / (1.0 - self.rate), 0.0).astype(x.dtype)
