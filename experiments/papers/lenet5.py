"""LeNet-5 on MNIST (lecun1998gradient).

scripts/run experiments/papers/lenet5.py --data-dir DIR    # some minutes for six seeds on two CPU cores
"""

import paper

PAPER = paper.Paper(
    "lenet5", "LeNet-5 on MNIST", "lecun1998gradient", "0.95 % error, 0.8 % with distorted images added",
    "60,000 training images; 20 passes, one image at a time; subsampling with weights, output codes",
    "modern form with 61,706 parameters, average pools and cross-entropy; 12 passes in batches of 128, cosine "
    "schedule, weight decay 1e-4; shifts by one pixel",
    {
        "network": "lenet5", "dataset": "mnist", "epochs": 12, "learning_rate": 0.05, "schedule": "cosine",
        "weight_decay": 1e-4, "augment": "crop1",
    },
)  # fmt: skip

if __name__ == "__main__":
    paper.main(PAPER, __doc__)
