"""Writes experiments/papers/README.md: each published result beside ours, from the evidence in results/papers.

scripts/run experiments/papers/table.py
"""

from pathlib import Path

import allcnn
import cuda_convnet
import lecun1989
import lenet5
import paper
import resnet20

PAPERS = [module.PAPER for module in (lecun1989, lenet5, cuda_convnet, allcnn, resnet20)]
README = Path(__file__).with_name("README.md")


def text() -> str:
    """The whole file."""
    return (
        "# Published results\n\n"
        "The test error of each paper beside ours, the median over n seeds with its interval; what two CPU cores "
        "cannot finish is blank. `scripts/run experiments/papers/NAME.py --data-dir DIR` trains one and keeps its "
        "evidence, `--quick` shows that it runs. Written by `scripts/run experiments/papers/table.py`.\n\n"
        + paper.table(PAPERS)
    )


if __name__ == "__main__":
    README.write_text(text(), encoding="utf-8")
