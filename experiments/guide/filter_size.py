"""Must a filter see a neighbourhood, or does one pixel do?

The guide: names the size of filters among the topics it leaves for later.

    scripts/run experiments/guide/filter_size.py --data-dir DIR    # two CPU cores; its verdict says how long

Larger filters have more parameters; the table says how many. Expected: filters of one pixel are worse by many points;
beyond 3x3 little changes.
"""

from cnn_jax.cli.study import main
from cnn_jax.study import Comparison, Question

COMPARISON = Comparison(
    Question("filter_size", "Must a filter see a neighbourhood, or does one pixel do?"),
    variants={
        "1x1": {"network": "conv1-8:same relu max2 conv1-16:same relu max2 dense-64 relu dense-10"},
        "3x3": {"network": "conv3-8:same relu max2 conv3-16:same relu max2 dense-64 relu dense-10"},
        "5x5": {"network": "conv5-8:same relu max2 conv5-16:same relu max2 dense-64 relu dense-10"},
    },
    better="5x5",
    worse="1x1",
)

if __name__ == "__main__":
    main(COMPARISON.question, COMPARISON, __doc__)
