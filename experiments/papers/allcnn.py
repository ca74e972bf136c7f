"""All-CNN-C on CIFAR-10 (springenberg2015striving).

scripts/run experiments/papers/allcnn.py --data-dir DIR    # days per seed on two CPU cores: use an accelerator
"""

import paper

PAPER = paper.Paper(
    "allcnn", "All-CNN-C on CIFAR-10", "springenberg2015striving", "7.25 % error with flips and shifts",
    "350 passes, rate 0.05 falling by ten at 200, 250 and 300; momentum 0.9, weight decay 0.001; dropout; flips and "
    "shifts",
    "45,000 training images; images normalised by channel, not whitened",
    {
        "network": "allcnn", "dataset": "cifar10", "epochs": 350, "learning_rate": 0.05, "schedule": "step",
        "decay_epochs": (200.0, 250.0, 300.0), "weight_decay": 0.001, "augment": "flip crop5",
    },
)  # fmt: skip

if __name__ == "__main__":
    paper.main(PAPER, __doc__)
