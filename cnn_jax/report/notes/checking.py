"""Checks a note and the files that it includes."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cnn_jax.errors import DataError
from cnn_jax.report.notes.document import Document, read
from cnn_jax.report.notes.judging import one_line, problems
from cnn_jax.report.notes.quantities import NoteFolders

MOST_FILES = 100
MOST_PROBLEMS = 500


@dataclass(frozen=True)
class Finding:
    """A problem with its file and line."""

    path: Path
    line: int
    text: str


@dataclass(frozen=True)
class Report:
    """The result of checking a note."""

    references: int
    unpinned: int  # of the references
    problems: list[Finding]  # at most MOST_PROBLEMS


def check(note: Path) -> Report:
    """Checks a note and the files that LaTeX includes with \\input and \\include; their names and their references are
    relative to the note. Raises DataError if the note cannot be read."""
    folders = NoteFolders(note.parent)
    findings: list[Finding] = []
    references = unpinned = 0
    queue, seen = [read(note)], {note.resolve()}
    while queue:
        document = queue.pop()
        for reference in document.references:
            references += 1
            unpinned += reference.kind == "run" and reference.digest is None
        for problem in problems(document, folders):
            if len(findings) == MOST_PROBLEMS:
                more = f"more than {MOST_PROBLEMS} problems; those behind this line are not listed"
                return Report(references, unpinned, [*findings, Finding(note, document.line(problem.at), more)])
            findings.append(Finding(document.path, document.line(problem.at), problem.text))
        for other in _included(note, document, findings):
            if other.path.resolve() not in seen and len(seen) < MOST_FILES:
                seen.add(other.path.resolve())
                queue.append(other)
    return Report(references, unpinned, findings)


def _included(note: Path, document: Document, findings: list[Finding]) -> Iterator[Document]:
    """The files that a document includes; adds a finding for a file that cannot be read."""
    for name, at in document.includes[:MOST_FILES]:
        path = note.parent / (name if name.endswith((".tex", ".md", ".txt")) else f"{name}.tex")
        try:
            yield read(path)
        except DataError as error:
            findings.append(Finding(document.path, document.line(at), one_line(f"takes in a file: {error}")))
