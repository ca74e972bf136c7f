"""Does zero padding, which keeps the size of the maps, help?

The guide: a 5x5 filter makes 28x28 of 32x32; padding is a hyperparameter it leaves for later.

    scripts/run experiments/guide/padding.py --data-dir DIR    # two CPU cores, some seconds

Expected: little difference at two layers, n = 8.
"""

from cnn_jax.cli.study import main
from cnn_jax.study import Comparison, Question

COMPARISON = Comparison(
    Question("padding", "Does zero padding, which keeps the size of the maps, help?"),
    variants={
        ":same": {"network": "conv5-8:same relu max2 conv5-16:same relu max2 dense-64 relu dense-10"},
        ":valid": {"network": "conv5-8 relu max2 conv5-16 relu max2 dense-64 relu dense-10"},
    },
    better=":same",
    worse=":valid",
)

if __name__ == "__main__":
    main(COMPARISON.question, COMPARISON, __doc__)
