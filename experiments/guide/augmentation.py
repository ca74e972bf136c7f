"""Does augmentation help where training data are few?

The guide: names data augmentation among the topics it leaves for later.

    scripts/run experiments/guide/augmentation.py --data-dir DIR    # two CPU cores; its verdict says how long

1,000 training images, 200 epochs; mirrored and shifted images are arms of their own. Shifts are compared, since the
mirror image of a shoe that points left is one that the test does not have. Expected: shifts help by some points,
mirrors help on CIFAR-10.
"""

from cnn_jax.cli.study import main
from cnn_jax.study import Comparison, Question

COMPARISON = Comparison(
    Question("augmentation", "Does augmentation help where training data are few?"),
    variants={
        "shift": {"augment": "crop2"},
        "mirror": {"augment": "flip"},
        "none": {},
    },
    better="shift",
    worse="none",
    base={"train_examples": 1000, "epochs": 200},
)

if __name__ == "__main__":
    main(COMPARISON.question, COMPARISON, __doc__)
