"""Does batch normalisation help?

The guide: names batch normalisation among the topics it leaves for later (ioffe2015batch).

    scripts/run experiments/guide/batch_norm.py --data-dir DIR    # two CPU cores; its verdict says how long

Its point is that higher rates can be used, so both arms have the same wide space of rates. Expected: it helps.
"""

from cnn_jax.cli.study import main
from cnn_jax.study import Comparison, Question, Space

COMPARISON = Comparison(
    Question("batch_norm", "Does batch normalisation help?"),
    variants={
        "bn": {"network": "conv5-8:same:nobias bn relu max2 conv5-16:same:nobias bn relu max2 dense-64 relu dense-10"},
        "no bn": {"network": "conv5-8:same relu max2 conv5-16:same relu max2 dense-64 relu dense-10"},
    },
    better="bn",
    worse="no bn",
    space=Space(1e-3, 1.0),
)

if __name__ == "__main__":
    main(COMPARISON.question, COMPARISON, __doc__)
