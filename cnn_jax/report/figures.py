"""Figures for papers: labelled axes with units, logarithmic where values multiply, colour-blind-safe colours."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from cnn_jax.grids.grid import is_number, show
from cnn_jax.metrics import EpochMetrics
from cnn_jax.report.saving import plain
from cnn_jax.statistics import median

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
DARK = "#111111"  # on a light field; pages draw black as the colour of their text, light in dark mode
LABELS = {"learning_rate": "learning rate", "filters": "filters of the first convolution", "seed": "seed"}


def label(name: str) -> str:
    return LABELS.get(name, (name.partition(".")[2] or name).replace("_", " "))


def subplots(
    rows: int = 1, columns: int = 1, *, figsize: tuple[float, float], layout: Any = None, **grid: Any
) -> tuple[Figure, Any]:
    """A figure with a grid of plots, like pyplot.subplots but without pyplot, which would choose a backend for the
    process and keep a reference to the figure."""
    figure = Figure(figsize=figsize, layout=layout)
    return figure, figure.subplots(rows, columns, **grid)


def needs_log_axis(values: Sequence[float]) -> bool:
    """True if all values are positive and span a decade, or are nearer to a geometric than to an arithmetic series."""
    if min(values) <= 0:
        return False
    ordered = np.unique(np.asarray(values, float))
    if len(ordered) < 3:
        return bool(ordered[-1] >= 10 * ordered[0])
    steps, factors = np.diff(ordered), np.diff(np.log(ordered))
    return bool(ordered[-1] >= 10 * ordered[0] or factors.max() / factors.min() < steps.max() / steps.min())


def heatmap(summary: pd.DataFrame, axes: Sequence[str]) -> Figure:
    """Median validation accuracy over a grid: the first axis horizontally, all others vertically. Cells whose median
    seed diverged are hatched; the chosen cell is framed."""
    across, others = axes[0], list(axes[1:])
    columns = _ordered(summary[across])
    rows = list(itertools.product(*(_ordered(summary[name]) for name in others)))
    with matplotlib.rc_context(STYLE | {"axes.grid": False}):
        figure, plot = subplots(
            figsize=(1.5 + 0.85 * max(len(columns), 4), 1.4 + 0.5 * max(len(rows), 4)), layout="constrained"
        )
        values = np.full((len(rows), len(columns)), np.nan)
        cells = {}
        for _, cell in summary.iterrows():
            position = rows.index(tuple(cell[name] for name in others)), columns.index(cell[across])
            cells[position] = cell
            if not pd.isna(cell["median"]):
                values[position] = 100 * cell["median"]
        image = plot.imshow(values, origin="lower", aspect="auto", cmap="cividis")
        finite = values[np.isfinite(values)]
        middle = (finite.min() + finite.max()) / 2 if finite.size else 0.0
        for (y, x), cell in cells.items():
            median_diverged = np.isnan(values[y, x])
            if median_diverged:
                plot.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, fill=False, hatch="///", ec="0.6", lw=0))
            text = f"{values[y, x]:.1f}"
            if median_diverged or cell["diverged"]:
                text = f"{'' if median_diverged else text}\n{cell['diverged']} of {cell['n']}\ndiverged".strip()
            elif cell["at_chance"]:
                text += f"\n{cell['at_chance']} of {cell['n']}\nat chance"
            colour = DARK if median_diverged or values[y, x] > middle else "white"
            box = {"facecolor": "white", "edgecolor": "none", "pad": 1.0} if median_diverged else None
            plot.text(x, y, text, ha="center", va="center", fontsize=7, color=colour, bbox=box)
            if cell["chosen"]:
                plot.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, fill=False, ec="#D55E00", lw=2.5))
        plot.set_xticks(range(len(columns)), [plain(show(value)) for value in columns])
        plot.set_yticks(range(len(rows)), [plain(", ".join(map(show, row))) for row in rows])
        plot.set_xlabel(label(across))
        plot.set_ylabel(", ".join(map(label, others)))
        if finite.size:
            figure.colorbar(image, ax=plot, label="median validation accuracy (%)")
    return figure


def curves(summary: pd.DataFrame, axes: Sequence[str], histories: Sequence[Sequence[Sequence[EpochMetrics]]]) -> Figure:
    """Accuracy along the first axis of a grid (left, if that axis has several values) and by epoch (right).

    Left: median validation accuracy with quartiles, one line for each combination of the other axes; a cell whose
    median seed diverged is a cross at the lower edge and does not affect the scale. Right: validation accuracy of the
    best cell of each combination, median and range over the seeds that reached the epoch.

    Args:
        summary: one row per cell.
        axes: names of the grid's axes.
        histories: the metrics of each cell's seeds, in the order of `summary`.
    """
    across, others = axes[0], list(axes[1:])
    groups = _groups(summary, others)
    several = summary[across].nunique() > 1
    with matplotlib.rc_context(STYLE):
        figure, plots = subplots(
            1, 1 + several, figsize=(4.0 * (1 + several) + (not several), 3.2), layout="constrained", squeeze=False
        )
        for i, (key, group) in enumerate(groups):
            style = {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[i % len(MARKERS)], "ms": 4, "lw": 1.3}
            style["ls"] = LINES[i // len(COLOURS) % len(LINES)]
            name = (
                plain(", ".join(f"{label(axis)} {show(value)}" for axis, value in zip(others, key, strict=True)))
                or None
            )
            if several:
                _along_axis(plots[0, 0], group, across, style, name, _ordered(summary[across]))
            if group["median"].isna().all():
                continue
            best = group["median"].astype(float).idxmax()
            value = plain(show(group[across][best]))
            _by_epoch(plots[0, -1], histories[best], style, f"{name}, " if name else "", value, across)
        if several:
            plots[0, 0].set_xlabel(label(across))
            plots[0, 0].set_ylabel("median validation accuracy (%)")
            _ticks(plots[0, 0], _ordered(summary[across]))
        plots[0, -1].set_xlabel("epoch")
        plots[0, -1].set_ylabel("validation accuracy (%)")
        plots[0, -1].xaxis.get_major_locator().set_params(integer=True)
        handles, labels = plots[0, -1].get_legend_handles_labels()
        if handles:
            figure.legend(handles, labels, fontsize=7, loc="outside upper center", ncols=1 if len(handles) < 4 else 2)
    return figure


def _ticks(plot: Axes, values: list[Any]) -> None:
    """Ticks at the values of the horizontal axis and nowhere else."""
    numbers = all(map(is_number, values))
    if numbers and needs_log_axis(values):
        plot.set_xscale("log")
    plot.set_xticks(values if numbers else range(len(values)), [plain(show(value)) for value in values])
    plot.minorticks_off()
    if sum(len(show(value)) + 1 for value in values) > 36:  # as many letters as fit side by side
        plot.tick_params(axis="x", rotation=45)


def _ordered(values: pd.Series) -> list[Any]:
    """The distinct values of an axis: numbers in ascending order, others in the order of the grid."""
    distinct = list(dict.fromkeys(values))
    return sorted(distinct) if all(map(is_number, distinct)) else distinct


def _groups(summary: pd.DataFrame, others: list[str]) -> list[tuple[tuple[Any, ...], pd.DataFrame]]:
    """The cells of each combination of the other axes."""
    groups: dict[tuple[Any, ...], list[Any]] = {}
    for i, cell in summary.iterrows():
        groups.setdefault(tuple(cell[name] for name in others), []).append(i)
    return [(key, summary.loc[indices]) for key, indices in groups.items()]


def _along_axis(
    plot: Any, group: pd.DataFrame, across: str, style: dict[str, Any], name: str | None, columns: list[Any]
) -> None:
    """Numbers are placed at their values and joined by a line, other values side by side without a line."""
    numbers = all(map(is_number, columns))
    group = group.iloc[np.argsort([columns.index(value) for value in group[across]], kind="stable")]
    x = group[across].to_numpy(float) if numbers else np.array([columns.index(v) for v in group[across]], float)
    style = style if numbers else style | {"ls": ""}
    median, q1, q3 = (100 * group[column].astype(float).to_numpy() for column in ("median", "q1", "q3"))
    plot.plot(x, median, label=name, **style)
    low = np.where(np.isnan(q1), median, q1)
    if numbers:
        plot.fill_between(x, low, q3, color=style["color"], alpha=0.15, lw=0)
    else:
        plot.vlines(x, low, q3, color=style["color"], alpha=0.4, lw=3)
    diverged = x[np.isnan(median)]
    plot.plot(
        diverged, np.zeros(len(diverged)), "x", color=style["color"], ms=7, mew=1.6, clip_on=False,
        transform=plot.get_xaxis_transform(),
    )  # fmt: skip


def _by_epoch(
    plot: Any, history: Sequence[Sequence[EpochMetrics]], style: dict[str, Any], name: str, value: str, across: str
) -> None:
    scores = {
        (metrics.epoch, seed): 100 * metrics.validation.accuracy
        for seed, several in enumerate(history)
        for metrics in several
        if metrics.validation is not None
    }
    if not scores:
        return
    accuracy = pd.Series(scores).unstack()
    plot.plot(accuracy.index, accuracy.median(axis=1), label=f"{name}{label(across)} {value}", **style)
    plot.fill_between(
        accuracy.index, accuracy.min(axis=1), accuracy.max(axis=1), color=style["color"], alpha=0.15, lw=0
    )


def by_variant(values: Mapping[str, Mapping[int, float | None]], unit: str) -> Figure:
    """A column of dots for each variant, one dot per seed, with a thin line between the dots of a seed and a bar at the
    median; a seed that diverged (None) is a cross at the lower edge. The only text is the variants' names
    and `unit`."""
    names = list(values)
    with matplotlib.rc_context(STYLE):
        figure, plot = subplots(figsize=(1.4 + 0.8 * max(len(names), 2), 3.0), layout="constrained")
        for seed in sorted(set().union(*values.values())):
            line = [values[name].get(seed) for name in names]
            plot.plot(range(len(names)), [np.nan if x is None else x for x in line], color="0.8", lw=0.7)
        for i, name in enumerate(names):
            colour = COLOURS[i % len(COLOURS)]
            dots = [value for value in values[name].values() if value is not None]
            plot.plot([i] * len(dots), dots, MARKERS[0], color=colour, ms=4, alpha=0.8)
            middle = median(list(values[name].values()))
            if middle is not None:
                plot.plot([i - 0.28, i + 0.28], [middle] * 2, color=colour, lw=2)
            if len(dots) < len(values[name]):
                below = {"transform": plot.get_xaxis_transform(), "clip_on": False}
                plot.plot([i], [0], "x", color=colour, ms=7, mew=1.6, **below)
        plot.set_xticks(
            range(len(names)), map(plain, names), rotation=20 if max(map(len, names)) > 8 else 0, fontsize=8
        )
        plot.set_xlim(-0.6, len(names) - 0.4)
        plot.set_ylabel(unit)
    return figure


def training_curve(history: Sequence[EpochMetrics]) -> Figure:
    """Loss and accuracy of one run by epoch, on the training split and, unless it was used for training, on the
    validation split."""
    splits = ("train", "validation") if history[0].validation is not None else ("train",)
    with matplotlib.rc_context(STYLE):
        figure, (losses, accuracies) = subplots(1, 2, figsize=(8.0, 3.0), layout="constrained")
        epochs = [metrics.epoch for metrics in history]
        positive = True
        for i, split in enumerate(splits):
            style = {"color": COLOURS[i], "marker": MARKERS[i], "ms": 3, "lw": 1.3, "label": split}
            scores = [getattr(metrics, split) for metrics in history]
            losses.plot(epochs, [score.loss for score in scores], **style)
            accuracies.plot(epochs, [100 * score.accuracy for score in scores], **style)
            positive &= all(score.loss > 0 for score in scores)
        if positive:
            losses.set_yscale("log")
        losses.set_ylabel("mean loss per example")
        accuracies.set_ylabel("accuracy (%)")
        for plot in (losses, accuracies):
            plot.set_xlabel("epoch")
            plot.xaxis.get_major_locator().set_params(integer=True)
            plot.legend()
    return figure
