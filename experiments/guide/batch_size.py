"""Do smaller batches, which make more updates in an epoch, help?

The guide: a batch is a set of training images; the more updates, the better tuned the weights.

    scripts/run experiments/guide/batch_size.py --data-dir DIR    # two CPU cores; its verdict says how long

Batches of 32 and of 512 for 20 epochs, and of 512 for as many updates as those of 32 make, which is 16 times the
work. Expected: at equal epochs small batches are better, at equal updates they are not.
"""

from cnn_jax.cli.study import main
from cnn_jax.study import Comparison, Question, Space

COMPARISON = Comparison(
    Question("batch_size", "Do smaller batches, which make more updates in an epoch, help?"),
    variants={
        "32": {"batch_size": 32},
        "512": {"batch_size": 512, "space": Space(1e-2, 3.0)},
        "512, equal updates": {"batch_size": 512, "epochs": 320, "space": Space(1e-2, 3.0)},
    },
    better="32",
    worse="512",
    base={"train_examples": 2000},
)

if __name__ == "__main__":
    main(COMPARISON.question, COMPARISON, __doc__)
