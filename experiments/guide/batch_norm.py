"""Does batch normalisation help within a few epochs?

The guide: names batch normalisation among the topics it leaves for later (ioffe2015batch).

    scripts/run experiments/guide/batch_norm.py --data-dir DIR    # two CPU cores, under a minute

Expected: a small gain after four epochs, n = 8.
"""

from cnn_jax.cli.study import main
from cnn_jax.study import Comparison, Question

COMPARISON = Comparison(
    Question("batch_norm", "Does batch normalisation help within a few epochs?"),
    variants={
        "bn": {"network": "conv5-8:same:nobias bn relu max2 conv5-16:same:nobias bn relu max2 dense-64 relu dense-10"},
        "no bn": {"network": "conv5-8:same relu max2 conv5-16:same relu max2 dense-64 relu dense-10"},
    },
    better="bn",
    worse="no bn",
)

if __name__ == "__main__":
    main(COMPARISON.question, COMPARISON, __doc__)
