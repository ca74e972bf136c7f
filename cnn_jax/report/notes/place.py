"""Decides which words around a reference apply to it.

For a reference, the word that applies is the last such word in the sentence between the previous reference and this
one; else the first word after it up to the end of its clause; else the last word earlier in the paragraph. In a
table the order is the cell, the heading of its column, the first cell of the row and the caption.
"""

import bisect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from cnn_jax.report.notes import words, written
from cnn_jax.report.notes.document import Block, Cell
from cnn_jax.report.notes.quantities import Quantity
from cnn_jax.report.notes.visible import Span
from cnn_jax.report.notes.words import Dimension, Mention, Words

NEAR = 400  # characters around a reference in which a word counts
LONG = 2_000  # characters of a row or a caption that are searched
_CLAUSE = re.compile(r"[,;)]|\b(?:and|while|but|against|than|whereas|versus|vs)\b|\.\s")
_BRACKET = re.compile(r"\s?(?:%|percent|points|nats|s)?\s?\(")
_ENDS = (".low", ".high")


class Surroundings:
    """Counts and mentions in one block, searched once for all of its references."""

    def __init__(self, block: Block):
        self.block, self.words = block, Words(block.text)

    @cached_property
    def counts(self) -> list[tuple[int, int]]:
        """(position, n) for every n stated."""
        return [(match.start(), _count(match)) for match in words.N.finditer(self.block.text)]

    @cached_property
    def failures(self) -> list[tuple[int, str, int]]:
        """(position, 'diverged' or 'at chance', number) for every count of failed seeds."""
        return _failures(self.block.text)

    @cached_property
    def of_caption(self) -> list[tuple[int, str, int]]:
        return _failures(self.block.caption)

    @cached_property
    def numbers(self) -> list[int]:
        """The beginnings of the references that are not ends of intervals."""
        return [reference.span[0] for reference in self.block.references if not (reference.what or "").endswith(_ENDS)]


def _failures(text: str) -> list[tuple[int, str, int]]:
    failures = []
    for match in words.FAILED.finditer(text):
        how = (match["how"] or match["named"]).lower()
        kind = "at chance" if how == "at chance" else "diverged"
        failures.append((match.start(), kind, words.count(match["count"] or match["n"])))
    return failures


@dataclass(frozen=True)
class Place:
    """A reference in its block."""

    around: Surroundings
    span: Span  # of the reference
    before_end: int  # of the previous reference
    behind_start: int  # of the next reference

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
        """The text after the reference, up to the next one, at most NEAR characters."""
        return self.block.text[self.span[1] : min(self.behind_start, self.span[1] + NEAR)]

    def interval_text(self) -> tuple[int, str]:
        """(position, text) to search for the reference's interval: the text after it, up to the next reference that is
        not an end; in a table with a single such reference in the row, the whole row."""
        text, end = self.block.text, len(self.block.text)
        numbers = self.around.numbers
        if self.cell is not None and len(numbers) == 1:
            return 0, text[:LONG]
        later = bisect.bisect_right(numbers, self.span[0])
        stop = min(numbers[later] if later < len(numbers) else end, self.span[1] + NEAR)
        return self.span[1], text[self.span[1] : stop]

    def counts(self) -> list[int]:
        """The n stated for the reference: after it, else before it, else in its paragraph, row or caption."""
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
        nearest = min(self.around.counts, key=lambda count: abs(count[0] - self.span[0]), default=None)
        return [] if nearest is None else [nearest[1]]

    def failures(self, how: str) -> list[int]:
        """The stated numbers of seeds that diverged or are at chance (`how`): between the previous and the next
        reference, else in the block, else in the caption."""
        begin, end = max(self.before_end, self.span[0] - NEAR), min(self.behind_start, self.span[1] + NEAR)
        stated = [failure for failure in self.around.failures if failure[1] == how]
        near = [failure for failure in stated if begin <= failure[0] < end]
        return [count for _, kind, count in near or stated or self.around.of_caption if kind == how]

    def of_interval(self, quantity: Quantity, at: int) -> Iterator[str]:
        """Problems if the words around an interval at position `at` contradict its kind or level."""
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
        if kind == "range" and not any("range" in text.lower() for text in (self.block.text[:4000], *contexts)):
            yield f"is over n = {quantity.n} seeds: what is stated is the range, and must be called that"

    def _of_level(self, quantity: Quantity, levels: list[float]) -> Iterator[str]:
        assert quantity.interval is not None
        level = quantity.interval.level
        for stated in levels:
            if level is None or (abs(100 * level - stated) > 0.051 and stated != round(100 * level)):
                yield f"has the {quantity.range}, no {stated:g} % interval"

    def mentions(self, dimension: Dimension, *, clause: bool) -> list[Mention]:
        """The words of a dimension that apply to the reference, the nearest first; with `clause`, words after it apply
        only up to the end of the clause."""
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
        """The end of the reference's clause; brackets right after the reference are skipped."""
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
