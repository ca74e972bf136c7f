"""Checks every number of a research note against the runs that it refers to; exit code 1 where one is wrong."""

import argparse
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("notes", nargs="+", type=Path, metavar="NOTE", help="Markdown (.md), LaTeX (.tex), text (.txt)")
    parser.add_argument("--generate", action="store_true", help="first fill in the numbers of empty references")
    parser.add_argument("--stamp", action="store_true", help="first pin references to what their folders hold now")


def run(arguments: argparse.Namespace) -> int:
    from cnn_jax.report.notes import check, generate, stamp

    wrong = 0
    for note in arguments.notes:
        if arguments.generate:
            print(f"{note}: {generate(note)} references filled in")
        if arguments.stamp:
            print(f"{note}: {stamp(note)} references pinned")
        report = check(note)
        for problem in report.problems:
            print(f"{problem.path}:{problem.line}: {problem.text}", file=sys.stderr)
        wrong += len(report.problems)
        loose = f", {report.unpinned} not pinned (--stamp)" if report.unpinned else ""
        print(f"{note}: {report.references} references{loose}, {len(report.problems)} problems")
    return 1 if wrong else 0
