"""The table of a sweep's cells for a reader: Markdown and LaTeX. Accuracies in percent."""

import pandas as pd

HEADINGS = {"learning_rate": "learning rate", "median": "median validation accuracy (%)"}


def for_reader(summary: pd.DataFrame, axes: tuple[str, ...]) -> pd.DataFrame:
    """The printed table, as text: the axes, median, quartiles, interval or range, n, diverged, comparison."""
    interval = str(summary["interval"].iloc[0])
    died = summary["diverged"] * 2 > summary["n"]
    table = pd.DataFrame(
        {
            **{name: summary[name].map("{:g}".format) for name in axes},
            "median": _percent(summary["median"]).where(~died, "diverged"),
            "quartiles": _percent(summary["q1"]) + " – " + _percent(summary["q3"]),
            interval: _percent(summary["low"]) + " – " + _percent(summary["high"]),
            "n": summary["n"].astype(str),
            "diverged": summary["diverged"].astype(str),
            "parameters": summary["parameters"].map("{:,}".format),
            "against the best": [_comparison(cell) for _, cell in summary.iterrows()],
        }
    )
    return table.rename(columns=HEADINGS)


def _comparison(cell: pd.Series) -> str:
    """Mean difference over paired seeds in points, its 95 % interval, and what that says."""
    if cell["chosen"]:
        return "best"
    if pd.isna(cell["difference"]):
        return ""
    difference, low, high = (100 * cell[name] for name in ("difference", "difference_low", "difference_high"))
    return f"{difference:+.2f} ({low:+.2f} – {high:+.2f}), {cell['against_chosen']}"


def _percent(values: pd.Series) -> pd.Series:
    return (100 * values).map("{:.2f}".format)


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
