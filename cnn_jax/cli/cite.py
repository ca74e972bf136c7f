"""Turns a finished run or sweep into a citation: a sentence, a row of a table, BibTeX; refuses what deserves none."""

import argparse
from pathlib import Path

from cnn_jax.metrics import SCORES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, help="the folder of a run or a sweep")
    parser.add_argument("--metric", choices=SCORES, default="test.accuracy")
    parser.add_argument("--format", choices=("text", "markdown", "latex", "bibtex"), default="text")


def run(arguments: argparse.Namespace) -> None:
    from cnn_jax.report.cite import cite

    print(cite(arguments.run, arguments.format, arguments.metric), end="")
