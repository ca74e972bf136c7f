"""A note as rendered for a reader: blocks of visible text, table rows, and the references in them.

The dialects (`markdown`, `latex`) turn source into visible text and record every character's position in the source;
this module splits that text into paragraphs, list items, headings and table rows. Time is linear in the size.
"""

import bisect
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from cnn_jax.errors import DataError
from cnn_jax.report.notes import latex, markdown
from cnn_jax.report.notes.visible import CAPTION, CELL, Reference, Span, Visible

MOST_BYTES = 2_000_000
MOST_NUMBERS = 20_000
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")
_BEGINS = re.compile(r"\s*(?:- |#|\d{1,9}[.)] |" + CAPTION + ")")
_RULE = set("-:+| \t" + CELL)  # characters of the line between the headings and the rows of a table
_SENTENCE = re.compile(r"[.!?]['\")\]]?\s+(?=[^\sa-z0-9])|" + CELL)


@dataclass(frozen=True)
class Cell:
    """A cell of a table row."""

    span: Span  # in the text of the row
    heading: str  # of its column


@dataclass(frozen=True)
class Block:
    """A paragraph, list item, heading, caption or table row; only rows have `cells` and a `caption`."""

    text: str
    origins: Sequence[int]
    references: tuple[Reference, ...]  # their spans are relative to `text`
    cells: tuple[Cell, ...] = ()
    caption: str = ""

    @cached_property
    def sentences(self) -> list[int]:
        """The beginnings of the sentences, or of the cells of a row."""
        return [0, *(match.end() for match in _SENTENCE.finditer(self.text))]

    def sentence(self, at: int) -> Span:
        """The span of the sentence, or cell, at a position."""
        i = bisect.bisect_right(self.sentences, at)
        return self.sentences[i - 1], self.sentences[i] if i < len(self.sentences) else len(self.text)

    def cell(self, at: int) -> Cell | None:
        return next((cell for cell in self.cells if cell.span[0] <= at <= cell.span[1]), None)

    @property
    def label(self) -> str:
        """The text of a row's first cell."""
        return self.text[slice(*self.cells[0].span)] if self.cells else ""


@dataclass(frozen=True)
class Document:
    """A note."""

    path: Path
    source: str
    blocks: tuple[Block, ...]
    includes: tuple[tuple[str, int], ...] = ()  # names of included files, with their position in the source

    @property
    def references(self) -> Iterator[Reference]:
        return (reference for block in self.blocks for reference in block.references)

    @cached_property
    def _lines(self) -> list[int]:
        return [0, *(match.end() for match in re.finditer("\n", self.source))]

    def line(self, origin: int) -> int:
        """The line number of a position in the source."""
        return bisect.bisect_right(self._lines, origin)


def read(path: Path) -> Document:
    """Reads a note in Markdown (.md), LaTeX (.tex) or plain text (.txt). Raises DataError for any other file, and if it
    cannot be read."""
    dialects: dict[str, Callable[[str], Visible]] = {
        ".md": markdown.visible,
        ".txt": markdown.visible_plain,
        ".tex": latex.visible,
    }
    if path.suffix.lower() not in dialects:
        raise DataError(f"{path} is no note: a note is Markdown (.md), LaTeX (.tex) or plain text (.txt)")
    source = _text(path)
    try:
        visible = dialects[path.suffix.lower()](_same_width(source))
    except DataError as error:
        raise DataError(f"{path} cannot be checked: {error}") from None
    return Document(path, source, tuple(_blocks(visible)), tuple(visible.includes))


def _text(path: Path) -> str:
    """The unmodified text of a note, line endings included."""
    try:
        if not path.is_file():
            raise DataError(f"{path} cannot be read: {'it is no file' if path.exists() else 'there is no such file'}")
        if (size := path.stat().st_size) > MOST_BYTES:
            raise DataError(f"{path} is no note: it has {size:,} bytes, a note at most {MOST_BYTES:,}")
        text = path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no UTF-8 text"
        raise DataError(f"{path} cannot be read: {reason}") from None
    if sum(1 for _ in re.finditer(r"\d+", text)) > MOST_NUMBERS:
        raise DataError(f"{path} is no note: it has more than {MOST_NUMBERS:,} numbers")
    if _CONTROL.search(text):
        raise DataError(f"{path} cannot be read: it holds control characters, so it is no text")
    return text


def _same_width(source: str) -> str:
    """Replaces digits, blanks and signs of other scripts by ASCII, one character by one, so that positions stay the
    same."""
    table = {}
    for letter in set(source):
        plain = unicodedata.normalize("NFKC", letter)
        kind = unicodedata.category(letter)
        if kind == "Nd":
            table[ord(letter)] = str(unicodedata.digit(letter))
        elif kind in ("Zs", "Zl", "Zp"):
            table[ord(letter)] = " "
        elif "\uff00" <= letter <= "\uffef" and len(plain) == 1:
            table[ord(letter)] = plain
        elif letter == "٪":
            table[ord(letter)] = "%"
    return source.translate(table)


@dataclass(frozen=True)
class _Line:
    start: int
    text: str

    @property
    def is_row(self) -> bool:
        return CELL in self.text


def _blocks(visible: Visible) -> Iterator[Block]:
    text = "".join(visible.parts)
    starts = [reference.span[0] for reference in visible.references]

    def block(start: int, end: int, cells: tuple[Cell, ...] = (), caption: str = "") -> Block:
        inside = visible.references[bisect.bisect_left(starts, start) : bisect.bisect_left(starts, end)]
        own = tuple(_moved(reference, start) for reference in inside)
        return Block(text[start:end], visible.origins[start:end], own, cells, caption)

    before, at = "", 0
    lines: list[_Line] = []
    pending: list[_Line] = []
    for content in text.split("\n"):
        lines.append(_Line(at, content))
        at += len(content) + 1
    i = 0
    while i < len(lines):
        line = lines[i]
        if pending and (line.is_row or not line.text.strip() or _BEGINS.match(line.text)):
            end = pending[-1].start + len(pending[-1].text)
            paragraph = block(pending[0].start, end)
            yield paragraph
            before, pending = "" if paragraph.references else paragraph.text, []
        if line.is_row:
            rows = [line]
            while i + 1 < len(lines) and lines[i + 1].is_row:
                i += 1
                rows.append(lines[i])
            yield from (block(*row) for row in _rows(rows, _caption(before, lines, i + 1)))
        elif line.text.strip():
            pending.append(line)
        i += 1
    if pending:
        yield block(pending[0].start, len(text))


def _caption(before: str, lines: list[_Line], after: int) -> str:
    """A table's caption: the one after it, else `before`, the paragraph before it (empty if that has references)."""
    behind = next((line.text for line in lines[after : after + 4] if line.text.strip()), "")
    return (behind if behind.startswith(CAPTION) and CAPTION not in before else before)[:2000]


def _rows(rows: list[_Line], caption: str) -> Iterator[tuple[int, int, tuple[Cell, ...], str]]:
    """(start, end, cells, caption) of every row except the line below the headings; the headings are the first row."""
    headings: list[str] = []
    for number, row in enumerate(rows):
        if "-" in row.text and _RULE.issuperset(row.text):
            continue
        spans, at = [], 0
        for cell in row.text.split(CELL):
            spans.append((at, at + len(cell)))
            at += len(cell) + 1
        texts = [row.text[slice(*span)].strip() for span in spans]
        if number == 0 and len(rows) > 1:
            headings = texts
        own = headings if number else [""] * len(texts)
        cells = tuple(Cell(span, own[i] if i < len(own) else "") for i, span in enumerate(spans))
        yield row.start, row.start + len(row.text), cells, caption


def _moved(reference: Reference, by: int) -> Reference:
    start, end = reference.span
    values = {name: getattr(reference, name) for name in Reference.__dataclass_fields__}
    return Reference(**values | {"span": (start - by, end - by)})
