"""Prints the class probabilities that a trained network gives to images from disk."""

import argparse
import json
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, help="a run's folder, or a sweep's (its best run is used)")
    parser.add_argument("images", nargs="+", type=Path, help="JPEG or PNG files", metavar="image")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--top", type=int, default=5, help="classes to print per image (default 5)")


def run(arguments: argparse.Namespace) -> None:
    from cnn_jax.runs.trained import predict

    found = predict(arguments.run, arguments.images)
    if arguments.json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
        return
    for image in found:
        ranked = sorted(image["probabilities"].items(), key=lambda item: -item[1])[: max(arguments.top, 1)]
        print(image["image"])
        for name, probability in ranked:
            print(f"  {probability:7.4f}  {name}")
