"""Looks inside a trained network: a page with its units, explanations of images and their own checks, and more."""

import argparse
import shlex
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "run", type=Path, help="a run's folder, or a sweep's (its best run is used); or FILE with --network"
    )
    parser.add_argument(
        "--images", nargs="+", type=Path, default=[], metavar="IMAGE", help="JPEG or PNG files to explain"
    )
    parser.add_argument("--count", type=int, default=16, help="validation images to explain (default 16)")
    parser.add_argument("--layers", nargs="+", default=[], metavar="LAYER", help="layers whose units are shown")
    parser.add_argument("--units", nargs="+", type=int, default=[], metavar="N", help="units of each of these layers")
    parser.add_argument("--seed", type=int, default=0, help="of everything random here (default 0)")
    parser.add_argument("--data-dir", help="where the run's data is (default: where it was)")
    parser.add_argument("--network", help="look at the weights in a file (npz, safetensors) of this network instead")
    parser.add_argument("--out", type=Path, help="the folder to write (default: RUN/insight)")


def run(arguments: argparse.Namespace) -> None:
    from cnn_jax import lab
    from cnn_jax.report.inside import Request

    request = Request(
        tuple(arguments.images), arguments.count, tuple(arguments.layers), tuple(arguments.units), arguments.seed
    )
    words = ["scripts/run", "-m", "cnn_jax", *sys.argv[1:]]
    page = lab.see(
        arguments.run, request, arguments.out, network=arguments.network, data_dir=arguments.data_dir,
        command=shlex.join(words),
    )  # fmt: skip
    print(page)
