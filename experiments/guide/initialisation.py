"""Does the scale of the random initial weights matter?

The guide: the weights begin random; initialisation techniques are left for later (he2015delving;
glorot2010understanding).

    scripts/run experiments/guide/initialisation.py --data-dir DIR    # two CPU cores; its verdict says how long

Four convolutions; weights with a deviation of 0.01 may train with Adam where they do not with momentum, so that arm
is there as well. Expected: He's scale is better with momentum; with Adam the difference is small.
"""

from cnn_jax.cli.study import main
from cnn_jax.study import Comparison, Question, Space

COMPARISON = Comparison(
    Question("initialisation", "Does the scale of the random initial weights matter?"),
    variants={
        "he": {"initialiser": "he"},
        "0.01": {"initialiser": "normal", "space": Space(1e-3, 1.0)},
        "0.01, adam": {"initialiser": "normal", "optimizer": "adam", "space": Space(1e-4, 3e-2)},
    },
    better="he",
    worse="0.01",
    base={
        "network": "conv3-8:same relu conv3-8:same relu max2 conv3-16:same relu conv3-16:same relu max2 dense-64 relu "
        "dense-10"
    },
)

if __name__ == "__main__":
    main(COMPARISON.question, COMPARISON, __doc__)
