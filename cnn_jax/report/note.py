"""A linter for research notes in Markdown: every number is recomputed from the folder that it names.

A number refers to a run, a sweep or a verdict by a link, `[87.3 %](run:PATH#test.accuracy)`, with PATH relative to the
note; `PATH@DIGEST` pins what the folder held when the note was written (`--stamp` adds it). A published number names
its source instead: `[0.95 %](cite:KEY)` with a key of references.bib. `docs/notes.md` lists the quantities.
"""

import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnn_jax.errors import CnnJaxError, DataError, RequestError, RunError
from cnn_jax.references import references
from cnn_jax.runs.outcome import METRICS, Outcome, digest
from cnn_jax.statistics import SEEDS_FOR_A_VERDICT, Interval, median_interval

LINK = re.compile(
    r"\[(?P<text>[^\]]*)\]\((?P<kind>run|cite):(?P<path>[^)#@]+)(?:@(?P<digest>\w+))?(?:#(?P<what>[^)]+))?\)"
)
NUMBER = re.compile(r"[-+−]?\d[\d,]*(?:\.\d+)?")
RANGE = re.compile(
    r"(?P<low>[-+−]?\d+(?:\.\d+)?)\s*(?P<unit>%?)\s*(?:–|—|-|to)\s*(?P<high>[-+−]?\d+(?:\.\d+)?)\s*(?P<percent>%?)"
)
N = re.compile(r"\bn\s*=\s*(\d+)")
LOOSE = re.compile(r"(?<![\w.])\d+(?:\.\d+)?\s?%(?!\s*(?:\w+\s+)?(?:interval|confidence|CI\b))")
CODE = re.compile(r"`[^`]*`")


@dataclass(frozen=True)
class Quantity:
    """What a reference stands for: its value, over how many seeds, and the interval that belongs to it."""

    value: float
    n: int | None = None
    interval: Interval | None = None


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
    """Pins every reference of a note that is not pinned yet to what its folder holds now; returns how many."""
    text, count = _read(note), 0

    def pinned(link: re.Match[str]) -> str:
        nonlocal count
        if link["kind"] != "run" or link["digest"]:
            return link[0]
        count += 1
        return link[0].replace(link["path"], f"{link['path']}@{digest(note.parent / link['path'])}", 1)

    note.write_text(LINK.sub(pinned, text), encoding="utf-8")
    return count


def _read(note: Path) -> str:
    try:
        return note.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise DataError(f"{note} cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _paragraphs(text: str) -> Iterator[tuple[int, str]]:
    """(number of its first line, text) of every paragraph, list item and row of a table; code blocks are left out."""
    first, fenced = 0, False
    lines: list[str] = []
    for number, line in enumerate([*text.splitlines(), ""], 1):
        fence = line.lstrip().startswith(("```", "~~~"))
        alone = fenced or fence or not line.strip()
        begins = line.lstrip().startswith(("- ", "* ", "|", "#")) or bool(re.match(r"\s*\d+\. ", line))
        if lines and (alone or begins):
            yield first, "\n".join(lines)
            lines = []
        fenced ^= fence
        if not alone:
            first = first if lines else number
            lines.append(line)


def _of_paragraph(home: Path, text: str) -> Iterator[tuple[int, str]]:
    """(position, what is wrong) in one paragraph."""
    text = CODE.sub(lambda code: "`" + " " * (len(code[0]) - 2) + "`", text)
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
        if stated := RANGE.search(behind):
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
    if link["digest"] and link["digest"] != (now := digest(home / link["path"])):
        yield f"[{link['text']}] {link['path']} has changed since the note: its digest is {now}, not {link['digest']}"
    if (written := NUMBER.search(link["text"])) is None:
        yield f"[{link['text']}] is no number, but refers to {where}"
        return
    percent = "%" in link["text"]
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


def _of_interval(shown: str, quantity: Quantity, text: str, behind: str, percent: bool) -> Iterator[str]:
    found = RANGE.search(behind)
    if quantity.interval is None:
        if found and quantity.n == 1:
            yield f"[{shown}] is one run, n = 1, and has no interval: {found[0].strip()}"
        return
    low, high = quantity.interval.low, quantity.interval.high
    if found is None:
        scale = 100 if percent else 1
        yield f"[{shown}] states no interval: {quantity.interval.kind}, {scale * low:.4g} – {scale * high:.4g}"
        return
    percent = bool(percent or found["unit"] or found["percent"])
    for written, value in ((found["low"], low), (found["high"], high)):
        if not _agrees(written, value, percent):
            end = _as_written(written, value, percent)
            yield f"[{shown}] has an end of its {quantity.interval.kind} at {end}, not {written}"
    if quantity.n is not None and quantity.n < SEEDS_FOR_A_VERDICT and "range" not in text:
        yield f"[{shown}] is over n = {quantity.n} seeds: what is stated is the range, and must be called that"


def _value(written: str) -> float:
    return float(written.replace(",", "").replace("−", "-"))


def _decimals(written: str) -> int:
    return len(written.partition(".")[2])


def _agrees(written: str, value: float, percent: bool) -> bool:
    """Whether a written number is the value, rounded to the digits that it is written with."""
    exact = 100 * value if percent else value
    return abs(_value(written) - exact) <= 0.5 * 10.0 ** -_decimals(written) * (1 + 1e-6)


def _as_written(written: str, value: float, percent: bool) -> str:
    digits = _decimals(written)
    return f"{100 * value:.{digits}f} %" if percent else f"{value:.{digits}f}"


def _follow(home: Path, link: re.Match[str]) -> Quantity:
    """The quantity that a reference names. RequestError that lists what there is."""
    path, what = home / link["path"], link["what"]
    if not what:
        raise RequestError(f"names no quantity: write run:{link['path']}#QUANTITY")
    if not path.exists():
        raise RequestError(f"refers to {link['path']}, which does not exist")
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
    known = {name: Quantity(value) for name, value in _flat(verdict)}
    if verdict.get("low") is not None and verdict.get("n"):
        interval = Interval(verdict["low"], verdict["high"], verdict["interval"])
        known["effect"] = Quantity(verdict["effect"], verdict["n"], interval)
    return known


def _of_outcome(outcome: Outcome) -> dict[str, Quantity]:
    known = {"n": Quantity(outcome.n), "parameters": Quantity(outcome.parameters)}
    for metric in METRICS:
        try:
            values = list(outcome.by_seed(metric).values())
        except RunError:
            continue
        interval = median_interval(values) if len(values) > 1 else None
        known[metric] = Quantity(float(outcome.seeds[metric.replace(".", "_")].median()), outcome.n, interval)
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
