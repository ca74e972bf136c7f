"""The table of a sweep's cells for a reader: Markdown and LaTeX. Accuracies in percent."""

import pandas as pd

from cnn_jax.metrics import Metric
from cnn_jax.statistics import Interval

HEADINGS = {"learning_rate": "learning rate", "median": "median validation accuracy (%)"}


def for_reader(summary: pd.DataFrame, axes: tuple[str, ...]) -> pd.DataFrame:
    """The printed table, as text: the axes, median, quartiles, interval or range, n, how many diverged and are at
    chance, comparison."""
    interval = str(summary["interval"].iloc[0])
    table = pd.DataFrame(
        {
            **{name: summary[name].map("{:g}".format) for name in axes},
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


def markdown(table: pd.DataFrame) -> str:
    """A pipe table of cells that are text already."""
    rows = [list(table.columns), ["---"] * len(table.columns), *table.to_numpy().tolist()]
    return "".join(f"| {' | '.join(map(str, row))} |\n" for row in rows)


def latex(table: pd.DataFrame) -> str:
    """A booktabs tabular of cells that are text already."""
    rows = [" & ".join(map(_escape, row)) + r" \\" for row in table.to_numpy().tolist()]
    lines = [
        rf"\begin{{tabular}}{{{'r' * (len(table.columns) - 1)}l}}",
        r"\toprule",
        " & ".join(map(_escape, table.columns)) + r" \\",
        r"\midrule",
        *rows,
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def _escape(cell: object) -> str:
    text = str(cell).replace("–", "--")
    for mark in "%_&#":
        text = text.replace(mark, f"\\{mark}")
    return text
