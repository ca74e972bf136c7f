"""Does weight decay help where training data are few?

The guide: names regularisation methods among the topics it leaves for later.

    scripts/run experiments/guide/weight_decay.py --data-dir DIR    # two CPU cores; its verdict says how long

1,000 training images, 200 epochs, two strengths. Expected: a small gain at the larger strength.
"""

from cnn_jax.cli.study import main
from cnn_jax.study import Comparison, Question

COMPARISON = Comparison(
    Question("weight_decay", "Does weight decay help where training data are few?"),
    variants={
        "5e-3": {"weight_decay": 0.005},
        "5e-4": {"weight_decay": 0.0005},
        "0": {},
    },
    better="5e-3",
    worse="0",
    base={"train_examples": 1000, "epochs": 200},
)

if __name__ == "__main__":
    main(COMPARISON.question, COMPARISON, __doc__)
