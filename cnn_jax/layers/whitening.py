"""A fixed first convolution that makes its outputs uncorrelated, from the training images."""

import functools
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from cnn_jax import ops
from cnn_jax.layers.base import KernelInit, Shape, Sliding, he, register_described, spatial
from cnn_jax.ops import Window


@register_described("Whiten")
class Whiten(Sliding):
    """Convolution with the eigenvectors of the covariance of the image patches of `size`, each divided by the square
    root of its eigenvalue plus `epsilon`, and with their negatives (jordan2024airbench, 3.1). Its kernel is computed
    from the training images and stays fixed; the bias is trained. It can only be the first layer."""

    size: int
    epsilon: float = 5e-4

    context = ("kernel_init",)
    kind = "whiten"
    words = {"whiten<size>": {}}
    of_images = True

    def _window(self, length: int) -> Window:
        return Window.along(length, self.size, 1, "valid")

    def _kernel_shape(self, channels: int) -> Shape:
        return (self.size, self.size, channels, 2 * channels * self.size**2)

    def output_shape(self, shape: Shape) -> Shape:
        return (*self._output_size(shape), self._kernel_shape(spatial(shape)[2])[-1])

    def parameters(self, shape: Shape) -> int:
        return self._kernel_shape(shape[2])[-1]

    def multiply_adds(self, shape: Shape) -> int:
        return math.prod(self._output_size(shape)) * math.prod(self._kernel_shape(shape[2]))

    @nn.compact
    def __call__(self, images: Array, *, kernel_init: KernelInit = he) -> Array:
        """Until `fixed` is given training images, the kernel is random."""
        shape = self._kernel_shape(images.shape[-1])
        kernel = self.variable("batch_stats", "kernel", lambda: kernel_init(self.make_rng("params"), shape))
        bias = self.param("bias", nn.initializers.zeros, shape[-1:])
        maps = ops.convolution(images, kernel.value.astype(images.dtype), *self.windows(images.shape[1:]), groups=1)
        return maps + bias.astype(images.dtype)[None, None, None]

    def fixed(self, images: Array) -> dict[str, Any]:
        """The arrays that do not learn, from normalised images (n, h, w, c)."""
        covariance = np.asarray(_covariance_of_patches(images, self.size), np.float64)
        values, vectors = np.linalg.eigh(covariance)
        kernel = (vectors / np.sqrt(values + self.epsilon)).reshape(self.size, self.size, images.shape[-1], -1)
        return {"kernel": jnp.asarray(np.concatenate([kernel, -kernel], -1), jnp.float32)}


@functools.partial(jax.jit, static_argnames="side")
def _covariance_of_patches(images: Array, side: int) -> Array:
    """The mean product of each two values of a patch, numbered by row, column and channel: (side · side · c,) twice."""
    n, height, width, channels = images.shape
    rows, columns = height - side + 1, width - side + 1
    shifts = [images[:, i : i + rows, j : j + columns] for i in range(side) for j in range(side)]
    flat = jnp.concatenate(shifts, -1).reshape(n, rows * columns, side * side * channels)
    products = jnp.einsum("npi,npj->nij", flat, flat, precision="highest")  # first within an image: smaller errors
    return products.mean(0) / (rows * columns)
