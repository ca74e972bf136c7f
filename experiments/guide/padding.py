"""Does zero padding, which keeps the size of the maps, help?

The guide: padding keeps the size of the maps; it is left for a later post.

    scripts/run experiments/guide/padding.py --data-dir DIR    # two CPU cores; its verdict says how long

A global average before the last layer gives both networks the same parameters. Expected: little difference on images
whose border is empty, a small gain elsewhere.
"""

from cnn_jax.cli.study import main
from cnn_jax.study import Comparison, Question

COMPARISON = Comparison(
    Question("padding", "Does zero padding, which keeps the size of the maps, help?"),
    variants={
        ":same": {"network": "conv5-16:same relu max2 conv5-32:same relu gap dense-10"},
        ":valid": {"network": "conv5-16 relu max2 conv5-32 relu gap dense-10"},
    },
    better=":same",
    worse=":valid",
)

if __name__ == "__main__":
    main(COMPARISON.question, COMPARISON, __doc__)
