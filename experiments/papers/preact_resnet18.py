"""PreAct-ResNet-18 on CIFAR-10 (liu2017train).

scripts/run experiments/papers/preact_resnet18.py --data-dir DIR    # days per seed on two CPU cores: use an accelerator
"""

import paper

PAPER = paper.Paper(
    "preact_resnet18", "PreAct-ResNet-18 on CIFAR-10", "liu2017train", "4.89 % error",
    "200 passes over 50,000 images in batches of 128, rate 0.1 falling as a cosine; momentum 0.9, weight decay 5e-4 on "
    "all parameters; flips, shifts by up to 4 pixels; the best test accuracy of any pass",
    "the test accuracy after the last pass; He's initial weights",
    {
        "network": "preact_resnet18", "dataset": "cifar10", "validation": 200, "epochs": 200, "learning_rate": 0.1,
        "schedule": "cosine", "decays": dict.fromkeys(("filters", "head", "norms", "biases"), 5e-4),
        "augment": "flip crop4",
    },
)  # fmt: skip

if __name__ == "__main__":
    paper.main(PAPER, __doc__)
