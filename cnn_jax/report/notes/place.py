"""The words around a reference that count for it.

A word counts for the reference that it stands next to: the last such word between the reference before and this one in
its sentence; else the first behind it, up to the end of its clause; else the last one earlier in the paragraph. In a
table the cell comes first, then the heading of the column, the first cell of the row and the caption.
"""

import bisect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from cnn_jax.report.notes import words, written
from cnn_jax.report.notes.document import Block, Cell, Span
from cnn_jax.report.notes.quantities import Quantity
from cnn_jax.report.notes.words import Dimension, Mention, Words

NEAR = 400  # characters around a reference in which a word counts
LONG = 2_000  # characters of a row or a caption that are looked at
_CLAUSE = re.compile(r"[,;)]|\b(?:and|while|but|against|than|whereas|versus|vs)\b|\.\s")
_BRACKET = re.compile(r"\s?(?:%|percent|points|nats|s)?\s?\(")
_ENDS = (".low", ".high")


class Surroundings:
    """What one block says, looked for once for all of its references."""

    def __init__(self, block: Block):
        self.block, self.words = block, Words(block.text)

    @cached_property
    def counts(self) -> list[tuple[int, int]]:
        """(where, n) for every n that is stated."""
        return [(match.start(), _count(match)) for match in words.N.finditer(self.block.text)]

    @cached_property
    def failures(self) -> list[tuple[int, str, int]]:
        """(where, diverged or at chance, how many) for every count of failed seeds."""
        return _failures(self.block.text)

    @cached_property
    def of_caption(self) -> list[tuple[int, str, int]]:
        return _failures(self.block.caption)

    @cached_property
    def numbers(self) -> list[int]:
        """Where the references begin that are no ends of intervals."""
        return [one.span[0] for one in self.block.references if not (one.what or "").endswith(_ENDS)]


def _failures(text: str) -> list[tuple[int, str, int]]:
    found = []
    for match in words.FAILED.finditer(text):
        how = (match["how"] or match["named"]).lower()
        kind = "at chance" if how == "at chance" else "diverged"
        found.append((match.start(), kind, words.count(match["count"] or match["n"])))
    return found


@dataclass(frozen=True)
class Place:
    """A reference in its block: its span, the end of the reference before and the beginning of the one behind."""

    around: Surroundings
    span: Span
    before_end: int
    behind_start: int

    @property
    def block(self) -> Block:
        return self.around.block

    @property
    def cell(self) -> Cell | None:
        return self.block.cell(self.span[0])

    @cached_property
    def sentence(self) -> Span:
        return self.block.sentence(self.span[0])

    @property
    def behind(self) -> str:
        """What stands behind the reference, up to the next one or so far that it counts."""
        return self.block.text[self.span[1] : min(self.behind_start, self.span[1] + NEAR)]

    def interval_text(self) -> tuple[int, str]:
        """Where the interval of a reference is looked for: behind it, up to the next reference that is not an end; in a
        table, in the whole row where that has one reference with an interval."""
        text, end = self.block.text, len(self.block.text)
        numbers = self.around.numbers
        if self.cell is not None and len(numbers) == 1:
            return 0, text[:LONG]
        later = bisect.bisect_right(numbers, self.span[0])
        stop = min(numbers[later] if later < len(numbers) else end, self.span[1] + NEAR)
        return self.span[1], text[self.span[1] : stop]

    def counts(self) -> list[int]:
        """The n that is stated for the reference: behind it, else before it, else in its paragraph, row or caption."""
        text, pattern = self.block.text, words.N
        start, end = self.sentence
        if self.cell is not None:
            for cell in self.block.cells:
                number = re.match(r"\s*(?:n\s?=\s?)?(\d{1,6})\b", text[slice(*cell.span)][:40])
                if cell.heading.strip().lower() == "n" and number:
                    return [int(number[1])]
            row = _counts(pattern, text[:LONG])
            heading = _counts(pattern, self.cell.heading)
            return row or heading or _counts(pattern, self.block.caption)[-1:]
        behind = _counts(pattern, text[self.span[1] : min(end, self.behind_start, self.span[1] + NEAR)])
        before = _counts(pattern, text[max(start, self.before_end, self.span[0] - NEAR) : self.span[0]])
        if behind or before:
            return behind or before[-1:]
        nearest = min(self.around.counts, key=lambda one: abs(one[0] - self.span[0]), default=None)
        return [] if nearest is None else [nearest[1]]

    def failures(self, how: str) -> list[int]:
        """How many are said to have diverged, or to be at chance: between the reference before and the one behind, in
        the paragraph or the caption otherwise."""
        begin, end = max(self.before_end, self.span[0] - NEAR), min(self.behind_start, self.span[1] + NEAR)
        said = [one for one in self.around.failures if one[1] == how]
        near = [one for one in said if begin <= one[0] < end]
        return [count for _, kind, count in near or said or self.around.of_caption if kind == how]

    def of_interval(self, quantity: Quantity, at: int) -> Iterator[str]:
        """What the words before an interval say of its kind and level that it is not."""
        assert quantity.interval is not None
        text, kind = self.block.text, quantity.interval.kind
        before = text[max(self.span[1] if self.cell is None else 0, at - 120) : at]
        behind = text[at : at + 100].partition(")")[0]
        contexts = [before + behind]
        if self.cell is not None:
            contexts += [cell.heading for cell in self.block.cells if "interval" in cell.heading.lower()]
        contexts.append(self.block.caption)
        for context in contexts:
            levels = [written.of(match["level"]).value for match in words.LEVEL.finditer(context)]
            if levels and context is not self.block.caption:
                yield from self._of_level(quantity, levels)
                break
        for match in words.KIND.finditer(contexts[0]):
            if {"t": "t interval", "median": "of the median"}.get(match.lastgroup or "", "\0") not in kind:
                yield f"has the {quantity.range}, which is no {match[0]}"
        if kind == "range" and not any("range" in one.lower() for one in (self.block.text[:4000], *contexts)):
            yield f"is over n = {quantity.n} seeds: what is stated is the range, and must be called that"

    def _of_level(self, quantity: Quantity, levels: list[float]) -> Iterator[str]:
        assert quantity.interval is not None
        level = quantity.interval.level
        for stated in levels:
            if level is None or (abs(100 * level - stated) > 0.051 and stated != round(100 * level)):
                yield f"has the {quantity.range}, no {stated:g} % interval"

    def mentions(self, dimension: Dimension, *, clause: bool) -> list[Mention]:
        """The words of a dimension that count for the reference, the nearest first; with `clause` those behind it count
        up to the end of the clause only."""
        if self.cell is not None:
            return self._in_table(dimension)
        start, end = self.sentence
        own = self.around.words
        before = own.between(dimension, max(start, self.before_end), self.span[0])
        stop = min(end, self.behind_start)
        if clause:
            stop = self._clause_end(stop)
        behind = own.between(dimension, self.span[1], stop)
        earlier = own.last_before(dimension, max(start, self.before_end))
        if earlier is None or (not dimension.lasting and earlier.start < start):
            return [*before[::-1], *behind]
        return [*before[::-1], *behind, earlier]

    def _clause_end(self, stop: int) -> int:
        """Where the clause of the reference ends; brackets right behind it are passed over."""
        text, at = self.block.text, self.span[1]
        bracket = _BRACKET.match(text, at)
        if bracket is not None:
            close = text.find(")", at, stop)
            at = close + 1 if close > 0 else at
        match = _CLAUSE.search(text, at, min(stop, at + NEAR))
        return match.start() if match else min(stop, at + NEAR)

    def _in_table(self, dimension: Dimension) -> list[Mention]:
        cell = self.cell
        assert cell is not None
        texts = [self.block.text[slice(*cell.span)], cell.heading, self.block.label, self.block.caption]
        return [mention for text in texts for mention in dimension.mentions(text[:LONG])[::-1]]


def _counts(pattern: re.Pattern[str], text: str) -> list[int]:
    return [_count(match) for match in pattern.finditer(text)]


def _count(match: re.Match[str]) -> int:
    return words.count(match["n"] or match["of"] or match["count"])
