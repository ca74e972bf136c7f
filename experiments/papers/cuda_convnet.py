"""The 18 % network of cuda-convnet on CIFAR-10 (krizhevsky2012cuda, example-layers/layer-params-18pct.cfg).

scripts/run experiments/papers/cuda_convnet.py --data-dir DIR

There the images are 0 … 255 less the mean; here they are also divided by the deviation of the grey levels, about 63, so
that the first filters are 63 times as large and, to change as they do there, learn at 63² times the rate.
"""

import paper

LEVELS = 63.0  # deviation of the grey levels of CIFAR-10

PAPER = paper.Paper(
    "cuda_convnet", "the 18 % network on CIFAR-10, 89,578 parameters", "krizhevsky2012cuda", "18 % error",
    "120 passes over 50,000 images at rate 0.001, 10 at a tenth and 10 at a hundredth, biases at twice the rate; "
    "batches of 128, momentum 0.9; weight decay 0.004 for filters, 1 for the last layer; no augmentation",
    "mean by channel, not by pixel; first filters drawn with deviation 0.01, which is 0.00016 there, not 0.0001",
    {
        "network": "cuda_convnet_18", "dataset": "cifar10", "validation": 200, "epochs": 140, "learning_rate": 0.001,
        "schedule": "step", "decay_epochs": (120.0, 130.0), "initialiser": "normal",
        "rates": {"biases": 2.0, "conv1/kernel": LEVELS**2},
        "decays": {"conv1/kernel": 0.004 / LEVELS**2, "filters": 0.004, "dense1/kernel": 1.0},
    },
)  # fmt: skip

if __name__ == "__main__":
    paper.main(PAPER, __doc__)
