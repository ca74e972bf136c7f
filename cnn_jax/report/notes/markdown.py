"""Renders Markdown and plain text, without code, comments and emphasis marks."""

import bisect
import html
import itertools
import re
from collections import defaultdict

from cnn_jax.report.notes.visible import CELL, MarkupReader, Visible

_FENCE = re.compile(r"[ \t]*(```+|~~~+)[^`]*$")
_TABLE_RULE = re.compile(r"[ \t]*\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t:|-]*)?")
_NUMBER_ONLY = re.compile(r"\s*[+\-−±≈~]?\s*\d[\d.,]*\s*(?:%|points?|nats?|s|seconds?)?\s*")
_MARKUP = re.compile(
    r"(?P<newline>\n[ \t]*(?:[*+-][ \t])?)"
    r"|(?P<blank>[ \t\r\f\v]+)"
    r"|(?P<hidden>[\u200b-\u200f\u2060\ufeff\u00ad])"
    r"|(?P<comment><!--)"
    r"|(?P<row></?(?:tr|table|p|br|div|li)\b[^<>\n]{0,300}>)"
    r"|(?P<cell><t[dh]\b[^<>\n]{0,300}>)"
    r"|(?P<tag><[A-Za-z/!?][^<>\n]{0,300}>)"
    r"|(?P<entity>&\#?\w{1,10};)"
    r"|\[(?P<text>[^\[\]]{0,200})\]\((?:(?P<kind>run|cite):(?P<target>[^()\n]{1,400})|[^()\n]{0,400})\)"
    r"|\\(?P<escaped>[!-/:-@\[-`{-~])"
    r"|(?P<bar>\|)"
    r"|(?P<code>`+)"
    r"|(?P<emphasis>\*+|~~|(?<!\w)_+|_+(?!\w))"
)
_PLAIN = re.compile(
    r"(?P<newline>\n[ \t]*(?:[*+-][ \t])?)|(?P<column>(?<=\S)(?:[ ]*\t[ \t]*|[ ]{2,})(?=\S))|(?P<blank>[ \t\r\f\v]+)"
    r"|(?P<hidden>[\u200b-\u200f\u2060\ufeff\u00ad])|(?P<bar>\|)"
    r"|\[(?P<text>[^\[\]]{0,200})\]\((?P<kind>run|cite):(?P<target>[^()\n]{1,400})\)"
)


def visible(source: str) -> Visible:
    """Renders Markdown."""
    return _Reader(_without_fences(source), _MARKUP).read()


def visible_plain(source: str) -> Visible:
    """Renders plain text: references as in Markdown, columns separated by tabs or several blanks, no code."""
    return _Reader(source, _PLAIN).read()


def _without_fences(source: str) -> str:
    """Replaces fenced code by blanks, so that positions stay the same."""
    lines, fence = [], ""
    for line in source.splitlines(keepends=True):
        mark = _FENCE.match(line.rstrip("\r\n"))
        inside = bool(fence)
        if mark and not fence:
            fence, inside = mark[1], True
        elif mark and mark[1].startswith(fence):
            fence = ""
        lines.append(re.sub(r"[^\r\n]", " ", line) if inside else line)
    return "".join(lines)


class _Reader(MarkupReader):
    def __init__(self, source: str, markup: re.Pattern[str]):
        super().__init__(source, markup)
        self.ticks: dict[int, list[int]] = defaultdict(list)  # beginnings of the runs of backticks, by their length
        for run in re.finditer("`+", source):
            self.ticks[len(run[0])].append(run.start())
        self.lines = [0, *(match.end() for match in re.finditer("\n", source))]
        self.tables = _tables(source)
        self.last_comment = source.rfind("-->")

    def mark(self, match: re.Match[str]) -> int:
        """Renders one mark; returns the position after it."""
        out, start, kind = self.out, match.start(), match.lastgroup
        if kind == "newline":
            out.add("\n- " if match[0][-1] in " \t" and match[0].strip() else "\n", start)
        elif kind == "row":
            out.add("\n", start)
        elif kind == "blank":
            out.blank(start)
        elif kind in ("cell", "column"):
            out.add(CELL, start)
        elif kind == "comment":
            return max(self.source.find("-->", start) + 3, match.end()) if start < self.last_comment else match.end()
        elif kind == "entity":
            out.add(html.unescape(match[0]), start)
        elif kind == "escaped":
            out.add("¦" if match["escaped"] == "|" else match["escaped"], start)
        elif kind == "bar":
            self._bar(start)
        elif kind == "code":
            return self._code(match)
        elif kind in ("text", "target"):
            return self._link(match)
        return match.end()

    def _bar(self, at: int) -> None:
        """Inside a table a bar ends a cell, except for the bar that opens the line."""
        line = self.lines[bisect.bisect_right(self.lines, at) - 1]
        if line not in self.tables:
            self.out.add("|", at)
        elif at != self.tables[line]:
            self.out.add(CELL, at)

    def _code(self, match: re.Match[str]) -> int:
        """Drops code between equal runs of backticks unless it is only a number, which readers take for a result."""
        runs = self.ticks[len(match[0])]
        i = bisect.bisect_left(runs, match.end())
        if i == len(runs):
            return match.end()
        inside = self.source[match.end() : runs[i]]
        self.out.blank(match.start())
        if len(inside) < 40 and _NUMBER_ONLY.fullmatch(inside):
            self.out.add(inside, match.end(), copied=True)
        return runs[i] + len(match[0])

    def _link(self, match: re.Match[str]) -> int:
        start, (begin, end) = len(self.out), match.span("text")
        self.between(begin, end)
        if match["kind"]:
            self.out.refer(match["kind"], match["target"], start, match.span(), (begin, end), match.start("target"))
        return match.end()


def _tables(source: str) -> dict[int, int]:
    """The beginnings of table lines, each with the position of the bar that opens it (-1: none)."""
    lines, at = [], 0
    for line in source.split("\n"):
        lines.append((at, line))
        at += len(line) + 1
    tables: dict[int, int] = {}
    inside = False
    for (at, line), (_, below) in itertools.zip_longest(lines, lines[1:], fillvalue=(0, "")):
        begins = "|" in line and "|" in below and bool(_TABLE_RULE.fullmatch(below.rstrip()))
        opens = line.lstrip().startswith("|")
        inside = "|" in line and (inside or begins or opens)
        if inside:
            tables[at] = at + len(line) - len(line.lstrip()) if opens else -1
    return tables
