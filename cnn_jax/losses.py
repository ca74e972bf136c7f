"""Per-example losses of logits, each with the loss of the best constant prediction. Means and masks are applied in the
training step."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from cnn_jax.registry import Registry

F = TypeVar("F", bound=Callable[..., Any])


def cross_entropy(
    logits: Float[Array, "n classes"], labels: Int[Array, " n"], smoothing: float | np.float32 | Array = 0.0
) -> Float[Array, " n"]:
    """-sum over classes of target · log softmax(logits), in nats; an untrained network of 10 classes scores ln 10.

    With label `smoothing` s the target is 1 - s on the label plus s / classes on each class (szegedy2016rethinking, 7).
    """
    log_probabilities = jax.nn.log_softmax(logits)
    picked = jnp.take_along_axis(log_probabilities, labels[:, None], axis=-1)[:, 0]
    return -(1.0 - smoothing) * picked - smoothing * log_probabilities.mean(-1)


def squared_error(
    logits: Float[Array, "n classes"], labels: Int[Array, " n"], smoothing: float | np.float32 | Array = 0.0
) -> Float[Array, " n"]:
    """½ · sum over classes of (target - softmax(logits))²: the loss of the guide, which calls this half sum a mean.

    An untrained network of 10 classes scores ½ · (0.9² + 9 · 0.1²) = 0.45.
    """
    classes = logits.shape[-1]
    target = jax.nn.one_hot(labels, classes, dtype=logits.dtype) * (1.0 - smoothing) + smoothing / classes
    return 0.5 * jnp.square(target - jax.nn.softmax(logits)).sum(-1)


def distillation(
    logits: Float[Array, "n classes"], teacher: Float[Array, "n classes"], temperature: float | np.float32 | Array
) -> Float[Array, " n"]:
    """temperature² · Kullback-Leibler divergence of softmax(logits / temperature) from softmax(teacher / temperature),
    in nats (hinton2015distilling, 2): the factor keeps the size of the gradient."""
    ours, theirs = (jax.nn.log_softmax(each / temperature) for each in (logits, teacher))
    return temperature**2 * (jnp.exp(theirs) * (theirs - ours)).sum(-1)


def entropy(frequencies: np.ndarray) -> float:
    """-sum of frequency · log frequency, in nats."""
    seen = frequencies[frequencies > 0]
    return float(-(seen * np.log(seen)).sum())


def half_gini(frequencies: np.ndarray) -> float:
    """½ · (1 - sum of frequency²)."""
    return float(0.5 * (1.0 - np.square(frequencies).sum()))


@dataclass(frozen=True)
class Loss:
    """A loss: called with logits (n, classes), labels (n,) and label smoothing, it returns the loss of each example.

    Attributes:
      per_example: the function of (logits, labels) or (logits, labels, smoothing).
      best_constant: maps class frequencies to the mean loss, without smoothing, of the best predictor that ignores the
        image.
      title: axis label in figures, with the unit.
      smooths: whether `per_example` takes label smoothing.
    """

    per_example: Callable[..., Array]
    best_constant: Callable[[np.ndarray], float]
    title: str
    smooths: bool

    def __call__(self, logits: Array, labels: Array, smoothing: float | np.float32 | Array = 0.0) -> Array:
        return self.per_example(logits, labels, smoothing) if self.smooths else self.per_example(logits, labels)


LOSSES: Registry[Loss] = Registry("loss")


def register_loss(
    name: str, best_constant: Callable[[np.ndarray], float] | None = None, title: str | None = None
) -> Callable[[F], F]:
    """Registers a function of (logits [n, classes], labels [n]) or of (logits, labels, smoothing) that returns the loss
    of each example [n].

    Args:
      name: its name in options, configs and axes.
      best_constant: maps class frequencies [classes] to the mean loss of the best predictor that ignores the image. A
        network that has learned anything is below it. By default computed by numerical minimisation.
      title: axis label in figures, with the unit.
    """

    def add(per_example: F) -> F:
        constant = best_constant or functools.partial(_least_constant, per_example)
        smooths = len(inspect.signature(per_example).parameters) > 2
        LOSSES.add(name, Loss(per_example, constant, title or name.replace("_", " "), smooths))
        return per_example

    return add


def _least_constant(per_example: Callable[..., Array], frequencies: np.ndarray) -> float:
    """The smallest mean loss over constant logits, by BFGS starting from the log frequencies."""
    from scipy.optimize import minimize

    labels = jnp.arange(len(frequencies))

    @jax.jit
    def mean(logits: Array) -> Array:
        return per_example(jnp.tile(logits, (len(labels), 1)), labels) @ jnp.asarray(frequencies, jnp.float32)

    start = np.log(np.maximum(frequencies, 1e-6))
    minimum = minimize(jax.value_and_grad(mean), start, jac=True, method="BFGS")
    return float(min(minimum.fun, mean(jnp.asarray(start, jnp.float32))))


def best_constant(name: str, frequencies: np.ndarray) -> float:
    """The mean loss, without smoothing or regularisation, of the best predictor that ignores the image. Raises
    RequestError for a loss that is not registered."""
    return LOSSES[name].best_constant(frequencies)


register_loss("cross_entropy", entropy, "cross-entropy (nats)")(cross_entropy)
register_loss("squared_error", half_gini, "half squared error")(squared_error)
LOSSES.seal()


def l2(params) -> Array:
    """½ · sum of the squares of all kernels, without biases and the scales of normalisation layers."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    squares = [jnp.square(leaf).sum() for path, leaf in leaves if path[-1].key == "kernel"]
    return 0.5 * jnp.sum(jnp.stack(squares))
