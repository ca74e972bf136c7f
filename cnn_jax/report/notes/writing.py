"""Writes numbers into a note: `generate` fills empty references, `stamp` adds the digests of their folders."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from cnn_jax.errors import CnnJaxError
from cnn_jax.report.deviations import deviations
from cnn_jax.report.notes.document import Block, Document, read
from cnn_jax.report.notes.quantities import NoteFolders, Quantity
from cnn_jax.report.notes.visible import Reference
from cnn_jax.runs.folder import Folder

PLACEHOLDER = re.compile(r"\{(interval|n|protocol)\}")
Edit = tuple[int, int, str]  # start and end in the source, replacement


def generate(note: Path) -> int:
    """Fills every empty reference `[](run:PATH#QUANTITY)` whose quantity exists with its number and its digest, and
    `{interval}`, `{n}` and `{protocol}` after it. Returns the number of references filled. Idempotent."""
    document, folders = read(note), NoteFolders(note.parent)
    edits: list[Edit] = []
    filled = 0
    for block in document.blocks:
        for i, reference in enumerate(block.references):
            if reference.kind != "run" or document.source[slice(*reference.inner)].strip():
                continue
            try:
                quantity = folders.follow(reference.path, reference.what)
            except CnnJaxError:
                continue  # `check` reports it
            edits.append((*reference.inner, _in_dialect(note, quantity.written)))
            edits += _pin(reference, folders)
            later = block.references[i + 1].source[0] if i + 1 < len(block.references) else _end(document, block)
            edits += _placeholders(document, reference.source[1], later, quantity)
            filled += 1
    _write(note, document, edits)
    return filled


def stamp(note: Path) -> int:
    """Adds a digest to every reference without one whose quantity exists. Returns the number of digests added."""
    document, folders = read(note), NoteFolders(note.parent)
    edits: list[Edit] = []
    for reference in document.references:
        if reference.kind == "run" and reference.digest is None:
            try:
                folders.follow(reference.path, reference.what)
                edits += _pin(reference, folders)
            except CnnJaxError:
                continue  # `check` reports it
    _write(note, document, edits)
    return len(edits)


def _pin(reference: Reference, folders: NoteFolders) -> Iterator[Edit]:
    if reference.digest is None:
        yield reference.pin, reference.pin, f"@{folders.digest(reference.path)}"


def _end(document: Document, block: Block) -> int:
    """The end of a block in the source."""
    return block.origins[-1] + 1 if len(block.origins) else len(document.source)


def _placeholders(document: Document, start: int, end: int, quantity: Quantity) -> Iterator[Edit]:
    """Fills the placeholders between a reference and the next."""
    values = {"interval": quantity.range, "n": quantity.count if quantity.n is not None else "", "protocol": ""}
    if quantity.outcome is not None:
        clauses = deviations(quantity.outcome.config, quantity.outcome.data)
        values["protocol"] = "; ".join(clauses) or "the whole training split"
    for match in PLACEHOLDER.finditer(document.source, start, end):
        if values[match[1]]:
            yield match.start(), match.end(), _in_dialect(document.path, values[match[1]])


def _in_dialect(note: Path, text: str) -> str:
    return text.replace(" %", r"\,\%").replace("–", "--") if note.suffix.lower() == ".tex" else text


def _write(note: Path, document: Document, edits: list[Edit]) -> None:
    """Applies the edits, the last first, and replaces the note atomically."""
    if not edits:
        return
    text = document.source
    for start, end, new in sorted(edits, reverse=True):
        text = text[:start] + new + text[end:]
    real = note.resolve()
    mode = real.stat().st_mode
    Folder(real.parent).write_bytes(real.name, text.encode("utf-8"))
    os.chmod(real, mode)
