"""Is cross-entropy better than the squared error that the guide uses?

The guide: the loss can be defined in many ways; a common one is half the squared error.

    scripts/run experiments/guide/loss.py --data-dir DIR    # two CPU cores, under a minute

Expected: cross-entropy is ahead after four epochs, n = 8, each at the best of its learning rates.
"""

from cnn_jax.cli.study import main
from cnn_jax.study import Comparison, Question

COMPARISON = Comparison(
    Question("loss", "Is cross-entropy better than the squared error that the guide uses?"),
    variants={
        "cross-entropy": {"loss": "cross_entropy"},
        "squared error": {"loss": "squared_error", "learning_rates": (0.1, 0.3, 1.0)},
    },
    better="cross-entropy",
    worse="squared error",
)

if __name__ == "__main__":
    main(COMPARISON.question, COMPARISON, __doc__)
