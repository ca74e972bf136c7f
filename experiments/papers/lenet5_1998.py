"""LeNet-5 on MNIST as it was in 1998 (lecun1998gradient, II and III): 60,000 parameters with subsampling weights, the
connection table and fixed output codes; one image at a time; the discriminative loss; a step size for each weight.

scripts/run experiments/papers/lenet5_1998.py --data-dir DIR    # an hour for six seeds on two CPU cores

Also an example of own parts: a loss, an optimizer and a schedule in the script that uses them.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import paper
from jax import Array
from jax.typing import ArrayLike

from cnn_jax import register
from cnn_jax.losses import entropy

RATES = ((2, 5e-4), (5, 2e-4), (8, 1e-4), (12, 5e-5), (20, 1e-5))  # III.A: (until this pass, global rate)
REFUSAL = 10.0  # a squared distance: images farther from every code are of no digit; the paper's is not published


@register.loss("map_1998", entropy, "discriminative loss of 1998")
def discriminative(logits: Array, labels: Array) -> Array:
    """y of the label + log(exp(-REFUSAL) + sum over classes of exp(-y)) for squared distances y, the negative logits
    (lecun1998gradient, equation 9)."""
    distances = -jnp.take_along_axis(logits, labels[:, None], axis=-1)[:, 0]
    return distances + jnp.logaddexp(-REFUSAL, jax.nn.logsumexp(logits, axis=-1))


class Curvature(NamedTuple):
    """The sum of the discounted squares of each weight's gradient, and that of the discounts."""

    squares: Any
    weight: Array


@register.optimizer("diagonal_1998", "lecun1998gradient")
def diagonal(learning_rate: ArrayLike, mu: float = 0.02, memory: float = 0.998) -> optax.GradientTransformation:
    """The update -rate / (mu + h) · g of the stochastic diagonal Levenberg-Marquardt method (lecun1998gradient,
    equation 21 and appendix C).

    There, h of a weight is the mean second derivative in the Gauss-Newton approximation, over 500 images before each
    pass; here it is the mean of the squared gradient over about the last 500 images.
    """

    def init(params: Any) -> Curvature:
        return Curvature(jax.tree.map(jnp.zeros_like, params), jnp.zeros(()))

    def update(gradient: Any, state: Curvature, params: Any = None) -> tuple[Any, Curvature]:
        squares = jax.tree.map(lambda s, g: memory * s + (1 - memory) * g * g, state.squares, gradient)
        weight = memory * state.weight + (1 - memory)
        step = lambda g, s: g / (mu + s / weight)  # noqa: E731
        return jax.tree.map(step, gradient, squares), Curvature(squares, weight)

    return optax.chain(optax.GradientTransformation(init, update), optax.scale_by_learning_rate(learning_rate))


@register.schedule("passes_1998", "lecun1998gradient")
def passes(number: np.ndarray, steps_per_epoch: int) -> np.ndarray:
    """The global rates of the 20 passes (lecun1998gradient, III.A), relative to the first."""
    ends, rates = zip(*RATES, strict=True)
    chosen = np.searchsorted(ends, number // steps_per_epoch, side="right")
    return np.asarray(rates)[np.minimum(chosen, len(rates) - 1)] / rates[0]


CONFIG = {
    "network": "lenet5_1998", "dataset": "mnist", "validation": 200, "epochs": 20, "batch_size": 1,
    "learning_rate": RATES[0][1], "optimizer": "diagonal_1998", "schedule": "passes_1998", "loss": "map_1998",
    "initialiser": "lecun",
}  # fmt: skip
PAPER = paper.Paper(
    "lenet5_1998", "LeNet-5 on MNIST, as in 1998, 60,000 parameters", "lecun1998gradient", "0.95 % error",
    "60,000 training images; 20 passes, one image at a time; stochastic diagonal Levenberg-Marquardt; output codes",
    "squared gradients in place of second derivatives; normal initial weights of variance 1 / inputs, not uniform ones "
    f"of 1.92 / inputs²; refusal at a squared distance of {REFUSAL:.0f}",
    CONFIG,
)  # fmt: skip

if __name__ == "__main__":
    paper.main(PAPER, __doc__)
