"""Does a nonlinearity between the layers help?

The guide: layers between the convolutions provide nonlinearities, which make the network more robust.

    scripts/run experiments/guide/nonlinearity.py --data-dir DIR    # two CPU cores, under a minute

Expected: ReLU beats no nonlinearity by several points, n = 8; tanh comes close, sigmoid learns more slowly.
"""

from cnn_jax.cli.study import main
from cnn_jax.study import Comparison, Question

COMPARISON = Comparison(
    Question("nonlinearity", "Does a nonlinearity between the layers help?"),
    variants={
        "relu": {"network": "conv5-8:same relu avg2 conv5-16:same relu avg2 dense-64 relu dense-10"},
        "tanh": {"network": "conv5-8:same tanh avg2 conv5-16:same tanh avg2 dense-64 tanh dense-10"},
        "sigmoid": {
            "network": "conv5-8:same sigmoid avg2 conv5-16:same sigmoid avg2 dense-64 sigmoid dense-10",
            "learning_rates": (0.1, 0.3),
        },
        "none": {"network": "conv5-8:same avg2 conv5-16:same avg2 dense-64 dense-10", "learning_rates": (0.01, 0.03)},
    },
    better="relu",
    worse="none",
)

if __name__ == "__main__":
    main(COMPARISON.question, COMPARISON, __doc__)
