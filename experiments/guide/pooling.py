"""Does max pooling help?

The guide: pooling layers stand between convolutions and make the network robust.

    scripts/run experiments/guide/pooling.py --data-dir DIR    # two CPU cores; its verdict says how long

The three networks have the same parameters: a global average stands before the last layer, whatever the size of its
maps. Expected: max pools beat no pools; average pools lie between.
"""

from cnn_jax.cli.study import main
from cnn_jax.study import Comparison, Question

COMPARISON = Comparison(
    Question("pooling", "Does max pooling help?"),
    variants={
        "max": {"network": "conv3-16:same relu max2 conv3-32:same relu max2 conv3-32:same relu gap dense-10"},
        "avg": {"network": "conv3-16:same relu avg2 conv3-32:same relu avg2 conv3-32:same relu gap dense-10"},
        "none": {"network": "conv3-16:same relu conv3-32:same relu conv3-32:same relu gap dense-10"},
    },
    better="max",
    worse="none",
)

if __name__ == "__main__":
    main(COMPARISON.question, COMPARISON, __doc__)
