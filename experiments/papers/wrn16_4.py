"""WRN-16-4 on CIFAR-10 (zagoruyko2016wide, 3 and table 6).

scripts/run experiments/papers/wrn16_4.py --data-dir DIR    # days per seed on two CPU cores: use an accelerator
"""

import paper

PAPER = paper.Paper(
    "wrn16_4", "WRN-16-4 on CIFAR-10", "zagoruyko2016wide", "5.02 % error",
    "200 passes over 50,000 images, rate 0.1 falling by five at 60, 120 and 160; batches of 128, Nesterov momentum of "
    "0.9, weight decay 5e-4; flips, shifts by up to 4 pixels with the image reflected at its border",
    "45,000 training images",
    {
        "network": "wrn16_4", "dataset": "cifar10", "epochs": 200, "learning_rate": 0.1, "schedule": "step",
        "decay_epochs": (60.0, 120.0, 160.0), "decay_factor": 0.2, "nesterov": True, "weight_decay": 5e-4,
        "augment": "flip shift4",
    },
)  # fmt: skip

if __name__ == "__main__":
    paper.main(PAPER, __doc__)
