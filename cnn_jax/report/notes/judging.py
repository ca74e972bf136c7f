"""Finds the problems of a note: references that disagree with their folder or with the words around them, and numbers
that claim a result without a reference."""

import bisect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from cnn_jax.errors import CnnJaxError, RequestError
from cnn_jax.references import references
from cnn_jax.report.deviations import deviations
from cnn_jax.report.notes import written
from cnn_jax.report.notes.claims import claims
from cnn_jax.report.notes.contradictions import Contradictions
from cnn_jax.report.notes.document import Block, Document
from cnn_jax.report.notes.place import Place, Surroundings
from cnn_jax.report.notes.published import Published, published
from cnn_jax.report.notes.quantities import NoteFolders, Quantity
from cnn_jax.report.notes.visible import Reference, Span
from cnn_jax.report.notes.written import Written

MOST_LETTERS = 300  # of a note's text in a message


@dataclass(frozen=True)
class Problem:
    """A problem of a note."""

    at: int  # position in the note's source
    text: str


def one_line(text: str) -> str:
    """Text of a note for a message: on one line, of bounded length, without control characters."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text[: 4 * MOST_LETTERS]).split())
    return line if len(line) <= MOST_LETTERS else f"{line[: MOST_LETTERS - 1]}…"


def problems(document: Document, folders: NoteFolders) -> Iterator[Problem]:
    """The problems of a document in order."""
    protocol = _Protocol(document)
    for block in document.blocks:
        yield from _BlockChecker(block, folders, protocol).problems()


class _BlockChecker:
    """Checks one block of a document."""

    def __init__(self, block: Block, folders: NoteFolders, protocol: "_Protocol"):
        self.block, self.folders, self.protocol = block, folders, protocol
        self.explained: list[Span] = []  # of numbers that a reference accounts for
        self.messages: list[tuple[int, str]] = []  # with their position in the block

    def problems(self) -> Iterator[Problem]:
        block, around = self.block, Surroundings(self.block)
        for i, reference in enumerate(block.references):
            before = block.references[i - 1].span[1] if i else 0
            behind = block.references[i + 1].span[0] if i + 1 < len(block.references) else len(block.text)
            self.explained.append(reference.span)
            place = Place(around, reference.span, before, behind)
            shown = f"[{one_line(block.text[slice(*reference.span)])[:60]}]"
            try:
                texts = list(self._of_reference(reference, place))
            except CnnJaxError as error:
                texts = [str(error)]
                start, near = place.interval_text()
                for interval in written.intervals(near)[:1]:
                    self.explained.append((start + interval.span[0], start + interval.span[1] + 2))
            self.messages += [(reference.span[0], f"{shown} {text}") for text in texts]
        self.explained.sort()
        for start, end in claims(block):
            if not self._explains(start):
                shown = one_line(block.text[start:end].strip())
                self.messages.append(
                    (start, f"{shown} carries no reference: write [{shown}](run:PATH#QUANTITY) or (cite:KEY)")
                )
        for at, text in sorted(self.messages):
            yield Problem(block.origins[at] if at < len(block.origins) else 0, one_line(text))

    def _explains(self, at: int) -> bool:
        i = bisect.bisect_left(self.explained, (at + 1, 0))
        return any(start <= at < end for start, end in self.explained[max(0, i - 3) : i])

    def _of_reference(self, reference: Reference, place: Place) -> Iterator[str]:
        text = self.block.text[slice(*reference.span)]
        if reference.kind == "cite":
            yield from self._of_citation(reference, text, place)
            return
        quantity = self.folders.follow(reference.path, reference.what)
        if reference.digest and reference.digest != (now := self.folders.digest(reference.path)):
            yield f"{reference.path} has changed since the note: its digest is {now}, not {reference.digest}"
        if not text.strip():
            yield "is empty: --generate fills it in"
            return
        number = self._with_unit(written.parse(text), place)
        yield from _of_number(number, quantity, reference)
        if quantity.end_of is not None:
            yield from self._of_end(reference, quantity)
        elif quantity.n is not None:
            yield from self._of_n(quantity, place)
            yield from self._of_interval(quantity, place)
            yield from self._of_failures(quantity, place)
        yield from Contradictions(place, quantity).all()
        if quantity.outcome is not None and quantity.split is not None:
            yield from self._of_protocol(reference, quantity)

    def _with_unit(self, number: Written, place: Place) -> Written:
        """Adds the unit to a number without one: from right after the reference, or from its column's heading."""
        if number.unit:
            return number
        behind = re.match(rf"\s?(?:{written.UNIT})(?!\w)", place.behind)
        if behind is not None:
            self.explained.append((place.span[0], place.span[1] + behind.end()))
            return written.of(self.block.text[slice(*place.span)].strip(" ≈~"), behind[0].strip())
        if place.cell is not None:
            unit = re.search(r"\((%|points|nats|s|min)\)|,\s?(%|points|nats|s|min)\s*$|%", place.cell.heading)
            if unit is not None:
                return written.of(self.block.text[slice(*place.span)].strip(" ≈~"), unit[1] or unit[2] or "%")
        return number

    def _of_end(self, reference: Reference, quantity: Quantity) -> Iterator[str]:
        """A problem unless the end of an interval is next to the other end and after the interval's number."""
        by_quantity = {other.what: other for other in self.block.references if other.path == reference.path}
        low, high = by_quantity.get(f"{quantity.end_of}.low"), by_quantity.get(f"{quantity.end_of}.high")
        base = by_quantity.get(quantity.end_of)
        if base and low and high and base.span[1] <= low.span[0]:
            between = self.block.text[low.span[1] : high.span[0]]
            if len(between) < 12 and re.fullmatch(r"\s?%?\s?(?:–|—|-|to|and|,)\s?", between):
                return
        yield (
            f"is an end of the interval of {quantity.end_of}, and may stand only as that: behind "
            f"[…](run:{reference.target.rpartition('.')[0]}), as LOW – HIGH"
        )

    def _of_n(self, quantity: Quantity, place: Place) -> Iterator[str]:
        stated = place.counts()
        if not stated:
            yield f"states no n: it is over n = {quantity.n}"
        elif wrong := [n for n in stated if n != quantity.n]:
            yield f"is over n = {quantity.n}, not n = {wrong[0]}"
        if place.cell is not None:
            for cell in self.block.cells:
                if cell.heading.strip().lower() == "n":
                    self.explained.append(cell.span)

    def _of_interval(self, quantity: Quantity, place: Place) -> Iterator[str]:
        start, text = place.interval_text()
        stated = written.intervals(text)
        if quantity.interval is None:
            named = [interval for interval in stated if interval.called]
            if named and quantity.statistic == "single":
                yield f"is one run, n = 1, and has no interval: {named[0].text}"
            return
        if not stated:
            yield f"states no interval: {quantity.range}"
            return
        low, high = quantity.interval.low, quantity.interval.high
        agreeing = [interval for interval in stated if interval.agrees(low, high)]
        if not agreeing:
            yield f"has the {quantity.range}, not {stated[0].text}"
            return
        for interval in agreeing:
            self.explained.append((start + interval.span[0], start + interval.span[1] + 2))
        yield from place.of_interval(quantity, start + agreeing[0].span[0])

    def _of_failures(self, quantity: Quantity, place: Place) -> Iterator[str]:
        for how, count in zip(("diverged", "at chance"), quantity.failed, strict=True):
            stated = place.failures(how)
            for cell in self.block.cells:
                if cell.heading.strip().lower() == how and place.cell is not None:
                    text = self.block.text[slice(*cell.span)].strip()
                    stated = [int(text)] if text.isdecimal() and len(text) < 9 else stated
                    self.explained.append(cell.span)
            if count and not stated:
                yield f"does not say that of its {quantity.n} seeds {count} {'ended ' * (how == 'at chance')}{how}"
            elif stated and count not in stated:
                yield f"has {count} of n = {quantity.n} seeds {how}, not {stated[0]}"

    def _of_protocol(self, reference: Reference, quantity: Quantity) -> Iterator[str]:
        """Deviations from the data set's whole training split and defaults that the note does not state anywhere."""
        assert quantity.outcome is not None
        for clause in deviations(quantity.outcome.config, quantity.outcome.data):
            if self.protocol.misses(reference.path, clause):
                yield f"rests on {reference.path}, of which the note nowhere says: {clause}"

    def _of_citation(self, reference: Reference, text: str, place: Place) -> Iterator[str]:
        key = reference.path
        if key not in references():
            raise RequestError(f"names {key!r}, which is no key of references.bib")
        known = published().get(key)
        if known is None:
            raise RequestError(f"cites {key}, of which published.toml has no number; add it with its place")
        number = self._with_unit(written.parse(text), place)
        matches = [candidate for candidate in known if candidate.is_written(number)]
        if not matches:
            listed = "; ".join(candidate.text for candidate in known[:8])
            yield f"is no number of {key} in published.toml; there are {listed}"
            return
        complaints = [list(Contradictions(place, _as_quantity(match)).of_publication(match)) for match in matches]
        yield from min(complaints, key=len)


def _as_quantity(number: Published) -> Quantity:
    measure = None if number.measure in ("parameters", "seconds") else number.measure
    return Quantity(number.value, number.unit, exact=True, measure=measure, split="test" if measure else None)


def _of_number(number: Written, quantity: Quantity, reference: Reference) -> Iterator[str]:
    """Problems of the number itself: its unit, its value, too few digits."""
    value, unit = quantity.value, quantity.unit
    if unit == "%" and number.unit == "":
        value, unit = value / 100.0, ""
    elif unit == "nats" and number.unit == "":
        unit = ""
    if number.unit != unit:
        yield f"is in {number.unit or 'no unit'}: {reference.target} is {quantity.written}"
    elif not number.agrees(value):
        yield f"is {quantity.written} in {reference.target}"
    elif quantity.exact:
        if number.value != value:
            yield f"is a count, {quantity.written}: write all of its digits"
    elif number.digits < 2 and number.value != value:
        yield f"is rounded to less than two digits: it is {quantity.written}"
    elif quantity.unit == "%" and number.value in (0.0, 1.0 if unit == "" else 100.0) and number.value != value:
        yield f"is rounded to all or nothing: it is {quantity.written}"


class _Protocol:
    """The training protocol as stated in the sentences of a document."""

    def __init__(self, document: Document):
        self.document = document
        self.known: dict[str, bool] = {}
        self.missed: set[tuple[str, str]] = set()

    def misses(self, path: str, clause: str) -> bool:
        """True if the document does not state a clause; True only once for each folder."""
        if (path, clause) in self.missed or self.says(clause):
            return False
        self.missed.add((path, clause))
        return True

    def says(self, clause: str) -> bool:
        """True if a sentence has the first number of a clause and one of its words; for a clause without a number, its
        keywords (together, best, validation)."""
        if clause not in self.known:
            number = re.search(r"\d[\d,]*(?:x\d+)?", clause)
            own = set(re.findall(r"[a-z]{4,}", clause))
            if number is None:
                needed, some = own & {"together", "best", "validation"}, own
            else:
                needed, some = {number[0].replace(",", "")}, {word for word in own if len(word) > 4}
            self.known[clause] = any(needed <= tokens and some & tokens for tokens in self._sentences)
        return self.known[clause]

    @cached_property
    def _sentences(self) -> list[set[str]]:
        """The words and numbers of every sentence; 16 × 16 becomes 16x16."""
        tokens = []
        for block in self.document.blocks:
            for start, end in zip(block.sentences, [*block.sentences[1:], len(block.text)], strict=True):
                sentence = re.sub(r"(?<=\d) ?[x×] ?(?=\d)", "x", block.text[start:end].lower())
                tokens.append(set(re.findall(r"\d+x\d+|\d+|[a-z]+", re.sub(r"(?<=\d),(?=\d{3})", "", sentence))))
        return tokens
