"""LeNet-5 on MNIST as it was in 1998, with distorted images (lecun1998gradient, III.A).

scripts/run experiments/papers/lenet5_1998_shifted.py --data-dir DIR    # an hour for six seeds on two CPU cores
"""

import dataclasses

import paper
from lenet5_1998 import CONFIG, PAPER

PAPER = dataclasses.replace(
    PAPER,
    name="lenet5_1998_shifted",
    title=f"{PAPER.title}, with distorted images",
    published="0.8 % error",
    recipe=f"{PAPER.recipe}; nine distorted copies of each image added (shifts, scales, shears)",
    deviations=f"{PAPER.deviations}; shifts by one pixel instead of distorted copies",
    config=CONFIG | {"augment": "crop1"},
)

if __name__ == "__main__":
    paper.main(PAPER, __doc__)
