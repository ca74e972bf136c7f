"""Which training images made a prediction: influence over checkpoints, and nearest neighbours in a layer."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax import Array

from cnn_jax.insight.functions import Function
from cnn_jax.insight.units import batches
from cnn_jax.losses import Loss


def tracin(
    function: Function, checkpoints: Sequence[tuple[float, Any]], train: Array, train_labels: Array, images: Array,
    labels: Array, loss: Loss,
) -> np.ndarray:  # fmt: skip
    """The influence of every training image on the loss of others (pruthi2020estimating, 3.3, TracInCP): the sum, over
    checkpoints, of the learning rate times the product of the two gradients. Positive: a step on the training image
    lowers the other's loss.

    Of all training images at once, the products with one gradient are the derivative of their losses in its direction:
    one forward pass, and no gradient of theirs is ever kept.

    Args:
        function: of params and images.
        checkpoints: learning rate and params of each.
        train, train_labels: (m, h, w, c) and int (m,).
        images, labels: those explained, (n, h, w, c) and int (n,).
        loss: of logits and labels, for each example.

    Returns:
        float64 (n, m).
    """
    total = np.zeros((len(images), len(train)))
    for rate, params in checkpoints:
        for i in range(len(images)):
            direction = _gradient(function, loss, params, images[i : i + 1], labels[i : i + 1])
            parts = [
                np.asarray(_along(function, loss, params, direction, x, y))
                for x, y in zip(batches(train), batches(train_labels), strict=True)
            ]
            total[i] += rate * np.concatenate(parts)[: len(train)]
    return total


@functools.partial(jax.jit, static_argnames=("function", "loss"))
def _gradient(function: Function, loss: Loss, params: Any, images: Array, labels: Array) -> Any:
    return jax.grad(lambda p: loss(function(p, images), labels).sum())(params)


@functools.partial(jax.jit, static_argnames=("function", "loss"))
def _along(function: Function, loss: Loss, params: Any, direction: Any, images: Array, labels: Array) -> Array:
    return jax.jvp(lambda p: loss(function(p, images), labels), (params,), (direction,))[1]


def nearest(known: np.ndarray, asked: np.ndarray, count: int = 9) -> tuple[np.ndarray, np.ndarray]:
    """The nearest neighbours of each row of `asked` (n, …) among `known` (m, …), outputs of the same layer, by the
    cosine of the angle between them: indices and cosines (n, count), the nearest first."""
    flat = [np.asarray(x, np.float64).reshape(len(x), -1) for x in (known, asked)]
    known, asked = (x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-300) for x in flat)
    cosines = asked @ known.T
    order = np.argsort(-cosines, axis=1, kind="stable")[:, :count]
    return order, np.take_along_axis(cosines, order, 1)
