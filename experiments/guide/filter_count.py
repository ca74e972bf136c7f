"""Are more filters better, and what do they cost?

The guide: the more filters, the deeper the activation map and the more is known of the image.

    scripts/run experiments/guide/filter_count.py --data-dir DIR    # two CPU cores; its verdict says how long

Four, eight and 16 filters in the first layer, twice as many in the second. More filters are more parameters: the table
says how many, and how long a run takes. Expected: accuracy grows and flattens; parameters and time grow faster.
"""

from cnn_jax.cli.study import main
from cnn_jax.study import Comparison, Question

COMPARISON = Comparison(
    Question("filter_count", "Do sixteen filters give a better accuracy than four?"),
    variants={str(filters): {"filters": filters} for filters in (4, 8, 16)},
    better="16",
    worse="4",
    base={"network": "conv3-4:same relu max2 conv3-8:same relu max2 dense-64 relu dense-10"},
)

if __name__ == "__main__":
    main(COMPARISON.question, COMPARISON, __doc__)
