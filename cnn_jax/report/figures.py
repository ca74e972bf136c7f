"""Figures for a paper: labelled axes with units, log scales where values span decades, colours that a colour-blind
reader can tell apart, n in the caption."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from cnn_jax.errors import writing

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#999999", "#000000")  # okabe2008color
MARKERS = "osD^vPX*"
LINES = ("-", "--", ":")
STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
}
LABELS = {"learning_rate": "learning rate", "filters": "filters of the first convolution", "seed": "seed"}


def label(name: str) -> str:
    return LABELS.get(name, name.replace("_", " "))


def plain(text: str) -> str:
    """A name for a figure, in which matplotlib would take a pair of dollars for a formula."""
    return text.replace("$", r"\$")


def subplots(
    rows: int = 1, columns: int = 1, *, figsize: tuple[float, float], layout: Any = None, **grid: Any
) -> tuple[Figure, Any]:
    """A figure with a grid of plots, as pyplot makes it, but without pyplot: no backend is chosen for the process, and
    no list of open figures keeps it."""
    figure = Figure(figsize=figsize, layout=layout)
    return figure, figure.subplots(rows, columns, **grid)


def save(figure: Figure, path: Path) -> None:
    """Writes a PNG at 200 dots per inch."""
    with writing(path):
        figure.savefig(path, dpi=200)


def spread(values: Sequence[float]) -> bool:
    """Whether values ask for a log axis: all positive, the largest at least ten times the smallest."""
    return min(values) > 0 and max(values) >= 10 * min(values)


def heatmap(summary: pd.DataFrame, axes: Sequence[str], caption: str) -> Figure:
    """Median validation accuracy over a grid: the first axis to the right, all others upwards. Cells of which most
    seeds diverged are hatched; the chosen cell is framed."""
    across, others = axes[0], list(axes[1:])
    columns = sorted(summary[across].unique())
    rows = sorted(set(summary[others].itertuples(index=False, name=None))) if others else [()]
    with matplotlib.rc_context(STYLE | {"axes.grid": False}):
        figure, plot = subplots(
            figsize=(1.5 + 0.85 * max(len(columns), 4), 1.4 + 0.5 * max(len(rows), 4)), layout="constrained"
        )
        values = np.full((len(rows), len(columns)), np.nan)
        cells = {}
        for _, cell in summary.iterrows():
            at = rows.index(tuple(cell[name] for name in others)), columns.index(cell[across])
            cells[at] = cell
            if cell["diverged"] * 2 <= cell["n"]:
                values[at] = 100 * cell["median"]
        image = plot.imshow(values, origin="lower", aspect="auto", cmap="cividis")
        finite = values[np.isfinite(values)]
        middle = (finite.min() + finite.max()) / 2 if finite.size else 0.0
        for (y, x), cell in cells.items():
            died = np.isnan(values[y, x])
            if died:
                plot.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, fill=False, hatch="///", ec="0.6", lw=0))
            text = f"{values[y, x]:.1f}" if not died else "diverged"
            if cell["diverged"]:
                text += f"\n{cell['diverged']} of {cell['n']} died" if not died else ""
            bright = not died and values[y, x] > middle
            box = {"facecolor": "white", "edgecolor": "none", "pad": 1.0} if died else None
            plot.text(
                x, y, text, ha="center", va="center", fontsize=7, color="black" if died or bright else "white", bbox=box
            )
            if cell["chosen"]:
                plot.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, fill=False, ec="#D55E00", lw=2.5))
        plot.set_xticks(range(len(columns)), [f"{value:g}" for value in columns])
        plot.set_yticks(range(len(rows)), [", ".join(f"{value:g}" for value in row) for row in rows])
        plot.set_xlabel(label(across))
        plot.set_ylabel(", ".join(map(label, others)))
        if finite.size:
            figure.colorbar(image, ax=plot, label="median validation accuracy (%)")
        _caption(figure, caption + "; orange frame: chosen; hatched: most seeds diverged")
    return figure


def curves(
    summary: pd.DataFrame, axes: Sequence[str], histories: Mapping[tuple, Sequence[pd.DataFrame]], caption: str
) -> Figure:
    """Left, where the first axis has several values: median validation accuracy along it with the quartiles, one line
    for each combination of the others. Right: validation accuracy by epoch, the best cell of each combination, median
    and range over seeds. `histories` maps the values of a cell to the metrics of its seeds."""
    across, others = axes[0], list(axes[1:])
    groups = list(summary.groupby(others)) if others else [((), summary)]
    several = summary[across].nunique() > 1
    with matplotlib.rc_context(STYLE):
        figure, plots = subplots(
            1, 1 + several, figsize=(4.0 * (1 + several) + (not several), 3.2), layout="constrained", squeeze=False
        )
        for i, (key, group) in enumerate(groups):
            style = {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[i % len(MARKERS)], "ms": 4, "lw": 1.3}
            style["ls"] = LINES[i // len(COLOURS) % len(LINES)]
            name = (
                ", ".join(f"{value:g} {axis.replace('_', ' ')}" for axis, value in zip(others, key, strict=True))
                or None
            )
            if several:
                _along_axis(plots[0, 0], group.sort_values(across), across, style, name)
            best = group.loc[group["median"].idxmax()]
            history = histories[tuple(best[axis] for axis in axes)]
            _by_epoch(plots[0, -1], history, style, f"{name}, " if name else "", f"{best[across]:g}", across)
        if several:
            plots[0, 0].set_xlabel(label(across))
            plots[0, 0].set_ylabel("median validation accuracy (%)")
            if spread(list(summary[across])):
                plots[0, 0].set_xscale("log")
            if others:
                plots[0, 0].legend(fontsize=7)
        plots[0, -1].set_xlabel("epoch")
        plots[0, -1].set_ylabel("validation accuracy (%)")
        plots[0, -1].xaxis.get_major_locator().set_params(integer=True)
        if plots[0, -1].has_data():
            plots[0, -1].legend(fontsize=7)
        _caption(figure, caption)
    return figure


def _along_axis(plot: Any, group: pd.DataFrame, across: str, style: dict[str, Any], name: str | None) -> None:
    x = group[across].to_numpy(float)
    plot.plot(x, 100 * group["median"], label=name, **style)
    plot.fill_between(x, 100 * group["q1"], 100 * group["q3"], color=style["color"], alpha=0.15, lw=0)


def _by_epoch(
    plot: Any, history: Sequence[pd.DataFrame], style: dict[str, Any], name: str, value: str, across: str
) -> None:
    evaluated = [one.set_index("epoch")["validation_accuracy"].astype(float) for one in history if len(one)]
    if not evaluated:
        return
    accuracy = pd.concat(evaluated, axis=1) * 100
    plot.plot(accuracy.index, accuracy.median(axis=1), label=f"{name}{label(across)} {value}", **style)
    plot.fill_between(
        accuracy.index, accuracy.min(axis=1), accuracy.max(axis=1), color=style["color"], alpha=0.15, lw=0
    )


def by_variant(values: Mapping[str, Mapping[int, float]], unit: str, caption: str) -> Figure:
    """A column of dots for each variant, one dot a seed, thin lines between the dots of one seed, a bar at the median.
    The only words are the variants' names and what the caller says."""
    names = list(values)
    with matplotlib.rc_context(STYLE):
        figure, plot = subplots(figsize=(1.4 + 0.8 * max(len(names), 2), 3.0), layout="constrained")
        for seed in sorted(set().union(*values.values())):
            plot.plot(range(len(names)), [values[name].get(seed, np.nan) for name in names], color="0.8", lw=0.7)
        for i, name in enumerate(names):
            dots = list(values[name].values())
            plot.plot([i] * len(dots), dots, MARKERS[0], color=COLOURS[i % len(COLOURS)], ms=4, alpha=0.8)
            plot.plot([i - 0.28, i + 0.28], [np.median(dots)] * 2, color=COLOURS[i % len(COLOURS)], lw=2)
        plot.set_xticks(
            range(len(names)), map(plain, names), rotation=20 if max(map(len, names)) > 8 else 0, fontsize=8
        )
        plot.set_xlim(-0.6, len(names) - 0.4)
        plot.set_ylabel(unit)
        _caption(figure, caption)
    return figure


def training_curve(history: pd.DataFrame, caption: str) -> Figure:
    """Loss and accuracy of one run by epoch, training and validation."""
    with matplotlib.rc_context(STYLE):
        figure, (losses, accuracies) = subplots(1, 2, figsize=(8.0, 3.0), layout="constrained")
        for i, split in enumerate(("train", "validation")):
            style = {"color": COLOURS[i], "marker": MARKERS[i], "ms": 3, "lw": 1.3, "label": split}
            losses.plot(history["epoch"], history[f"{split}_loss"], **style)
            accuracies.plot(history["epoch"], 100 * history[f"{split}_accuracy"], **style)
        if (history[["train_loss", "validation_loss"]] > 0).all(axis=None):
            losses.set_yscale("log")
        losses.set_ylabel("mean loss per example")
        accuracies.set_ylabel("accuracy (%)")
        for plot in (losses, accuracies):
            plot.set_xlabel("epoch")
            plot.xaxis.get_major_locator().set_params(integer=True)
            plot.legend()
        _caption(figure, caption)
    return figure


def _caption(figure: Figure, text: str) -> None:
    figure.supxlabel(plain(text), fontsize=7, color="0.3", wrap=True)
