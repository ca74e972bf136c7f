"""The 18 % network of cuda-convnet on CIFAR-10 (krizhevsky2012cuda).

scripts/run experiments/papers/cuda_convnet.py --data-dir DIR    # about two hours per seed on two CPU cores
"""

import paper

PAPER = paper.Paper(
    "cuda_convnet", "the 18 % network on CIFAR-10, 89,578 parameters", "krizhevsky2012cuda", "18 % error",
    "batches of 128, momentum 0.9, weight decay by layer, 120 passes and then lower rates; no augmentation",
    "one weight decay for all layers, a cosine schedule; 45,000 training images",
    {
        "network": "cuda_convnet_18", "dataset": "cifar10", "epochs": 120, "learning_rate": 0.01, "schedule": "cosine",
        "weight_decay": 0.001,
    },
)  # fmt: skip

if __name__ == "__main__":
    paper.main(PAPER, __doc__)
