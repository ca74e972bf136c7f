"""Contradictions between a reference's quantity and the words around it."""

import re
from collections.abc import Iterator

from cnn_jax.report.notes import words, written
from cnn_jax.report.notes.place import NEAR, Place
from cnn_jax.report.notes.published import Published
from cnn_jax.report.notes.quantities import Quantity
from cnn_jax.report.notes.words import Dimension, canonical

_CHANGE = re.compile(
    r"(?:improv\w+|gains?|gained|increas\w+|decreas\w+|drop\w*|falls?|fell|ris(?:es?|en|ing)|rose|reduc\w+|"
    r"differ\w+|better|worse|higher|lower)\s(?:of|by)\s?[≈~]?\s?$",
    re.I,
)
_NAMES = {"median": "the median over seeds", "mean": "a mean", "single": "one run"}
_COMPATIBLE = {
    "top5_accuracy": {"top5"}, "top5_error": {"top5"}, "contradicted": {"significant"}, "supported": {"significant"},
}  # fmt: skip


class Contradictions:
    """Contradictions between a reference's quantity and the words around it."""

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
        """A problem if the nearest word of a dimension differs from the known value `own`."""
        if own is None:
            return
        mentions = self.place.mentions(dimension, clause=clause)
        if mentions and mentions[0].value != own and mentions[0].value not in _COMPATIBLE.get(own, ()):
            name, mentioned = _NAMES.get(own, own.replace("_", " ")), mentions[0].value.replace("_", " ")
            yield f"is {name}, not {mentioned}, by the words around it ({mentions[0].word})"

    def _of_change(self) -> Iterator[str]:
        """A problem if the text calls a value a change."""
        if self.quantity.signed or self.quantity.split is None or self.place.cell is not None:
            return
        start, _ = self.place.sentence
        text = self.place.block.text[max(start, self.place.span[0] - 40) : self.place.span[0]]
        if (match := _CHANGE.search(text)) and self.quantity.measure is not None:
            yield f"is the {self.quantity.measure.replace('_', ' ')} itself, no change: {match[0].strip()!r}"

    def _of_names(self) -> Iterator[str]:
        """Problems with names: a data set or network other than the one of the run."""
        outcome = self.quantity.outcome
        assert outcome is not None
        data, network = outcome.data.name, outcome.config.network
        known = {canonical(mention.value) for mention in words.DATA.mentions(data.replace("_", " ").replace("/", " "))}
        yield from self._named(words.DATA, known | {canonical(data)}, data)
        text = self.place.block.text.lower() + self.place.block.caption.lower()
        if "jpeg" in data.lower() and "jpeg" not in text and self.place.mentions(words.DATA, clause=True):
            yield f"is measured on {data[:60]}: the note must say that the images are stored as JPEG"
        own = canonical(network) if isinstance(network, str) else ""
        known = {own, own.removesuffix("1998")}
        yield from self._named(words.NETWORK, known, network if isinstance(network, str) else "a network in JSON")

    def _named(self, dimension: Dimension, known: set[str], own: str) -> Iterator[str]:
        names = self.place.mentions(dimension, clause=True)
        if names and not any(canonical(name.value) in known for name in names):
            yield f"is of {own[:60]}, not of {names[0].word}, by the words around it"

    def _of_settings(self) -> Iterator[str]:
        """Settings that differ from the run's: epochs, learning rate, batch size, filters, parameters."""
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
            stated = _numbers(pattern, self.place.block.text[begin:stop])[-1:]
            stated = stated or _numbers(pattern, self.place.block.text[self.place.span[1] : behind])[:1]
            if stated and isinstance(own, int | float) and stated[0] != float(own):
                yield f"is of a run with {name.replace('_', ' ')} {own:,}, not {stated[0]:,g}"


def _numbers(pattern: re.Pattern[str], text: str) -> list[float]:
    return [written.of(match["number"] or match["n"]).value for match in pattern.finditer(text)]
