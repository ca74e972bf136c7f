"""Checks a note and the files that it takes in."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cnn_jax.errors import DataError
from cnn_jax.report.notes.document import Document, read
from cnn_jax.report.notes.judging import one_line, problems
from cnn_jax.report.notes.quantities import Shelf

MOST_FILES = 100
MOST_PROBLEMS = 500


@dataclass(frozen=True)
class Finding:
    """What is wrong in which line of which file."""

    path: Path
    line: int
    text: str


@dataclass(frozen=True)
class Report:
    """How many references a note has, how many of them are not pinned, and what is wrong, at most MOST_PROBLEMS."""

    references: int
    unpinned: int
    problems: list[Finding]


def check(note: Path) -> Report:
    """Checks a note, with the files that LaTeX takes in by \\input and \\include, whose references are relative to the
    note as their names are. DataError if it cannot be read."""
    shelf = Shelf(note.parent)
    found: list[Finding] = []
    references = unpinned = 0
    waiting, seen = [read(note)], {note.resolve()}
    while waiting:
        document = waiting.pop()
        for reference in document.references:
            references += 1
            unpinned += reference.kind == "run" and reference.digest is None
        for problem in problems(document, shelf):
            if len(found) == MOST_PROBLEMS:
                more = f"more than {MOST_PROBLEMS} problems; those behind this line are not listed"
                return Report(references, unpinned, [*found, Finding(note, document.line(problem.at), more)])
            found.append(Finding(document.path, document.line(problem.at), problem.text))
        for other in _included(note, document, found):
            if other.path.resolve() not in seen and len(seen) < MOST_FILES:
                seen.add(other.path.resolve())
                waiting.append(other)
    return Report(references, unpinned, found)


def _included(note: Path, document: Document, found: list[Finding]) -> Iterator[Document]:
    """The files that a document takes in; one that cannot be read is a finding."""
    for name, at in document.includes[:MOST_FILES]:
        path = note.parent / (name if name.endswith((".tex", ".md", ".txt")) else f"{name}.tex")
        try:
            yield read(path)
        except DataError as error:
            found.append(Finding(document.path, document.line(at), one_line(f"takes in a file: {error}")))
