"""Renders LaTeX as far as the check of numbers needs: text without commands, tables as rows and cells.

A reference is `\\result{run:PATH#QUANTITY}{TEXT}`, with `\\#` inside the argument of another macro, which does not
allow `#`. The macro prints its second argument: `\\newcommand{\\result}[2]{#2}`.
"""

import re

from cnn_jax.errors import DataError
from cnn_jax.report.notes.visible import CAPTION, CELL, MarkupReader, Visible

_ARGUMENT = r"\{(?:[^{}]|\{[^{}]{0,120}\}){0,400}\}"
_DROPPED = (
    "[Cc]ite[a-zA-Z]*|ref|eqref|cref|Cref|autoref|pageref|label|includegraphics|bibliography|bibliographystyle|url|"
    "usepackage|documentclass|vspace|hspace|setlength|addtolength|cmidrule|cline|graphicspath|pagestyle|thispagestyle|"
    "hypersetup|definecolor|color|rule|lstset"
)
_MARKUP = re.compile(
    rf"(?P<result>\\result\s{{0,3}}\{{(?P<kind>run|cite):(?P<target>[^{{}}\n]{{1,400}})\}}"
    rf"\s{{0,3}}\{{(?P<text>(?:[^{{}}]|\{{[^{{}}]{{0,60}}\}}){{0,200}})\}})"
    r"|(?P<comment>%[^\n]*)"
    r"|(?P<verbatim>\\begin\{(?:verbatim|lstlisting|comment|minted)\*?\})"
    r"|(?P<table>\\begin\s?\{(?:tabular[x*y]?|longtable|array|tblr)\*?\})"
    r"|(?P<end>\\end\s?\{(?:tabular[x*y]?|longtable|array|tblr)\*?\})"
    r"|\\(?:input|include|subfile)\s?\{(?P<included>[^{}\n]{1,200})\}"
    rf"|(?P<dropped>\\(?:{_DROPPED})\*?(?:\([^()\n]{{0,20}}\))?\s?(?:\[[^\[\]]{{0,200}}\])?(?:{_ARGUMENT})?)"
    r"|(?P<href>\\href\s?\{[^{}]{0,400}\})"
    r"|(?P<columns>\\multi(?:column|row)\s?\{[^{}]{0,9}\}\s?\{[^{}]{0,40}\})"
    r"|(?P<heading>\\(?:part|chapter|(?:sub){0,2}section|paragraph|title|author|item|caption)\*?(?![a-zA-Z])"
    r"(?:\[[^\[\]]{0,200}\])?)"
    r"|(?P<environment>\\(?:begin|end)\s?\{[^{}]{0,40}\}(?:\[[^\[\]]{0,40}\])?)"
    r"|(?P<row>\\\\(?:\[[^\[\]]{0,20}\])?|\\tabularnewline\b)"
    r"|(?P<sign>\\(?:pm|approx|sim|times|percent|second|minute|textpercent|textendash|ldots|dots)(?![a-zA-Z]))"
    r"|\\(?P<escaped>[%&_#${}])"
    r"|(?P<space>\\[,;:!> /]|~|\\(?:quad|qquad|enspace|thinspace)(?![a-zA-Z]))"
    r"|(?P<command>\\(?:[a-zA-Z]+\*?|.))"
    r"|(?P<dash>-{2,3})"
    r"|(?P<ampersand>&)"
    r"|(?P<join>\}\s?\{)"
    r"|(?P<newline>\n)"
    r"|(?P<hidden>[{}$]|[\u200b-\u200f\u2060\ufeff\u00ad])"
    r"|(?P<blank>[ \t\r\f\v]+)"
)
_SIGNS = {
    "pm": "±", "approx": "≈", "sim": "~", "times": "×", "percent": "%", "textpercent": "%", "second": "s",
    "minute": "min", "textendash": "–",
}  # fmt: skip
_DEFINITION = re.compile(
    r"\\(?:(?:re|provide)?newcommand|providecommand|DeclareRobustCommand|def|gdef|edef|xdef|let)\*?\s{0,3}"
    r"\{?\s{0,3}\\result(?![a-zA-Z])\}?(?P<rest>[^\n]{0,80})"
)
_PRINTS_ITS_TEXT = re.compile(r"\s*(?:\[2\]|#1#2)\{#2\}\s*(?:%.*)?")


def visible(source: str) -> Visible:
    """Renders LaTeX. Raises DataError if the document defines \\result as anything but a macro that prints its second
    argument."""
    for definition in _DEFINITION.finditer(source):
        if not _PRINTS_ITS_TEXT.fullmatch(definition["rest"]):
            raise DataError(
                r"it defines \result otherwise than \newcommand{\result}[2]{#2}, which prints its text alone"
            )
    return _Reader(source).read()


class _Reader(MarkupReader):
    def __init__(self, source: str):
        super().__init__(source, _MARKUP)
        self.tables = 0  # number of open tabulars

    def mark(self, match: re.Match[str]) -> int:
        """Renders one mark; returns the position after it."""
        out, start, kind = self.out, match.start(), match.lastgroup
        if kind == "result":
            before = len(out)
            self.between(*match.span("text"))
            span, inner = match.span(), match.span("text")
            out.refer(match["kind"], match["target"], before, span, inner, match.start("target"))
        elif kind == "verbatim":
            end = self.source.find(match[0].replace("begin", "end", 1), match.end())
            out.blank(start)
            return len(self.source) if end < 0 else end
        elif kind == "table":
            self.tables += 1
            out.add("\n", start)
            return self._columns(match.end())
        elif kind == "end":
            self.tables = max(self.tables - 1, 0)
            out.add("\n", start)
        elif kind == "heading":
            out.add(_opening(match[0]), start)
        elif kind == "environment":
            out.add("\n" if "begin{document" in match[0] or self.tables == 0 else " ", start)
        elif kind == "sign":
            out.add(_SIGNS.get(match[0][1:], "…"), start)
        elif kind in ("escaped", "dash"):
            out.add("–" if kind == "dash" else match["escaped"], start)
        elif kind == "row":
            out.add(f"{CELL}\n" if self.tables else " ", start)
        elif kind == "included":
            out.includes.append((match["included"].strip(), start))
        elif kind == "ampersand":
            out.add(CELL if self.tables else " ", start)
        elif kind == "newline":
            out.add("\n", start) if not self.tables else out.blank(start)
        elif kind in ("blank", "space", "join", "dropped", "command") and match[0] not in ("\\!", "\\/"):
            out.blank(start)
        return match.end()

    def _columns(self, at: int) -> int:
        """The position after the arguments of a tabular, its width and its columns."""
        for _ in range(2):
            match = re.compile(rf"\s{{0,3}}(?:\[[^\[\]]{{0,20}}\]\s{{0,3}})?{_ARGUMENT}").match(self.source, at)
            if match is None:
                break
            at = match.end()
            if set(match[0]) & set("lcrpXS"):
                break
        return at


def _opening(command: str) -> str:
    if "item" in command:
        return "\n- "
    return f"\n{CAPTION}" if "caption" in command else "\n\n# "
