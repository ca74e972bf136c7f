"""Network in Network on CIFAR-10 (lin2014network, 3 and 4.1).

scripts/run experiments/papers/nin.py --data-dir DIR    # days per seed on two CPU cores: use an accelerator

The paper has no numbers for rates and decay; those of its authors' file for CIFAR-100 (cuda-convnet with their layers,
NIN/cifar-100_params) are used, where the loss is doubled and weights are drawn with deviation 0.05.
"""

import paper

PAPER = paper.Paper(
    "nin", "Network in Network on CIFAR-10", "lin2014network", "8.81 % error with flips and shifts, 10.41 % without",
    "batches of 128; the rate falls by ten when the training accuracy no longer rises, twice; dropout, weight decay; "
    "flips and shifts; all 50,000 images in the end",
    "200 passes, the rate falls at 160 and 180; rate 0.02 and weight decay 5e-4 instead of 0.01 and 0.001 with a "
    "doubled loss, biases at twice the rate; images normalised by channel, not by contrast and whitened",
    {
        "network": "nin", "dataset": "cifar10", "validation": 200, "epochs": 200, "learning_rate": 0.02,
        "schedule": "step", "decay_epochs": (160.0, 180.0), "weight_decay": 5e-4, "rates": {"biases": 2.0},
        "initialiser": "normal", "init_scale": 5.0, "augment": "flip crop4",
    },
)  # fmt: skip

if __name__ == "__main__":
    paper.main(PAPER, __doc__)
