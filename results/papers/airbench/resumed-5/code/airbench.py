"""CIFAR-10 in eight passes, published as 94 %, the variant with Muon (jordan2024airbench, jordan2024muon).

scripts/run experiments/papers/airbench.py --data-dir DIR    # 40 minutes per seed on two CPU cores

The implementation sums the loss over a batch of 2,000 where it is a mean here, so that its learning rates are 2,000
times as large here; the head's follows from its factor (`zoo.modern.AIRBENCH_SCALE`). Its weight decay times learning
rate, 0.004, is that of each group.
"""

import paper

from cnn_jax.zoo.modern import AIRBENCH_SCALE

BATCH, FILTER_RATE = 2000, 0.24
BIAS_RATE = 0.053 * BATCH
HEAD_RATE = 0.67 * BATCH / (256 * AIRBENCH_SCALE) ** 2
DECAY = 2e-6 * BATCH  # weight decay times learning rate

PAPER = paper.Paper(
    "airbench", "94 % on CIFAR-10 in 8 passes", "jordan2024airbench", "6.0 % error",
    "8 passes in batches of 2,000 over all 50,000 images; Muon for the filters, Nesterov momentum for biases and head, "
    "rates falling linearly to 0; label smoothing 0.2; whitening first layer; alternating flips, shifts by up to 2 "
    "pixels; six views of each test image",
    "the bias of the first layer begins at 0 and learns to the end, not for 3 passes; float32, not float16",
    {
        "network": "airbench94", "dataset": "cifar10", "validation": 200, "epochs": 8, "batch_size": BATCH,
        "learning_rate": FILTER_RATE, "schedule": "linear", "optimizer": "muon", "momentum": 0.6, "nesterov": True,
        "optimizer_args": {"sgd_momentum": 0.85, "iterations": 3, "unit_norm": True},
        "rates": {"biases": BIAS_RATE / FILTER_RATE, "head": HEAD_RATE / FILTER_RATE},
        "decays": {"biases": DECAY / BIAS_RATE, "head": DECAY / HEAD_RATE},
        "initialiser": "dirac", "label_smoothing": 0.2, "augment": "alternate_flip shift2", "views": "flip_shift",
    },
)  # fmt: skip

if __name__ == "__main__":
    paper.main(PAPER, __doc__)
