"""Do smaller batches, which make more updates in an epoch, help?

The guide: a batch is a set of training images; the more updates, the better tuned the weights.

    scripts/run experiments/guide/batch_size.py --data-dir DIR    # two CPU cores, under a minute

Expected: batches of 32 beat batches of 512 at equal epochs, n = 8, each at the best of three rates.
"""

from cnn_jax.cli.study import main
from cnn_jax.study import Comparison, Question

COMPARISON = Comparison(
    Question("batch_size", "Do smaller batches, which make more updates in an epoch, help?"),
    variants={
        "32": {"batch_size": 32, "learning_rates": (0.003, 0.01, 0.03)},
        "128": {"batch_size": 128, "learning_rates": (0.01, 0.03, 0.1)},
        "512": {"batch_size": 512, "learning_rates": (0.03, 0.1, 0.2)},
    },
    better="32",
    worse="512",
)

if __name__ == "__main__":
    main(COMPARISON.question, COMPARISON, __doc__)
