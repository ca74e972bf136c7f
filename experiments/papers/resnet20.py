"""ResNet-20 on CIFAR-10 (he2016deep, 4.2).

scripts/run experiments/papers/resnet20.py --data-dir DIR    # four hours per seed on two CPU cores
"""

import paper

PAPER = paper.Paper(
    "resnet20", "ResNet-20 on CIFAR-10", "he2016deep", "8.75 % error",
    "64,000 steps of 128, rate 0.1 falling by ten at 32,000 and 48,000; momentum 0.9, weight decay 1e-4; flips, shifts "
    "by up to 4 pixels; 45,000 training images to choose, then 50,000",
    "45,000 training images throughout: 182 passes, the rate falls at 91 and 137; images normalised by channel",
    {
        "network": "resnet20", "dataset": "cifar10", "epochs": 182, "learning_rate": 0.1, "schedule": "step",
        "decay_epochs": (91.0, 137.0), "weight_decay": 1e-4, "augment": "flip crop4",
    },
)  # fmt: skip

if __name__ == "__main__":
    paper.main(PAPER, __doc__)
