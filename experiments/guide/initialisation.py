"""Does the scale of the random initial weights matter?

The guide: weights begin random; initialisation techniques are left for later.

    scripts/run experiments/guide/initialisation.py --data-dir DIR    # two CPU cores, about a minute

Expected: He's scale (he2015delving) beats a fixed standard deviation of 0.01 in a network of six layers, n = 8.
"""

from cnn_jax.cli.study import main
from cnn_jax.study import Comparison, Question

COMPARISON = Comparison(
    Question("initialisation", "Does the scale of the random initial weights matter?"),
    variants={
        "he": {"initialiser": "he"},
        "glorot": {"initialiser": "glorot"},
        "0.01": {"initialiser": "normal"},
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
