"""Trains a finished run or sweep once more and says what differs and whether the numbers come out again."""

import argparse
from pathlib import Path

from cnn_jax.cli import common
from cnn_jax.errors import RequestError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, help="the folder of a finished run or sweep")
    parser.add_argument("--out", type=Path, help="the new folder (default: runs/rerun-<UTC time>-<hash>)")
    parser.add_argument("--data-dir", help="where the data is (default: where it was)")
    parser.add_argument(
        "--tolerance", type=float, default=0.5, metavar="POINTS", help="of test accuracy (default 0.5 points)"
    )


def run(arguments: argparse.Namespace) -> int:
    from cnn_jax.lab.rerun import rerun
    from cnn_jax.runs.folder import Folder
    from cnn_jax.runs.schema import Record

    if not 0 <= arguments.tolerance < float("inf"):
        raise RequestError(f"--tolerance {arguments.tolerance:g} must be a number of points, at least 0")
    folder = Folder.open(arguments.run)
    out = arguments.out or common.default_out("rerun", folder.read("record.json", Record).config_hash)
    again = rerun(arguments.run, out, tolerance=arguments.tolerance, data_dir=arguments.data_dir)
    for change in again.changes or ("nothing differs in code, versions, device and data",):
        print(change)
    before, now = ("diverged" if number is None else f"{number:.2f} %" for number in again.numbers)
    words = {"identical": "identical", "within": f"within {arguments.tolerance:g} points", "different": "different"}
    print(f"{words[again.answer]}: test accuracy {before} before, {now} now")
    print(again.path)
    return 1 if again.answer == "different" else 0
