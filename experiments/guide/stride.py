"""Does a stride of two in place of a pool cost accuracy?

The guide: names strides among the topics it leaves for later (springenberg2015striving).

    scripts/run experiments/guide/stride.py --data-dir DIR    # two CPU cores; its verdict says how long

Both networks have the same parameters; the strided one does a quarter of the arithmetic in its convolutions.
Expected: a pool is a little better.
"""

from cnn_jax.cli.study import main
from cnn_jax.study import Comparison, Question

COMPARISON = Comparison(
    Question("stride", "Does a stride of two in place of a pool cost accuracy?"),
    variants={
        "max2": {"network": "conv5-8:same relu max2 conv5-16:same relu max2 dense-64 relu dense-10"},
        "stride 2": {"network": "conv5-8/2:same relu conv5-16/2:same relu dense-64 relu dense-10"},
    },
    better="max2",
    worse="stride 2",
)

if __name__ == "__main__":
    main(COMPARISON.question, COMPARISON, __doc__)
