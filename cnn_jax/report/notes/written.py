"""Numbers as written in a note: value, precision, unit and intervals, and whether they agree with a value."""

import re
from dataclasses import dataclass

from cnn_jax.errors import RequestError

NUMBER = r"(?:(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+)(?:e[-+]?\d{1,2})?(?![\d]|[.,]\d)"
SIGNED = rf"[+\-−]?{NUMBER}"
UNIT = (
    r"%|percentage points?|per\s?cent|points?|p\.?p\.|nats?|seconds?|secs?|minutes?|mins?|hours?|milliseconds?|ms|s|h"
)
_WRITTEN = re.compile(rf"\s?[≈~]?\s?(?P<number>{SIGNED})\s?(?P<unit>{UNIT})?(?![\w%])\s?")
COMMA = re.compile(r"\d,\d{1,2}(?!\d)")
_END = rf"{SIGNED}|diverged"
_BETWEEN = re.compile(
    rf"(?<![\w.–-])(?P<low>{_END})\s?(?P<unit>%?)\s?(?:(?P<dash>[–—-])|to|and)\s?(?P<high>{_END})(?![\w-])\s?(?P<percent>%?)"
)
_BRACKETS = re.compile(rf"[\[(](?P<low>{_END})\s?(?P<unit>%?),\s?(?P<high>{_END})\s?(?P<percent>%?)[\])]")
_CALLED = re.compile(r"(?:range|interval|between|from|CI)\W{0,3}(?:of the median)?\W{0,3}$")  # before the two numbers

UNITS = {
    "%": "%", "percent": "%", "per cent": "%", "point": "points", "points": "points", "percentage point": "points",
    "percentage points": "points", "pp": "points", "p.p.": "points", "nat": "nats", "nats": "nats",
}  # fmt: skip
SECONDS = {
    "s": 1,
    "sec": 1,
    "second": 1,
    "min": 60,
    "minute": 60,
    "h": 3600,
    "hour": 3600,
    "ms": 1e-3,
    "millisecond": 1e-3,
}


@dataclass(frozen=True)
class Written:
    """A number with its unit."""

    value: float
    step: float  # value of one unit of its last digit
    digits: int  # significant digits
    unit: str  # %, points, nats, s (for every duration) or '' (none)

    def agrees(self, value: float | None) -> bool:
        """True if it is `value` rounded to the written digits."""
        return value is not None and abs(self.value - value) <= 0.5 * self.step * (1 + 1e-6)


def parse(text: str) -> Written:
    """Parses one number with or without a unit. Raises RequestError for anything else."""
    match = _WRITTEN.fullmatch(text[:80])
    if COMMA.search(text[:80]) and match is None:
        raise RequestError("has a decimal comma: write a point")
    if match is None or len(text) > 80:
        raise RequestError("is not one number and nothing else")
    return of(match["number"], match["unit"] or "")


def of(number: str, unit: str = "") -> Written:
    plain = number.replace(",", "").replace("−", "-")
    digits, _, exponent = plain.lower().partition("e")
    decimals = len(digits.partition(".")[2]) - int(exponent or 0)
    unit = " ".join(unit.split())
    scale = SECONDS.get(unit, SECONDS.get(unit.removesuffix("s"), 0))
    significant = len(digits.lstrip("+-").replace(".", "").lstrip("0"))
    if scale:
        return Written(float(plain) * scale, scale * 10.0**-decimals, significant, "s")
    return Written(float(plain), 10.0**-decimals, significant, UNITS.get(unit, unit))


@dataclass(frozen=True)
class Stated:
    """Two numbers that may be an interval."""

    low: Written | None  # None: written as 'diverged'
    high: Written | None
    span: tuple[int, int]
    called: bool  # named an interval or a range, or in percent
    text: str

    def agrees(self, low: float | None, high: float | None) -> bool:
        ends = ((self.low, low), (self.high, high))
        return all(end is None if value is None else end is not None and end.agrees(value) for end, value in ends)


def intervals(text: str) -> list[Stated]:
    """The possible intervals in a text: two numbers in brackets, or joined by a dash, "to" or "and"; with a hyphen or
    "and" only if there is a percent sign, or the word interval or range before them."""
    stated = []
    for match in (*_BRACKETS.finditer(text), *_BETWEEN.finditer(text)):
        before = text[max(0, match.start() - 60) : match.start()]
        called = bool(match["unit"] or match["percent"] or _CALLED.search(before))
        dash = match.groupdict().get("dash")
        if not called and (dash == "-" or " and " in match[0]):
            continue
        low, high = (None if match[end] == "diverged" else of(match[end]) for end in ("low", "high"))
        stated.append(Stated(low, high, match.span(), called, match[0].strip()))
    return sorted(stated, key=lambda interval: interval.span)
