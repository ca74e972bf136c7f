"""Writes experiments/papers/README.md, each published result beside ours from the evidence in results/papers, and the
short form of it in the README of the project.

scripts/run experiments/papers/table.py           # from the evidence in results/papers
scripts/run experiments/papers/table.py --keep    # copies the evidence of finished sweeps there first
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import airbench
import allcnn
import cuda_convnet
import lecun1989
import lenet5
import lenet5_1998
import lenet5_1998_shifted
import nin
import paper
import preact_resnet18
import resnet20
import vgg16
import wrn16_4

from cnn_jax.cli import common

PAPERS = [
    module.PAPER
    for module in (
        airbench, cuda_convnet, resnet20, nin, allcnn, vgg16, preact_resnet18, wrn16_4,
        lenet5, lenet5_1998, lenet5_1998_shifted, lecun1989,
    )
]  # fmt: skip
README = Path(__file__).with_name("README.md")
MAIN = paper.ROOT / "README.md"


def text() -> str:
    """The text of README.md."""
    return (
        "# Published results\n\n"
        "The test error of each paper beside ours, the median over n seeds with its interval. "
        "`scripts/run experiments/papers/NAME.py --data-dir DIR` trains one, `--quick` shows that it runs; "
        "`scripts/run experiments/papers/table.py --keep` keeps the evidence of those that have run and writes this "
        "page. With `--dataset FILE` it trains on the same images in another file, which the table names.\n\n"
        f"{paper.table(PAPERS)}\nTo be measured:\n\n{paper.planned(PAPERS)}"
    )


def in_readme(readme: str) -> str:
    """The text of the project's README with the present table of published results."""
    head, rest = readme.split("<!-- papers -->\n")
    _, tail = rest.split("<!-- end of papers -->\n")
    return f"{head}<!-- papers -->\n{paper.short(PAPERS)}<!-- end of papers -->\n{tail}"


def command(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--keep", action="store_true", help="first copy the evidence of finished sweeps to results/papers"
    )
    if parser.parse_args(arguments).keep:
        paper.keep(PAPERS)
    README.write_text(text(), encoding="utf-8")
    MAIN.write_text(in_readme(MAIN.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    common.main(command)
