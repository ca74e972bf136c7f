"""LeCun et al. 1989: 9,760 weights read 16x16 zip code digits (lecun1989backpropagation).

    scripts/run experiments/papers/lecun1989.py --data-dir DIR    # some minutes for six seeds on two CPU cores

Their digits are not public; downscaled MNIST replaces them, as in karpathy2022deep, which reports 4.09 % error.
"""

import paper

PAPER = paper.Paper(
    "lecun1989", "the network of 1989, 9,760 parameters, 16x16 digits", "lecun1989backpropagation", "5.0 % error",
    "7,291 training and 2,007 test digits; 23 passes, one digit at a time; squared error",
    "digits of MNIST made 16x16, 10,000 of them for the test; logits with cross-entropy instead of tanh outputs with "
    "squared error; batches of 8; momentum 0.9",
    {
        "network": "lenet1989", "dataset": "mnist", "image_size": 16, "train_examples": 7291, "epochs": 23,
        "batch_size": 8, "learning_rate": 0.003,
    },
)  # fmt: skip

if __name__ == "__main__":
    paper.main(PAPER, __doc__)
