"""Writes the weights of a trained network into a file for other programs."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, help="a run's folder, or a sweep's (its best run is used)")
    parser.add_argument("--format", choices=("npz", "safetensors"), default="npz", help="default npz")
    parser.add_argument("--out", type=Path, metavar="FILE", help="default: RUN/weights.FORMAT")


def run(arguments: argparse.Namespace) -> None:
    from cnn_jax.runs import weights

    found = weights.stored(arguments.run)
    path = arguments.out or found.folder.file(f"weights.{arguments.format}")
    weights.export(found, path, arguments.format)
    print(path)
