"""The curvature of a loss around its parameters: eigenvalues and spectral density of the Hessian, sharpness, and the
noise of the gradient.

A loss is any function of params that returns a number; `loss_of` makes that of a network on given images. Everything is
computed in the dtype of the parameters; the Hessian itself never is, only its products with vectors.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.tree_util import Partial

from cnn_jax.insight.landscape import mean_loss
from cnn_jax.losses import Loss
from cnn_jax.network import Network, Variables

LossOfParams = Callable[[Any], Array]


@dataclass(frozen=True)
class _MeanLoss:
    """What is compiled for: the same for other images and batch statistics."""

    network: Network
    loss: Loss

    def __call__(self, rest: Variables, images: Array, labels: Array, params: Any) -> Array:
        return mean_loss(self.network, self.loss, {**rest, "params": params}, images, labels)


def loss_of(network: Network, loss: Loss, variables: Variables, images: Array, labels: Array) -> LossOfParams:
    """The mean loss over images as a function of the parameters; batch statistics stay as they are."""
    rest = {name: arrays for name, arrays in variables.items() if name != "params"}
    return Partial(_MeanLoss(network, loss), rest, images, labels)


def hessian_product(loss: LossOfParams, params: Any, vector: Any) -> Any:
    """The Hessian times a vector, both trees like the parameters (pearlmutter1994fast)."""
    return jax.jvp(jax.grad(loss), (params,), (vector,))[1]


class Lanczos(NamedTuple):
    """What `lanczos` finds: the eigenvalues of the Hessian in the space that it has seen, ascending (steps,), and the
    squared first components of their vectors, which sum to 1: the weights of the spectrum as the start sees it."""

    eigenvalues: np.ndarray
    weights: np.ndarray


def lanczos(loss: LossOfParams, params: Any, key: Array, steps: int = 30) -> Lanczos:
    """The Lanczos method on the Hessian from a random start, with full reorthogonalisation (golub2013matrix, 10.1 and
    10.3.1). The largest and smallest eigenvalues converge first. `steps` is at most the number of parameters."""
    count = min(steps, sum(leaf.size for leaf in jax.tree.leaves(params)))
    diagonal, beside = _tridiagonal(Partial(loss), params, key, count)
    matrix = np.diag(np.asarray(diagonal, np.float64))
    off = np.asarray(beside, np.float64)[: count - 1]
    matrix += np.diag(off, 1) + np.diag(off, -1)
    eigenvalues, vectors = np.linalg.eigh(matrix)
    return Lanczos(eigenvalues, vectors[0] ** 2)


@functools.partial(jax.jit, static_argnames="steps")
def _tridiagonal(loss: Partial, params: Any, key: Array, steps: int) -> tuple[Array, Array]:
    """The diagonal and the entries beside it of the Hessian in the basis that Lanczos builds, (steps,) each."""
    flat, unravel = jax.flatten_util.ravel_pytree(params)
    start = jax.random.normal(key, flat.shape, flat.dtype)

    def step(number: Array, state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        basis, diagonal, beside = state
        vector = basis[number]
        image = jax.flatten_util.ravel_pytree(hessian_product(loss, params, unravel(vector)))[0]
        alpha = image @ vector
        for _ in range(2):  # twice is enough (golub2013matrix, 10.3.1)
            image = image - basis.T @ (basis @ image)
        beta = jnp.linalg.norm(image)
        following = jnp.where(beta > 1e-10, image / jnp.maximum(beta, 1e-30), 0.0)
        basis = basis.at[number + 1].set(following)
        return basis, diagonal.at[number].set(alpha), beside.at[number].set(beta)

    basis = jnp.zeros((steps + 1, flat.size), flat.dtype).at[0].set(start / jnp.linalg.norm(start))
    zeros = jnp.zeros(steps, flat.dtype)
    _, diagonal, beside = lax.fori_loop(0, steps, step, (basis, zeros, zeros))
    return diagonal, beside


def top_eigenvalues(loss: LossOfParams, params: Any, key: Array, count: int = 5, steps: int = 30) -> np.ndarray:
    """The `count` largest eigenvalues of the Hessian, descending."""
    return lanczos(loss, params, key, steps).eigenvalues[::-1][:count]


def spectral_density(
    loss: LossOfParams, params: Any, key: Array, at: np.ndarray, draws: int = 10, steps: int = 60,
    width: float | None = None,
) -> np.ndarray:  # fmt: skip
    """The density of the Hessian's eigenvalues at the points `at`, by stochastic Lanczos quadrature
    (ghorbani2019investigation, 2): the mean over random starts of Gaussians at the eigenvalues that Lanczos finds, with
    their weights. `width` is their standard deviation, by default a hundredth of the range of `at`."""
    spread = width or float(np.ptp(at)) / 100
    total = np.zeros(len(at))
    for own in jax.random.split(key, draws):
        found = lanczos(loss, params, own, steps)
        bells = np.exp(-0.5 * ((at[:, None] - found.eigenvalues) / spread) ** 2) / (spread * np.sqrt(2 * np.pi))
        total += bells @ found.weights
    return total / draws


def sharpness(loss: LossOfParams, params: Any, radius: float = 0.05, adaptive: bool = False) -> Array:
    """How much the loss rises at the weights `radius` up the gradient (foret2021sharpness, equation 2); `adaptive`:
    each direction is measured in units of the size of its weight (kwon2021asam, equation 5)."""
    return _rise(Partial(loss), params, radius, adaptive)


@functools.partial(jax.jit, static_argnames="adaptive")
def _rise(loss: Partial, params: Any, radius: float, adaptive: bool) -> Array:
    value, gradient = jax.value_and_grad(loss)(params)
    sizes = jax.tree.map(jnp.abs, params) if adaptive else jax.tree.map(jnp.ones_like, params)
    scaled = jax.tree.map(jnp.multiply, sizes, gradient)
    norm = jnp.sqrt(sum(jnp.vdot(leaf, leaf) for leaf in jax.tree.leaves(scaled)))
    step = jax.tree.map(lambda size, leaf: radius * size * leaf / jnp.maximum(norm, 1e-12), sizes, scaled)
    return loss(jax.tree.map(jnp.add, params, step)) - value


class GradientNoise(NamedTuple):
    """The noise of gradients of single examples: the estimated squared norm of the true gradient, the trace of the
    covariance, and their ratio, the batch size at which noise and gradient are equal (mccandlish2018empirical, 2.2)."""

    squared_gradient: float
    trace: float

    @property
    def scale(self) -> float:
        return self.trace / self.squared_gradient if self.squared_gradient > 0 else float("inf")


def gradient_noise(gradients: Sequence[Any], batch_size: int) -> GradientNoise:
    """The simple noise scale from the gradients of at least two batches of equal size (mccandlish2018empirical,
    appendix A.1, with single batches as small and all together as the large one): unbiased estimates."""
    flat = np.stack([np.asarray(jax.flatten_util.ravel_pytree(one)[0], np.float64) for one in gradients])
    count = len(flat)
    if count < 2:
        raise ValueError("gradient noise takes at least two batches")
    small, large = np.square(flat).sum(1).mean(), np.square(flat.mean(0)).sum()
    squared = (count * batch_size * large - batch_size * small) / ((count - 1) * batch_size)
    trace = (small - large) / (1 / batch_size - 1 / (count * batch_size))
    return GradientNoise(float(squared), float(trace))
