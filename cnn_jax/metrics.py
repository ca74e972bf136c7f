"""Metrics as sums and counts under a mask, divided once at the end: no mean of batch means, no example twice."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int


class Sums(NamedTuple):
    """Sums over examples that were not masked; add them over batches and devices, then divide."""

    loss: Array
    correct: Array
    examples: Array

    def __add__(self, other: "Sums") -> "Sums":  # type: ignore[override]
        return jax.tree.map(jnp.add, self, other)

    @property
    def accuracy(self) -> Array | np.floating:
        """Fraction of the examples whose largest logit is the label's."""
        return self.correct / self.examples

    @property
    def mean_loss(self) -> Array | np.floating:
        """Mean loss per example."""
        return self.loss / self.examples


def sums(
    losses: Float[Array, " n"], logits: Float[Array, "n classes"], labels: Int[Array, " n"], mask: Float[Array, " n"]
) -> Sums:
    """The sums of one batch. `mask` is 1 for an example and 0 for padding, whose values are ignored, NaN included."""
    correct = (logits.argmax(-1) == labels) & (mask > 0)
    return Sums(
        loss=jnp.where(mask > 0, losses, 0.0).sum(),
        correct=correct.sum(dtype=jnp.int32),
        examples=(mask > 0).sum(dtype=jnp.int32),
    )
