"""Compares runs or sweeps seed by seed, or the cells of one sweep; says how many seeds a given difference needs."""

import argparse
from pathlib import Path

from cnn_jax.errors import RequestError
from cnn_jax.metrics import scores


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folders; the first is the reference")
    parser.add_argument("--metric", default="test.accuracy", choices=scores())
    parser.add_argument(
        "--detect", type=float, metavar="D", help="a true difference (points, or units of the loss) to be found"
    )
    parser.add_argument(
        "--margin", type=float, metavar="D", help="a difference (likewise) that does not matter: asks for equivalence"
    )


def run(arguments: argparse.Namespace) -> None:
    from cnn_jax.report.compare import compare

    for name in ("detect", "margin"):
        value = getattr(arguments, name)
        if value is not None and not 0 < value < float("inf"):
            raise RequestError(f"--{name} {value:g} must be a positive difference")
    print(compare(arguments.runs, arguments.metric, detect=arguments.detect, margin=arguments.margin), end="")
