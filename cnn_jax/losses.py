"""Per-example losses of logits, each with its best constant. Means, masks and regularisation belong to the training
step."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from cnn_jax.errors import RequestError


def cross_entropy(
    logits: Float[Array, "n classes"], labels: Int[Array, " n"], smoothing: float | Array = 0.0
) -> Float[Array, " n"]:
    """-sum over classes of target · log softmax(logits), in nats; an untrained network of 10 classes scores ln 10.

    With label `smoothing` s the target is 1 - s on the label plus s / classes on each class (szegedy2016rethinking, 7).
    """
    log_probabilities = jax.nn.log_softmax(logits)
    picked = jnp.take_along_axis(log_probabilities, labels[:, None], axis=-1)[:, 0]
    return -(1.0 - smoothing) * picked - smoothing * log_probabilities.mean(-1)


def squared_error(
    logits: Float[Array, "n classes"], labels: Int[Array, " n"], smoothing: float | Array = 0.0
) -> Float[Array, " n"]:
    """½ · sum over classes of (target - softmax(logits))²: the loss of the guide, which calls half a sum a mean.

    An untrained network of 10 classes scores ½ · (0.9² + 9 · 0.1²) = 0.45.
    """
    classes = logits.shape[-1]
    target = jax.nn.one_hot(labels, classes, dtype=logits.dtype) * (1.0 - smoothing) + smoothing / classes
    return 0.5 * jnp.square(target - jax.nn.softmax(logits)).sum(-1)


def entropy(frequencies: np.ndarray) -> float:
    """-sum of frequency · log frequency, in nats."""
    seen = frequencies[frequencies > 0]
    return float(-(seen * np.log(seen)).sum())


def half_gini(frequencies: np.ndarray) -> float:
    """½ · (1 - sum of frequency²)."""
    return float(0.5 * (1.0 - np.square(frequencies).sum()))


@dataclass(frozen=True)
class Loss:
    """An objective: called with logits (n, classes), labels (n,) and label smoothing it gives the loss of each example.

    `best_constant` maps class frequencies to the mean loss, without smoothing, of the best predictor that ignores the
    image. `title` is what an axis calls the loss, with its unit.
    """

    per_example: Callable[..., Array]
    best_constant: Callable[[np.ndarray], float]
    title: str

    def __call__(self, logits: Array, labels: Array, smoothing: float | Array = 0.0) -> Array:
        return self.per_example(logits, labels, smoothing)


LOSSES: dict[str, Loss] = {
    "cross_entropy": Loss(cross_entropy, entropy, "cross-entropy (nats)"),
    "squared_error": Loss(squared_error, half_gini, "half squared error"),
}


def best_constant(name: str, frequencies: np.ndarray) -> float:
    """The mean loss of the best predictor that ignores the image, under the plain objective. RequestError for a loss
    that is not in the table."""
    if name not in LOSSES:
        raise RequestError(f"loss {name!r} is unknown, and so is its best constant; there are {', '.join(LOSSES)}")
    return LOSSES[name].best_constant(frequencies)


def l2(params) -> Array:
    """½ · sum of the squares of every kernel; biases and the scales of normalisation are spared."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    squares = [jnp.square(leaf).sum() for path, leaf in leaves if path[-1].key == "kernel"]
    return 0.5 * jnp.sum(jnp.stack(squares))
