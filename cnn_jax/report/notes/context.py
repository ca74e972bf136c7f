"""The words around a reference, and what in them contradicts the quantity that it stands for.

A word counts for the reference that it stands next to: the last such word between the reference before and this one in
its sentence; else the first behind it, up to the end of its clause; else the last one earlier in the paragraph. In a
table the cell comes first, then the heading of the column, the first cell of the row and the caption.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from cnn_jax.report.notes import words
from cnn_jax.report.notes.document import Block, Cell, Span
from cnn_jax.report.notes.published import Published
from cnn_jax.report.notes.quantities import Quantity
from cnn_jax.report.notes.words import Dimension, Mention, Words, canonical

NEAR = 400  # characters around a reference in which a word counts
_CLAUSE = re.compile(r"[,;)]|\b(?:and|while|but|against|than|whereas|versus|vs)\b|\.\s")
_CHANGE = re.compile(
    r"(?:improv\w+|gains?|gained|increas\w+|decreas\w+|drop\w*|falls?|fell|ris(?:es?|en|ing)|rose|reduc\w+|"
    r"differ\w+|better|worse|higher|lower)\s(?:of|by)\s?[≈~]?\s?$",
    re.I,
)
_SAID = {"median": "the median over seeds", "mean": "a mean", "single": "one run"}
_COMPATIBLE = {
    "top5_accuracy": {"top5"}, "top5_error": {"top5"}, "not_supported": {"significant"}, "supported": {"significant"},
}  # fmt: skip


@dataclass(frozen=True)
class Place:
    """A reference in its block: its span, the end of the reference before and the beginning of the one behind."""

    block: Block
    span: Span
    before_end: int
    behind_start: int

    @property
    def cell(self) -> Cell | None:
        return self.block.cell(self.span[0])

    @cached_property
    def _words(self) -> Words:
        cached = self.block.__dict__.setdefault("words", Words(self.block.text))
        return cached

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
        others = [r for r in self.block.references if not (r.what or "").endswith((".low", ".high"))]
        later = [r.span[0] for r in others if r.span[0] > self.span[0]]
        if self.cell is not None and len(others) == 1:
            return 0, text[:2000]
        stop = min([*later[:1], end, self.span[1] + NEAR])
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
            row = _counts(pattern, text[:2000])
            heading = _counts(pattern, self.cell.heading)
            return row or heading or _counts(pattern, self.block.caption)[-1:]
        behind = _counts(pattern, text[self.span[1] : min(end, self.behind_start, self.span[1] + NEAR)])
        before = _counts(pattern, text[max(start, self.before_end, self.span[0] - NEAR) : self.span[0]])
        if behind or before:
            return behind or before[-1:]
        return self._of_paragraph[:1]

    @cached_property
    def _of_paragraph(self) -> list[int]:
        """The n that the paragraph states nearest to the reference."""
        if "counts" not in self.block.__dict__:
            found = [(match.start(), _count(match)) for match in words.N.finditer(self.block.text)]
            self.block.__dict__["counts"] = found
        found = self.block.__dict__["counts"]
        return [n for _, n in sorted(found, key=lambda one: abs(one[0] - self.span[0]))]

    def failures(self, how: str) -> list[int]:
        """How many are said to have diverged, or to be at chance: between the reference before and the one behind, in
        the paragraph otherwise."""
        text = self.block.text
        near = text[max(self.before_end, self.span[0] - NEAR) : min(self.behind_start, self.span[1] + NEAR)]
        for part in (near, text[:4000], self.block.caption):
            found = [match for match in words.FAILED.finditer(part) if _how(match) == how[:7].strip()]
            if found:
                return [words.count(match["count"] or match["n"]) for match in found]
        return []

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
            levels = [float(match["level"]) for match in words.LEVEL.finditer(context)]
            if levels and context is not self.block.caption:
                yield from self._of_level(quantity, levels)
                break
        for match in words.KIND.finditer(contexts[0]):
            if not (match.lastgroup == "t" and "t interval" in kind):
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
        own = self._words
        before = own.between(dimension, max(start, self.before_end), self.span[0])
        stop = min(end, self.behind_start)
        if clause:
            stop = self._clause_end(stop)
        behind = own.between(dimension, self.span[1], stop)
        earlier = own.between(dimension, 0 if dimension.lasting else start, max(start, self.before_end))
        return [*before[::-1], *behind, *earlier[::-1][:1]]

    def _clause_end(self, stop: int) -> int:
        """Where the clause of the reference ends; brackets right behind it are passed over."""
        text, at = self.block.text, self.span[1]
        bracket = re.compile(r"\s?(?:%|percent|points|nats|s)?\s?\(").match(text, at)
        if bracket is not None:
            close = text.find(")", at, stop)
            at = close + 1 if close > 0 else at
        match = _CLAUSE.search(text, at, min(stop, at + NEAR))
        return match.start() if match else min(stop, at + NEAR)

    def _in_table(self, dimension: Dimension) -> list[Mention]:
        cell = self.cell
        assert cell is not None
        texts = [self.block.text[slice(*cell.span)], cell.heading, self.block.label, self.block.caption]
        return [mention for text in texts for mention in dimension.mentions(text[:2000])[::-1]]


def _counts(pattern: re.Pattern[str], text: str) -> list[int]:
    return [_count(match) for match in pattern.finditer(text)]


def _count(match: re.Match[str]) -> int:
    return words.count(match["n"] or match["of"] or match["count"])


def _how(match: re.Match[str]) -> str:
    return (match["how"] or match["named"]).lower()[:7].strip()


class Contradictions:
    """What the words around a reference say that its quantity is not."""

    def __init__(self, place: Place, quantity: Quantity):
        self.place, self.quantity = place, quantity

    def all(self) -> Iterator[str]:
        quantity = self.quantity
        if quantity.end_of is None:
            yield from self._nearest(words.MEASURE, quantity.measure, True)
            yield from self._nearest(words.STATISTIC, quantity.statistic, True)
            yield from self._nearest(words.SPLIT, quantity.split, True)
            yield from self._nearest(words.ANSWER, quantity.answer, False)
            yield from self._of_change()
        if quantity.outcome is not None:
            yield from self._of_names()
            yield from self._of_settings()

    def of_publication(self, number: Published) -> Iterator[str]:
        yield from self._nearest(words.MEASURE, self.quantity.measure, True)
        for dimension, own in ((words.DATA, number.data), (words.NETWORK, number.network)):
            if own:
                known = {canonical(mention.value) for mention in dimension.mentions(own)}
                yield from self._named(dimension, known, own)

    def _nearest(self, dimension: Dimension, own: str | None, clause: bool) -> Iterator[str]:
        """The nearest word of a dimension that says something else than what is known."""
        if own is None:
            return
        mentions = self.place.mentions(dimension, clause=clause)
        if mentions and mentions[0].value != own and mentions[0].value not in _COMPATIBLE.get(own, ()):
            name, said = _SAID.get(own, own.replace("_", " ")), mentions[0].value.replace("_", " ")
            yield f"is {name}, not {said}, by the words around it ({mentions[0].word})"

    def _of_change(self) -> Iterator[str]:
        """A level that is called a change."""
        if self.quantity.signed or self.quantity.split is None or self.place.cell is not None:
            return
        start, _ = self.place.sentence
        text = self.place.block.text[max(start, self.place.span[0] - 40) : self.place.span[0]]
        if (match := _CHANGE.search(text)) and self.quantity.measure is not None:
            yield f"is the {self.quantity.measure.replace('_', ' ')} itself, no change: {match[0].strip()!r}"

    def _of_names(self) -> Iterator[str]:
        """Another data set or network than the one that was trained."""
        outcome = self.quantity.outcome
        assert outcome is not None
        data, network = outcome.data.name, outcome.config.network
        known = {canonical(mention.value) for mention in words.DATA.mentions(data.replace("_", " ").replace("/", " "))}
        yield from self._named(words.DATA, known | {canonical(data)}, data)
        said = self.place.block.text.lower() + self.place.block.caption.lower()
        if "jpeg" in data.lower() and "jpeg" not in said and self.place.mentions(words.DATA, clause=True):
            yield f"is measured on {data[:60]}: the note must say that the images are stored as JPEG"
        own = canonical(network) if isinstance(network, str) else ""
        known = {own, own.removesuffix("1998")}
        yield from self._named(words.NETWORK, known, network if isinstance(network, str) else "a network in JSON")

    def _named(self, dimension: Dimension, known: set[str], own: str) -> Iterator[str]:
        names = self.place.mentions(dimension, clause=True)
        if names and not any(canonical(name.value) in known for name in names):
            yield f"is of {own[:60]}, not of {names[0].word}, by the words around it"

    def _of_settings(self) -> Iterator[str]:
        """Other settings than those of the run: epochs, learning rate, batch size, filters, parameters."""
        quantity, (start, end) = self.quantity, self.place.sentence
        outcome = quantity.outcome
        assert outcome is not None
        begin, stop = max(start, self.place.before_end, self.place.span[0] - NEAR), self.place.span[0]
        behind = min(end, self.place.behind_start, self.place.span[1] + NEAR)
        for name, pattern in words.SETTINGS.items():
            own = outcome.parameters if name == "parameters" else (quantity.cell or {}).get(name)
            own = getattr(outcome.config, name, None) if own is None else own
            if own is None or (name == "parameters" and quantity.cell is not None):
                continue
            said = _numbers(pattern, self.place.block.text[begin:stop])[-1:]
            said = said or _numbers(pattern, self.place.block.text[self.place.span[1] : behind])[:1]
            if said and said[0] != float(own):
                yield f"is of a run with {name.replace('_', ' ')} {own:,}, not {said[0]:,g}"


def _numbers(pattern: re.Pattern[str], text: str) -> list[float]:
    found = []
    for match in pattern.finditer(text):
        number = match["number"] or match["n"]
        found.append(float(number.replace(",", "")[:40]))
    return found
