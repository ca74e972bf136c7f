"""Do biases matter?

The guide: names biases among the topics it leaves for later.

    scripts/run experiments/guide/biases.py --data-dir DIR    # two CPU cores; its verdict says how long

Biases are 98 of some 54,000 parameters. Expected: hardly.
"""

from cnn_jax.cli.study import main
from cnn_jax.study import Comparison, Question

COMPARISON = Comparison(
    Question("biases", "Do biases matter?"),
    variants={
        "biases": {"network": "conv5-8:same relu max2 conv5-16:same relu max2 dense-64 relu dense-10"},
        "none": {
            "network": "conv5-8:same:nobias relu max2 conv5-16:same:nobias relu max2 dense-64:nobias relu "
            "dense-10:nobias"
        },
    },
    better="biases",
    worse="none",
)

if __name__ == "__main__":
    main(COMPARISON.question, COMPARISON, __doc__)
