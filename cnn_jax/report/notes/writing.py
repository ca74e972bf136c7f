"""Writes numbers into a note: `generate` fills references that are empty, `stamp` pins what references hold now."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from cnn_jax.errors import CnnJaxError
from cnn_jax.report.deviations import deviations
from cnn_jax.report.notes.document import Block, Document, Reference, read
from cnn_jax.report.notes.quantities import Quantity, Shelf
from cnn_jax.runs.folder import Folder

PLACEHOLDER = re.compile(r"\{(interval|n|protocol)\}")
Edit = tuple[int, int, str]  # from, to, what to write there


def generate(note: Path) -> int:
    """Fills every empty reference that can be followed, `[](run:PATH#QUANTITY)`, with its number and its digest, and
    `{interval}`, `{n}` and `{protocol}` behind it; returns how many. A second call changes nothing."""
    document, shelf = read(note), Shelf(note.parent)
    edits: list[Edit] = []
    filled = 0
    for block in document.blocks:
        for i, reference in enumerate(block.references):
            if reference.kind != "run" or document.source[slice(*reference.inner)].strip():
                continue
            try:
                quantity = shelf.follow(reference.path, reference.what)
            except CnnJaxError:
                continue  # `check` says why
            edits.append((*reference.inner, _in_dialect(note, quantity.written)))
            edits += _pin(reference, shelf)
            later = block.references[i + 1].source[0] if i + 1 < len(block.references) else _end(document, block)
            edits += _placeholders(document, reference.source[1], later, quantity)
            filled += 1
    _write(note, document, edits)
    return filled


def stamp(note: Path) -> int:
    """Pins every reference that is not pinned yet and can be followed; returns how many."""
    document, shelf = read(note), Shelf(note.parent)
    edits: list[Edit] = []
    for reference in document.references:
        if reference.kind == "run" and reference.digest is None:
            try:
                shelf.follow(reference.path, reference.what)
                edits += _pin(reference, shelf)
            except CnnJaxError:
                continue  # `check` says why
    _write(note, document, edits)
    return len(edits)


def _pin(reference: Reference, shelf: Shelf) -> Iterator[Edit]:
    if reference.digest is None:
        yield reference.pin, reference.pin, f"@{shelf.digest(reference.path)}"


def _end(document: Document, block: Block) -> int:
    """The end of a block in the source."""
    return block.origins[-1] + 1 if len(block.origins) else len(document.source)


def _placeholders(document: Document, start: int, end: int, quantity: Quantity) -> Iterator[Edit]:
    """The placeholders between a reference and the next."""
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
    """Applies the edits, last first, and replaces the note at once."""
    if not edits:
        return
    text = document.source
    for start, end, new in sorted(edits, reverse=True):
        text = text[:start] + new + text[end:]
    real = note.resolve()
    mode = real.stat().st_mode
    Folder(real.parent).write_bytes(real.name, text.encode("utf-8"))
    os.chmod(real, mode)
