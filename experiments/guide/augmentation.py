"""Does augmentation help where training data are few?

The guide: names data augmentation among the topics it leaves for later.

    scripts/run experiments/guide/augmentation.py --data-dir DIR    # two CPU cores, under a minute

Expected: mirrored and shifted images help with 1,000 training images, n = 8.
"""

from cnn_jax.cli.study import main
from cnn_jax.study import Comparison, Question

COMPARISON = Comparison(
    Question("augmentation", "Does augmentation help where training data are few?"),
    variants={
        "flip crop2": {"augment": "flip crop2"},
        "none": {},
    },
    better="flip crop2",
    worse="none",
    base={"train_examples": 1000, "epochs": 15},
)

if __name__ == "__main__":
    main(COMPARISON.question, COMPARISON, __doc__)
