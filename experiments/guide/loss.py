"""Is cross-entropy better than the squared error that the guide uses?

The guide: the loss is half the squared difference of target and output.

    scripts/run experiments/guide/loss.py --data-dir DIR    # two CPU cores; its verdict says how long

The squared error is that of softmax outputs, whose gradient is smaller: its space of rates is higher. Expected:
cross-entropy is better by a point or two.
"""

from cnn_jax.cli.study import main
from cnn_jax.study import Comparison, Question, Space

COMPARISON = Comparison(
    Question("loss", "Is cross-entropy better than the squared error that the guide uses?"),
    variants={
        "cross-entropy": {"loss": "cross_entropy"},
        "squared error": {"loss": "squared_error", "space": Space(3e-3, 1.0)},
    },
    better="cross-entropy",
    worse="squared error",
)

if __name__ == "__main__":
    main(COMPARISON.question, COMPARISON, __doc__)
