"""Does Adam beat gradient descent with momentum?

The guide: weights are updated with one learning rate; other optimizers (kingma2015adam) are left for later.

    scripts/run experiments/guide/optimizer.py --data-dir DIR    # two CPU cores, under a minute

Expected: little difference where each has the better of its two rates, n = 8; without momentum descent is slower.
"""

from cnn_jax.cli.study import main
from cnn_jax.study import Comparison, Question

COMPARISON = Comparison(
    Question("optimizer", "Does Adam beat gradient descent with momentum?"),
    variants={
        "adam": {"optimizer": "adam", "learning_rates": (0.001, 0.003)},
        "momentum": {},
        "sgd": {"momentum": 0.0, "learning_rates": (0.1, 0.3)},
    },
    better="adam",
    worse="momentum",
)

if __name__ == "__main__":
    main(COMPARISON.question, COMPARISON, __doc__)
