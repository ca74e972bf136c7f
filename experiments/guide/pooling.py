"""Does max pooling help?

The guide: pooling layers stand between convolutions and make the network robust.

    scripts/run experiments/guide/pooling.py --data-dir DIR    # two CPU cores, about a minute

Expected: max pools beat no pools, n = 8; average pools lie between.
"""

from cnn_jax.cli.study import main
from cnn_jax.study import Comparison, Question

COMPARISON = Comparison(
    Question("pooling", "Does max pooling help?"),
    variants={
        "max": {"network": "conv5-8:same relu max2 conv5-16:same relu max2 dense-64 relu dense-10"},
        "avg": {"network": "conv5-8:same relu avg2 conv5-16:same relu avg2 dense-64 relu dense-10"},
        "none": {"network": "conv5-8:same relu conv5-16:same relu dense-64 relu dense-10"},
    },
    better="max",
    worse="none",
)

if __name__ == "__main__":
    main(COMPARISON.question, COMPARISON, __doc__)
