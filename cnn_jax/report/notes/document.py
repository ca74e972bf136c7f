"""A note as its reader sees it: blocks of visible text, rows of tables, and the references in them.

The dialects (`markdown`, `latex`) turn source into visible text of which every character knows its place in the source;
this module cuts that text into paragraphs, list items, headings and rows of tables. Time is linear in the size.
"""

import bisect
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote

from cnn_jax.errors import DataError

MOST_BYTES = 2_000_000
MOST_REFERENCES = 5_000
MOST_NUMBERS = 20_000
CELL, CAPTION = "\x1f", "\x1d"  # marks in visible text: between the cells of a row, before a caption
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")
_BEGINS = re.compile(r"\s*(?:- |#|\d{1,9}[.)] |" + CAPTION + ")")
_RULE = set("-:+| \t" + CELL)  # of such characters is the line between the heading and the rows of a table
_SENTENCE = re.compile(r"[.!?]['\")\]]?\s+(?=[^\sa-z0-9])|" + CELL)
_TARGET = re.compile(r"(?P<path>.+?)(?:@(?P<digest>[0-9a-f]{6,64}))?(?:\\?#(?P<what>.+))?")
Span = tuple[int, int]


@dataclass(frozen=True)
class Reference:
    """`[TEXT](KIND:PATH@DIGEST#WHAT)`. `span` is where its text stands in the visible text; `source` where all of it
    stands in the source, `inner` where TEXT does, `pin` where a digest belongs that is not there yet."""

    kind: str
    path: str
    digest: str | None
    what: str | None
    span: Span
    source: Span
    inner: Span
    pin: int

    @property
    def target(self) -> str:
        return f"{self.path}#{self.what}"


@dataclass
class Visible:
    """Visible text while it is put together; runs of blanks become one."""

    parts: list[str] = field(default_factory=list)
    origins: list[int] = field(default_factory=list)
    references: list[Reference] = field(default_factory=list)
    includes: list[tuple[str, int]] = field(default_factory=list)  # other files that it takes in, and where

    def add(self, text: str, origin: int, *, copied: bool = False) -> None:
        """Text that stands for what is at `origin`; `copied` if it is that, character by character."""
        self.parts.append(text)
        self.origins += range(origin, origin + len(text)) if copied else [origin] * len(text)

    def blank(self, origin: int) -> None:
        if not self.parts or not self.parts[-1].endswith((" ", "\n")):
            self.add(" ", origin)

    def __len__(self) -> int:
        return len(self.origins)

    def refer(self, kind: str, target: str, start: int, source: Span, inner: Span, target_at: int) -> None:
        """Notes a reference whose text was added from `start` on. DataError where there are too many."""
        match = _TARGET.fullmatch(target)
        if match is None:
            return
        if len(self.references) == MOST_REFERENCES:
            raise DataError(f"it has more than {MOST_REFERENCES:,} references")
        path = unquote(match["path"].replace("\\_", "_"))  # a link of Markdown may encode blanks and brackets
        pin = target_at + match.end("path")
        found = Reference(kind, path, match["digest"], match["what"], (start, len(self)), source, inner, pin)
        self.references.append(found)


class MarkupReader:
    """Reads a source mark by mark: what lies between the matches of `markup` is copied, `mark` adds what a reader sees
    of one and returns where to go on."""

    def __init__(self, source: str, markup: re.Pattern[str]):
        self.source, self.markup, self.out = source, markup, Visible()

    def read(self) -> Visible:
        self.between(0, len(self.source))
        return self.out

    def between(self, at: int, end: int) -> None:
        """Adds what a reader sees of source[at:end]."""
        while at < end:
            match = self.markup.search(self.source, at, end)
            if match is None:
                self.out.add(self.source[at:end], at, copied=True)
                return
            self.out.add(self.source[at : match.start()], at, copied=True)
            at = self.mark(match)

    def mark(self, match: re.Match[str]) -> int:
        raise NotImplementedError


@dataclass(frozen=True)
class Cell:
    """A cell of a row: where it stands in the text of the row, and the heading of its column."""

    span: Span
    heading: str


@dataclass(frozen=True)
class Block:
    """A paragraph, list item, heading, caption or row of a table. `cells` and `caption` belong to rows."""

    text: str
    origins: Sequence[int]
    references: tuple[Reference, ...]  # their spans are relative to `text`
    cells: tuple[Cell, ...] = ()
    caption: str = ""

    @cached_property
    def sentences(self) -> list[int]:
        """Where sentences, or cells, begin."""
        return [0, *(match.end() for match in _SENTENCE.finditer(self.text))]

    def sentence(self, at: int) -> Span:
        """The sentence, or cell, around a position."""
        i = bisect.bisect_right(self.sentences, at)
        return self.sentences[i - 1], self.sentences[i] if i < len(self.sentences) else len(self.text)

    def cell(self, at: int) -> Cell | None:
        return next((cell for cell in self.cells if cell.span[0] <= at <= cell.span[1]), None)

    @property
    def label(self) -> str:
        """The first cell of a row."""
        return self.text[slice(*self.cells[0].span)] if self.cells else ""


@dataclass(frozen=True)
class Document:
    """A note: its source, its blocks, and the names of other files that it takes in, each with its place."""

    path: Path
    source: str
    blocks: tuple[Block, ...]
    includes: tuple[tuple[str, int], ...] = ()

    @property
    def references(self) -> Iterator[Reference]:
        return (reference for block in self.blocks for reference in block.references)

    @cached_property
    def _lines(self) -> list[int]:
        return [0, *(match.end() for match in re.finditer("\n", self.source))]

    def line(self, origin: int) -> int:
        """The number of the line of a position in the source."""
        return bisect.bisect_right(self._lines, origin)


def read(path: Path) -> Document:
    """DataError for what is no Markdown (.md), LaTeX (.tex) or plain text (.txt), or cannot be read as that."""
    from cnn_jax.report.notes import latex, markdown

    dialects: dict[str, Callable[[str], Visible]] = {
        ".md": markdown.visible,
        ".txt": markdown.visible_plain,
        ".tex": latex.visible,
    }
    if path.suffix.lower() not in dialects:
        raise DataError(f"{path} is no note: a note is Markdown (.md), LaTeX (.tex) or plain text (.txt)")
    source = _text(path)
    try:
        shown = dialects[path.suffix.lower()](_same_width(source))
    except DataError as error:
        raise DataError(f"{path} cannot be checked: {error}") from None
    return Document(path, source, tuple(_blocks(shown)), tuple(shown.includes))


def _text(path: Path) -> str:
    """The note as it is, line ends included."""
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
    """Digits, blanks and signs of other scripts as those of ASCII, each character where it was."""
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


def _blocks(shown: Visible) -> Iterator[Block]:
    text = "".join(shown.parts)
    starts = [reference.span[0] for reference in shown.references]

    def block(start: int, end: int, cells: tuple[Cell, ...] = (), caption: str = "") -> Block:
        inside = shown.references[bisect.bisect_left(starts, start) : bisect.bisect_left(starts, end)]
        own = tuple(_moved(reference, start) for reference in inside)
        return Block(text[start:end], shown.origins[start:end], own, cells, caption)

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
    """What is said of a table: the caption behind it, else the paragraph before it that has no reference itself."""
    behind = next((line.text for line in lines[after : after + 4] if line.text.strip()), "")
    return (behind if behind.startswith(CAPTION) and CAPTION not in before else before)[:2000]


def _rows(rows: list[_Line], caption: str) -> Iterator[tuple[int, int, tuple[Cell, ...], str]]:
    """(start, end, cells, caption) of every row but the line below the headings, which are its first row."""
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
