"""The visible text of a note, as its dialect renders it, with the references in it."""

import re
from dataclasses import dataclass, field
from urllib.parse import unquote

from cnn_jax.errors import DataError

MOST_REFERENCES = 5_000
CELL, CAPTION = "\x1f", "\x1d"  # markers in visible text: between the cells of a row, before a caption
_TARGET = re.compile(r"(?P<path>.+?)(?:@(?P<digest>[0-9a-f]{6,64}))?(?:\\?#(?P<what>.+))?")
Span = tuple[int, int]


@dataclass(frozen=True)
class Reference:
    """`[TEXT](KIND:PATH@DIGEST#WHAT)`."""

    kind: str
    path: str
    digest: str | None
    what: str | None
    span: Span  # of TEXT in the visible text
    source: Span  # of the reference in the source
    inner: Span  # of TEXT in the source
    pin: int  # position in the source where a missing digest belongs

    @property
    def target(self) -> str:
        return f"{self.path}#{self.what}"


@dataclass
class Visible:
    """Builds visible text; runs of blanks become one."""

    parts: list[str] = field(default_factory=list)
    origins: list[int] = field(default_factory=list)  # position in the source of every character
    references: list[Reference] = field(default_factory=list)
    includes: list[tuple[str, int]] = field(default_factory=list)  # included files, with their position in the source

    def add(self, text: str, origin: int, *, copied: bool = False) -> None:
        """Adds the text that is rendered for the source at `origin`; `copied` if it is the source itself."""
        self.parts.append(text)
        self.origins += range(origin, origin + len(text)) if copied else [origin] * len(text)

    def blank(self, origin: int) -> None:
        if not self.parts or not self.parts[-1].endswith((" ", "\n")):
            self.add(" ", origin)

    def __len__(self) -> int:
        return len(self.origins)

    def refer(self, kind: str, target: str, start: int, source: Span, inner: Span, target_at: int) -> None:
        """Adds a reference whose text begins at `start` in the visible text. Raises DataError if there are too
        many."""
        match = _TARGET.fullmatch(target)
        if match is None:
            return
        if len(self.references) == MOST_REFERENCES:
            raise DataError(f"it has more than {MOST_REFERENCES:,} references")
        path = unquote(match["path"].replace("\\_", "_"))  # a Markdown link may encode blanks and brackets
        pin = target_at + match.end("path")
        span = (start, len(self))
        self.references.append(Reference(kind, path, match["digest"], match["what"], span, source, inner, pin))


class MarkupReader:
    """Renders a source: text between the matches of `markup` is copied; `mark` renders a match and returns the position
    after it."""

    def __init__(self, source: str, markup: re.Pattern[str]):
        self.source, self.markup, self.out = source, markup, Visible()

    def read(self) -> Visible:
        self.between(0, len(self.source))
        return self.out

    def between(self, at: int, end: int) -> None:
        """Renders source[at:end]."""
        while at < end:
            match = self.markup.search(self.source, at, end)
            if match is None:
                self.out.add(self.source[at:end], at, copied=True)
                return
            self.out.add(self.source[at : match.start()], at, copied=True)
            at = self.mark(match)

    def mark(self, match: re.Match[str]) -> int:
        raise NotImplementedError
