"""Does a nonlinearity between the layers help?

The guide: nonlinear layers stand between the convolutions.

    scripts/run experiments/guide/nonlinearity.py --data-dir DIR    # two CPU cores; its verdict says how long

Without one, and with average pools, the network is a linear function of the image. Expected: ReLU beats none by many
points, tanh lies near ReLU, sigmoid between.
"""

from cnn_jax.cli.study import main
from cnn_jax.study import Comparison, Question, Space

COMPARISON = Comparison(
    Question("nonlinearity", "Does a nonlinearity between the layers help?"),
    variants={
        "relu": {"network": "conv5-8:same relu avg2 conv5-16:same relu avg2 dense-64 relu dense-10"},
        "tanh": {"network": "conv5-8:same tanh avg2 conv5-16:same tanh avg2 dense-64 tanh dense-10"},
        "sigmoid": {
            "network": "conv5-8:same sigmoid avg2 conv5-16:same sigmoid avg2 dense-64 sigmoid dense-10",
            "initialiser": "glorot",
            "space": Space(1e-2, 3.0),
        },
        "none": {"network": "conv5-8:same avg2 conv5-16:same avg2 dense-64 dense-10"},
    },
    better="relu",
    worse="none",
)

if __name__ == "__main__":
    main(COMPARISON.question, COMPARISON, __doc__)
