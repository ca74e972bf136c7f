"""Turns a finished run, sweep, study or comparison into a citation; refuses what deserves none, with the reason."""

import argparse
from pathlib import Path

from cnn_jax.errors import RequestError
from cnn_jax.metrics import scores


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "runs", nargs="+", type=Path, metavar="RUN",
        help="the folder of a run, a sweep or a study; of two runs or sweeps the second is compared with the first",
    )  # fmt: skip
    parser.add_argument("--metric", choices=scores(), default="test.accuracy")
    parser.add_argument("--margin", type=float, metavar="D", help="of a comparison: a difference that does not matter")
    parser.add_argument("--format", choices=("text", "markdown", "latex", "bibtex"), default="text")


def run(arguments: argparse.Namespace) -> None:
    from cnn_jax.report import cite, statements

    if len(arguments.runs) > 2:
        raise RequestError(f"cite takes one folder, or two to compare, not {len(arguments.runs)}")
    if len(arguments.runs) == 2:
        said = statements.comparison(arguments.runs, arguments.format, arguments.metric, arguments.margin)
    else:
        said = cite.cite(arguments.runs[0], arguments.format, arguments.metric)
    print(said, end="")
