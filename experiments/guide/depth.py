"""Are more layers better, with equally many parameters?

The guide: more layers see more complex features; architecture is left for later.

    scripts/run experiments/guide/depth.py --data-dir DIR    # two CPU cores, about two minutes

Expected: four convolutions beat one of as many parameters, n = 8.
"""

from cnn_jax.cli.study import main
from cnn_jax.study import Comparison, Question

COMPARISON = Comparison(
    Question("depth", "Are more layers better, with equally many parameters?"),
    variants={
        "1 conv": {"network": "conv5-20:same relu max4 dense-32 relu dense-10"},
        "2 conv": {"network": "conv5-16:same relu max2 conv5-32:same relu max4 dense-64 relu dense-10"},
        "4 conv": {
            "network": "conv3-16:same relu conv3-24:same relu max2 conv3-32:same relu conv3-36:same relu max4 dense-32 "
            "relu dense-10"
        },
    },
    better="4 conv",
    worse="1 conv",
)

if __name__ == "__main__":
    main(COMPARISON.question, COMPARISON, __doc__)
