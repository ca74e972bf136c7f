"""cnn-jax check: checks the numbers of a research note against the runs it refers to."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from cnn_jax.cli import common
from cnn_jax.errors import RequestError
from cnn_jax.waiting import waiting


@dataclass(frozen=True, kw_only=True)
class Check(common.Common):
    """Checks every number of research notes against the runs they refer to; exit code 1 if any is wrong.

    For example: cnn-jax check note.md --generate
    """

    notes: Positional[tuple[Path, ...]]
    """Notes in Markdown (.md), LaTeX (.tex) or plain text (.txt)."""
    generate: bool = False
    """Fill in the numbers of empty references first."""
    stamp: bool = False
    """Pin references to the current content of their folders first."""


def command(arguments: Sequence[str]) -> int:
    parsed = common.parse(Check, arguments, "cnn-jax check")
    if not parsed.notes:
        raise RequestError("check needs a note: cnn-jax check NOTE.md")

    from cnn_jax.report.notes import check, generate, stamp

    wrong = 0
    for note in parsed.notes:
        if parsed.generate:
            print(f"{note}: {generate(note)} references filled in")
        if parsed.stamp:
            print(f"{note}: {stamp(note)} references pinned")
        with waiting(f"checking {note}", show=not parsed.quiet):
            report = check(note)
        for problem in report.problems:
            print(f"{problem.path}:{problem.line}: {problem.text}", file=sys.stderr)
        wrong += len(report.problems)
        loose = f", {report.unpinned} not pinned (--stamp)" if report.unpinned else ""
        print(f"{note}: {report.references} references{loose}, {len(report.problems)} problems")
    return 1 if wrong else 0
