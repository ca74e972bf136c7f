"""The table of a sweep's cells for a reader: Markdown and LaTeX. Accuracies in percent."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote

import pandas as pd

from cnn_jax.grids.grid import show
from cnn_jax.metrics import Metric
from cnn_jax.statistics import Interval

HEADINGS = {"learning_rate": "learning rate", "median": "median validation accuracy (%)"}


def for_reader(summary: pd.DataFrame, axes: tuple[str, ...]) -> pd.DataFrame:
    """The printed table, as text: the axes, median, quartiles, interval or range, n, how many diverged and are at
    chance, comparison."""
    interval = str(summary["interval"].iloc[0])
    table = pd.DataFrame(
        {
            **{name: [show(value) for value in summary[name]] for name in axes},
            "median": summary["median"].map(percent),
            "quartiles": [_between(cell["q1"], cell["q3"]) for _, cell in summary.iterrows()],
            interval: [_between(cell["low"], cell["high"]) for _, cell in summary.iterrows()],
            "n": summary["n"].astype(str),
            "diverged": summary["diverged"].astype(str),
            "at chance": summary["at_chance"].astype(str),
            "parameters": summary["parameters"].map("{:,}".format),
            "against the best": [_comparison(cell) for _, cell in summary.iterrows()],
        }
    )
    return table.rename(columns=HEADINGS)


def percent(share: float | None) -> str:
    """A share in percent with two decimals; a value that falls on a seed without one is called diverged."""
    return "diverged" if pd.isna(share) else f"{100 * share:.2f}"  # type: ignore[operator]


def _between(low: float | None, high: float | None) -> str:
    return f"{percent(low)} – {percent(high)}"


def interval_text(interval: Interval, metric: Metric) -> str:
    """'96.9 % interval of the median 88.21 – 88.56 %', 'range 88.21 – diverged'."""
    low, high = ("diverged" if end is None else metric.number(end) for end in (interval.low, interval.high))
    return f"{interval.kind} {low} – {high} {metric.unit}"


def _comparison(cell: pd.Series) -> str:
    """The mean difference to the best of the other cells over the same seeds, in points, with its simultaneous 95 %
    interval, what that says, and the smallest difference that could have been seen."""
    if pd.isna(cell["difference"]):
        return "chosen" if cell["chosen"] else ""
    difference, low, high = (100 * cell[name] for name in ("difference", "difference_low", "difference_high"))
    seen = "" if cell["against_best"] == "worse" else f" (80 % power from {100 * cell['detectable']:.2f})"
    chosen = "chosen; " if cell["chosen"] else ""
    return f"{chosen}{difference:+.2f} ({low:+.2f} – {high:+.2f}), {cell['against_best']}{seen}"


@dataclass(frozen=True)
class Markup:
    """Text that is Markdown or LaTeX already: a cell of it goes into its table as it is. (No str, of which a DataFrame
    keeps the characters alone.)"""

    text: str


Cell = str | Markup


def markdown(table: pd.DataFrame) -> str:
    """A pipe table. What has a meaning in Markdown is escaped, but in cells of `Markup`."""
    rows = [[_cell(name, escape_markdown) for name in table.columns], ["---"] * len(table.columns)]
    rows += [[_cell(cell, escape_markdown) for cell in row] for row in table.to_numpy().tolist()]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def latex(table: pd.DataFrame) -> str:
    """A booktabs tabular. What has a meaning in LaTeX is escaped, but in cells of `Markup`."""
    head, *rows = [
        " & ".join(_cell(cell, escape_latex) for cell in row) + r" \\"
        for row in [list(table.columns), *table.to_numpy().tolist()]
    ]
    lines = [
        rf"\begin{{tabular}}{{{'r' * (len(table.columns) - 1)}l}}",
        r"\toprule",
        head,
        r"\midrule",
        *rows,
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def link(text: str, target: str) -> Markup:
    """A Markdown link. What would end the target early, or is no part of a URL, is percent-encoded in it."""
    return Markup(f"[{escape_markdown(text)}]({quote(target, safe=_IN_A_TARGET)})")


def code(text: str) -> Markup:
    """A Markdown code span, of a text without backticks."""
    return Markup(f"`{_one_line(text).replace('|', chr(92) + '|')}`")


_IN_A_TARGET = "/:@#?&=+,;~!$'*"  # beside letters, digits and _.-


def _cell(cell: object, escape: Callable[[str], str]) -> str:
    return cell.text if isinstance(cell, Markup) else escape(str(cell))


def escape_markdown(text: str) -> str:
    """One line of Markdown (CommonMark with GitHub's tables and formulas) that a reader sees as `text`."""
    return re.sub(r"[\\`*\[\]<>|~$&]|(?<![^\W_])_|_(?![^\W_])", r"\\\g<0>", _one_line(text))


def escape_latex(text: str) -> str:
    """One line of LaTeX that prints `text`, without ligatures: no mark joins the one behind it; – is two hyphens."""
    escaped = re.sub(r"[\\{}$&#%_^~<>|`]|([',])(?=\1)", lambda mark: _LATEX[mark[0]], _one_line(text))
    escaped = re.sub("[-–](?=[-–])", r"\g<0>{}", escaped).replace("–", "--")
    return "{}" + escaped if escaped[:1] in ("[", "*") else escaped  # else an option of the \\ before


_LATEX = {
    **{mark: f"\\{mark}" for mark in "{}$&#%_"},
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "`": r"\textasciigrave{}",
    **{mark: f"{mark}{{}}" for mark in "',"},
}


def _one_line(text: str) -> str:
    """`text` with each run of white space as a blank, and no other control characters."""
    return "".join(c if c.isprintable() else "\ufffd" for c in " ".join(text.split()))
