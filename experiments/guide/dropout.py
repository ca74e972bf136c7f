"""Does dropout help where training data are few?

The guide: names dropout among the topics it leaves for later (srivastava2014dropout).

    scripts/run experiments/guide/dropout.py --data-dir DIR    # two CPU cores; its verdict says how long

1,000 training images, 200 epochs, two strengths. Expected: a small gain.
"""

from cnn_jax.cli.study import main
from cnn_jax.study import Comparison, Question

COMPARISON = Comparison(
    Question("dropout", "Does dropout help where training data are few?"),
    variants={
        "0.5": {"network": "conv5-8:same relu max2 conv5-16:same relu max2 dense-64 relu drop0.5 dense-10"},
        "0.25": {"network": "conv5-8:same relu max2 conv5-16:same relu max2 dense-64 relu drop0.25 dense-10"},
        "none": {"network": "conv5-8:same relu max2 conv5-16:same relu max2 dense-64 relu dense-10"},
    },
    better="0.5",
    worse="none",
    base={"train_examples": 1000, "epochs": 200},
)

if __name__ == "__main__":
    main(COMPARISON.question, COMPARISON, __doc__)
