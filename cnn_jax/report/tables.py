"""Tables for readers, such as the cells of a sweep, as Markdown and LaTeX. Accuracies are in percent."""

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
    """A sweep's summary as a table of text: the axes, median, quartiles, interval or range, n, seeds that diverged or
    are at chance, parameters, comparison with the best."""
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
    """A share in percent with two decimals; 'diverged' if it is missing."""
    return "diverged" if pd.isna(share) else f"{100 * share:.2f}"  # type: ignore[operator]


def _between(low: float | None, high: float | None) -> str:
    return f"{percent(low)} – {percent(high)}"


def interval_text(interval: Interval, metric: Metric) -> str:
    """'96.9 % interval of the median 88.21 – 88.56 %', 'range 88.21 – diverged'."""
    low, high = ("diverged" if end is None else metric.number(end) for end in (interval.low, interval.high))
    return f"{interval.kind} {low} – {high} {metric.unit}"


def _comparison(cell: pd.Series) -> str:
    """The mean difference to the best of the other cells over the same seeds, in points, with its simultaneous 95 %
    interval, its verdict, and the smallest difference that would have been detected with 80 % power."""
    if pd.isna(cell["difference"]):
        return "chosen" if cell["chosen"] else ""
    difference, low, high = (100 * cell[name] for name in ("difference", "difference_low", "difference_high"))
    seen = "" if cell["against_best"] == "worse" else f" (80 % power from {100 * cell['detectable']:.2f})"
    chosen = "chosen; " if cell["chosen"] else ""
    return f"{chosen}{difference:+.2f} ({low:+.2f} – {high:+.2f}), {cell['against_best']}{seen}"


@dataclass(frozen=True)
class Markup:
    """Text that is already Markdown or LaTeX: a table does not escape it. (Not a subclass of str, because a DataFrame
    would turn it into a plain str.)"""

    text: str


Cell = str | Markup


def markdown(table: pd.DataFrame) -> str:
    """A pipe table. Markdown's special characters are escaped, except in cells of `Markup`."""
    rows = [[_cell(name, escape_markdown) for name in table.columns], ["---"] * len(table.columns)]
    rows += [[_cell(cell, escape_markdown) for cell in row] for row in table.to_numpy().tolist()]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def latex(table: pd.DataFrame) -> str:
    """A booktabs tabular. LaTeX's special characters are escaped, except in cells of `Markup`."""
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
    """A Markdown link. Characters that would end the target early or are not allowed in a URL are percent-encoded."""
    return Markup(f"[{escape_markdown(text)}]({quote(target, safe=_SAFE_IN_TARGET)})")


def code(text: str) -> Markup:
    """A Markdown code span of a text without backticks."""
    return Markup(f"`{_one_line(text).replace('|', chr(92) + '|')}`")


_SAFE_IN_TARGET = "/:@#?&=+,;~!$'*"  # in addition to letters, digits and _.-


def _cell(cell: object, escape: Callable[[str], str]) -> str:
    return cell.text if isinstance(cell, Markup) else escape(str(cell))


def escape_markdown(text: str) -> str:
    """One line of Markdown (CommonMark with GitHub's tables and formulas) that renders as `text`."""
    return re.sub(r"[\\`*\[\]<>|~$&]|(?<![^\W_])_|_(?![^\W_])", r"\\\g<0>", _one_line(text))


def escape_latex(text: str) -> str:
    """One line of LaTeX that prints `text` without ligatures of punctuation; – becomes two hyphens."""
    escaped = re.sub(r"[\\{}$&#%_^~<>|`]|([',])(?=\1)", lambda mark: _LATEX[mark[0]], _one_line(text))
    escaped = re.sub("[-–](?=[-–])", r"\g<0>{}", escaped).replace("–", "--")
    return "{}" + escaped if escaped[:1] in ("[", "*") else escaped  # or else an option of the preceding \\


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
    """`text` with each run of white space replaced by one space, and other control characters by U+FFFD."""
    return "".join(c if c.isprintable() else "\ufffd" for c in " ".join(text.split()))
