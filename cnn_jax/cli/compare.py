"""Compares runs or sweeps seed by seed, or the cells of one sweep; says how many seeds a given difference needs."""

import argparse
from pathlib import Path

from cnn_jax.errors import RequestError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folders; the first is the reference")
    parser.add_argument(
        "--metric", default="test.accuracy",
        choices=("test.accuracy", "validation.accuracy", "test.loss", "validation.loss"),
    )  # fmt: skip
    parser.add_argument(
        "--detect", type=float, metavar="D", help="a true difference (points, or units of the loss) to be found"
    )


def run(arguments: argparse.Namespace) -> None:
    from cnn_jax.report.compare import compare

    if arguments.detect is not None and not 0 < arguments.detect < float("inf"):
        raise RequestError(f"--detect {arguments.detect:g} must be a positive difference")
    print(compare(arguments.runs, arguments.metric, arguments.detect), end="")
