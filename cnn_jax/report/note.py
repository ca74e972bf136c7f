"""A linter for research notes in Markdown: every number is recomputed from the folder that it names.

A number refers to a run, a sweep or a verdict by a link, `[87.3 %](run:PATH#test.accuracy)`, with PATH relative to the
note; `PATH@DIGEST` pins what the folder held when the note was written (`--stamp` adds it). A published number names
its source instead: `[0.95 %](cite:KEY)` with a key of references.bib. `docs/notes.md` lists the quantities.
"""

import itertools
import json
import math
import re
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnn_jax.errors import CnnJaxError, DataError, RequestError, RunError
from cnn_jax.references import references
from cnn_jax.runs.outcome import METRICS, Outcome, digest
from cnn_jax.statistics import Interval, median_interval

LINK = re.compile(
    r"\[(?P<text>[^\]]*)\]\((?P<kind>run|cite):(?P<path>[^)#@]+)(?:@(?P<digest>\w+))?(?:#(?P<what>[^)]+))?\)"
)
_NUMBER = r"[-+−]?\d+(?:,\d{3})*(?:\.\d+)?(?:e[-+]?\d+)?"
NUMBER = re.compile(_NUMBER)
COMMA = re.compile(r"\d,\d{1,2}(?!\d)")
RANGE = re.compile(
    rf"(?<![\w.–-])(?P<low>{_NUMBER})\s*(?P<unit>%?)\s*(?P<between>–|—|-|to)\s*(?P<high>{_NUMBER})(?![\w-])"
    r"\s*(?P<percent>%?)"
)
BRACKETS = re.compile(rf"[\[(](?P<low>{_NUMBER})\s*(?P<unit>%?),\s*(?P<high>{_NUMBER})\s*(?P<percent>%?)[\])]")
CALLED = re.compile(r"(?:range|interval|CI)\W*(?:of the median\W*)?$")  # right before the two numbers
N = re.compile(r"\bn\s*=\s*(\d+)")
LOOSE = re.compile(r"(?<![\w.])\d+(?:\.\d+)?\s?%(?!\s*(?:\w+\s+)?(?:interval|confidence|CI\b))")
CODE = re.compile(r"(`+)(?!`).*?(?<!`)\1(?!`)", re.DOTALL)
FENCE = re.compile(r"\s*(```+|~~~+)[^`]*$")


@dataclass(frozen=True)
class Quantity:
    """What a reference stands for: its value, over how many seeds, the interval that belongs to it, and whether it is
    in percent already."""

    value: float
    n: int | None = None
    interval: Interval | None = None
    percent: bool = False


@dataclass(frozen=True)
class Problem:
    """What is wrong in which line of the note."""

    line: int
    text: str


@dataclass(frozen=True)
class Report:
    """What the linter found: how many references it followed, how many of them are not pinned, and what is wrong."""

    references: int
    unpinned: int
    problems: list[Problem]


def check(note: Path) -> Report:
    """Lints a note. DataError if it cannot be read."""
    problems: list[Problem] = []
    links = list(itertools.chain.from_iterable(LINK.finditer(text) for _, text in _paragraphs(_read(note))))
    for line, text in _paragraphs(_read(note)):
        problems += [Problem(line + text[:at].count("\n"), what) for at, what in _of_paragraph(note.parent, text)]
    runs = [link for link in links if link["kind"] == "run"]
    return Report(len(links), sum(link["digest"] is None for link in runs), problems)


def stamp(note: Path) -> int:
    """Pins every reference of a note that is not pinned yet and can be followed to what its folder holds now; returns
    how many."""
    text = _read(note)
    at = []
    for link in LINK.finditer(_without_code(text)):
        if link["kind"] == "run" and not link["digest"]:
            try:
                _follow(note.parent, link)
            except (CnnJaxError, OSError):
                continue
            at.append((link.end("path"), f"@{digest(note.parent / link['path'])}"))
    for place, pin in reversed(at):
        text = text[:place] + pin + text[place:]
    if at:
        with note.open("w", encoding="utf-8", newline="") as file:
            file.write(text)
    return len(at)


def _read(note: Path) -> str:
    """The note as it is, line ends included."""
    try:
        with note.open(encoding="utf-8", newline="") as file:
            return file.read()
    except (OSError, ValueError) as error:
        raise DataError(f"{note} cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _without_code(text: str) -> str:
    """The text with blanks in place of code blocks and inline code, every character else where it was."""
    lines, fence = [], ""
    for line in text.splitlines(keepends=True):
        mark = FENCE.match(line.rstrip("\r\n"))
        inside = bool(fence)
        if mark and not fence:
            fence, inside = mark[1], True
        elif mark and mark[1].startswith(fence):
            fence = ""
        lines.append(re.sub(r"[^\r\n]", " ", line) if inside else line)
    return CODE.sub(lambda code: re.sub(r"[^\r\n]", " ", code[0]), "".join(lines))


def _paragraphs(text: str) -> Iterator[tuple[int, str]]:
    """(number of its first line, text) of every paragraph, list item and row of a table; code is left out."""
    first = 0
    lines: list[str] = []
    for number, line in enumerate([*_without_code(text).splitlines(), ""], 1):
        begins = line.lstrip().startswith(("- ", "* ", "|", "#")) or bool(re.match(r"\s*\d+\. ", line))
        if lines and (begins or not line.strip()):
            yield first, "\n".join(lines)
            lines = []
        if line.strip():
            first = first if lines else number
            lines.append(line)


def _of_paragraph(home: Path, text: str) -> Iterator[tuple[int, str]]:
    """(position, what is wrong) in one paragraph."""
    links = list(LINK.finditer(text))
    explained = [range(*link.span()) for link in links]
    for link, following in itertools.zip_longest(links, links[1:]):
        behind = text[link.end() : following.start() if following else len(text)]
        try:
            if link["kind"] == "cite":
                _source(link["path"])
                continue
            quantity = _follow(home, link)
        except (CnnJaxError, OSError) as error:
            yield link.start(), f"[{link['text']}] {error}"
            continue
        for what in _of_link(home, link, quantity, text, behind):
            yield link.start(), what
        for stated in _intervals(behind):
            explained.append(range(link.end() + stated.start(), link.end() + stated.end() + 2))
    for loose in LOOSE.finditer(text):
        if not any(loose.start() in span for span in explained):
            yield loose.start(), f"{loose[0]} carries no reference: write [{loose[0]}](run:PATH#QUANTITY) or (cite:KEY)"


def _source(key: str) -> None:
    if key not in references():
        raise RequestError(f"names {key!r}, which is no key of references.bib")


def _of_link(home: Path, link: re.Match[str], quantity: Quantity, text: str, behind: str) -> Iterator[str]:
    """What is wrong with one reference: another number, a run that changed, n or an interval that is missing or
    wrong."""
    where = f"{link['path']}#{link['what']}"
    for objection in _objections(home / link["path"]):
        yield f"[{link['text']}] rests on {link['path']}: {objection}"
    if link["digest"] and link["digest"] != (now := digest(home / link["path"])):
        yield f"[{link['text']}] {link['path']} has changed since the note: its digest is {now}, not {link['digest']}"
    if (written := NUMBER.search(link["text"])) is None:
        yield f"[{link['text']}] is no number, but refers to {where}"
        return
    if COMMA.search(link["text"]):
        yield f"[{link['text']}] has a decimal comma: write a point"
        return
    percent = "%" in link["text"] and not quantity.percent
    if not _agrees(written[0], quantity.value, percent):
        yield f"[{link['text']}] is {_as_written(written[0], quantity.value, percent)} in {where}"
    if quantity.n is None:
        return
    stated = {int(n) for n in N.findall(behind)} or {int(n) for n in N.findall(text)}
    if not stated:
        yield f"[{link['text']}] states no n: it is over n = {quantity.n}"
    elif quantity.n not in stated:
        yield f"[{link['text']}] is over n = {quantity.n}, not n = {', '.join(map(str, sorted(stated)))}"
    yield from _of_interval(link["text"], quantity, text, behind, percent)


def _intervals(behind: str) -> list[re.Match[str]]:
    """What can be the interval of the number before: two numbers in brackets, or with a dash or "to" between them; a
    hyphen needs a percent sign, or the word interval or range before it."""
    found = list(BRACKETS.finditer(behind))
    for one in RANGE.finditer(behind):
        if one["between"] != "-" or one["unit"] or one["percent"] or CALLED.search(behind[: one.start()]):
            found.append(one)
    return found


def _of_interval(shown: str, quantity: Quantity, text: str, behind: str, percent: bool) -> Iterator[str]:
    found = _intervals(behind)
    if quantity.interval is None:
        stated = [one for one in found if one["percent"] or CALLED.search(behind[: one.start()])]
        if quantity.n == 1 and stated:
            yield f"[{shown}] is one run, n = 1, and has no interval: {stated[0][0].strip()}"
        return
    low, high = quantity.interval.low, quantity.interval.high
    if not found:
        scale = 100 if percent else 1
        yield f"[{shown}] states no interval: {quantity.interval.kind}, {scale * low:.4g} – {scale * high:.4g}"
        return
    if not any(_agrees(one["low"], low, percent) and _agrees(one["high"], high, percent) for one in found):
        ends = " – ".join(_as_written(found[0][name], end, percent) for name, end in (("low", low), ("high", high)))
        yield f"[{shown}] has the {quantity.interval.kind} {ends}, not {found[0][0].strip()}"
    if quantity.interval.kind == "range" and "range" not in text:
        yield f"[{shown}] is over n = {quantity.n} seeds: what is stated is the range, and must be called that"


def _value(written: str) -> float:
    return float(written.replace(",", "").replace("−", "-"))


def _decimals(written: str) -> int:
    return len(written.partition("e")[0].partition(".")[2]) - int(written.partition("e")[2] or 0)


def _agrees(written: str, value: float, percent: bool) -> bool:
    """Whether a written number is the value, rounded to the digits that it is written with."""
    exact = 100 * value if percent else value
    return abs(_value(written) - exact) <= 0.5 * 10.0 ** -_decimals(written) * (1 + 1e-6)


def _as_written(written: str, value: float, percent: bool) -> str:
    digits = max(_decimals(written), 0)
    return f"{100 * value:.{digits}f} %" if percent else f"{value:.{digits}f}"


def _follow(home: Path, link: re.Match[str]) -> Quantity:
    """The quantity that a reference names. RequestError that lists what there is."""
    path, what = home / link["path"], link["what"]
    if not what:
        raise RequestError(f"names no quantity: write run:{link['path']}#QUANTITY")
    if not path.exists():
        raise RequestError(f"refers to {link['path']}, but there is no {path.resolve()}")
    known = _numbers(path)
    if what not in known:
        raise RequestError(
            f"refers to {what}, which {link['path']} does not have; there are {', '.join(sorted(known))}"
        )
    return known[what]


def _numbers(path: Path) -> dict[str, Quantity]:
    """All quantities by name: of a JSON file its numbers; of a folder those of its verdict, its result or, of a sweep,
    the chosen cell's."""
    if path.is_file():
        return {name: Quantity(value) for name, value in _flat(_json(path))}
    known: dict[str, Quantity] = {}
    if (path / "verdict.json").is_file():
        known |= _of_verdict(_json(path / "verdict.json"))
    if (path / "config.json").is_file():
        known |= _of_outcome(Outcome.load(path))
    if not known:
        raise RequestError(f"refers to {path}, which holds neither a run nor a verdict")
    return known


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunError(f"{path} is unreadable: {error}") from None


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """Numbers of nested objects and lists by dotted names."""
    if isinstance(value, bool):
        return
    if isinstance(value, int | float):
        yield name, float(value)
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from _flat(child, f"{name}.{key}" if name else str(key))


def _of_verdict(verdict: dict[str, Any]) -> dict[str, Quantity]:
    percent = verdict.get("unit") == "points"
    known = {name: Quantity(value, percent=percent) for name, value in _flat(verdict)}
    if verdict.get("low") is not None and verdict.get("n"):
        interval = Interval(verdict["low"], verdict["high"], verdict["interval"])
        known["effect"] = Quantity(verdict["effect"], verdict["n"], interval, percent)
    return known


def _objections(path: Path) -> list[str]:
    """Why the numbers of a folder should not stand in a note."""
    if path.is_file():
        return []
    found = []
    if (path / "verdict.json").is_file() and _json(path / "verdict.json").get("quick"):
        found.append("its verdict is that of a quick run, which counts for nothing")
    if (path / "config.json").is_file():
        found += dict.fromkeys(Outcome.load(path).objections())
    return found


def _of_outcome(outcome: Outcome) -> dict[str, Quantity]:
    known = {"n": Quantity(outcome.n), "parameters": Quantity(outcome.parameters)}
    for metric in METRICS:
        try:
            values = list(outcome.by_seed(metric).values())
        except RunError:
            continue
        values = [value for value in values if math.isfinite(value)]  # a seed that diverged has no loss
        if not values:
            continue
        interval = median_interval(values) if len(values) > 1 else None
        known[metric] = Quantity(statistics.median(values), len(values), interval)
        if interval is not None:
            known |= {f"{metric}.low": Quantity(interval.low), f"{metric}.high": Quantity(interval.high)}
    if outcome.table is None:
        result = outcome.folder.read_json("result.json")
        return {name: Quantity(value) for name, value in _flat(result)} | known
    summary = outcome.table.summary()
    for cell, (_, row) in zip(outcome.table.grid.cells(), summary.iterrows(), strict=True):
        name = ",".join(f"{axis}={value:g}" for axis, value in cell.items())
        interval = Interval(float(row["low"]), float(row["high"]), str(row["interval"])) if row["n"] > 1 else None
        known[f"cell[{name}]"] = Quantity(float(row["median"]), int(row["n"]), interval)
        known[f"cell[{name}].diverged"] = Quantity(float(row["diverged"]))
    return known
