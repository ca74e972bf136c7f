"""Figures of what a network has learned: filters, units, attributions, checks, tuning, loss surfaces, mistakes.

Each function takes arrays and returns a figure; the same arrays are saved beside it as NPZ.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from cnn_jax.insight.checks import SAME, SIGNED, SanityCheck
from cnn_jax.insight.landscape import Trajectory
from cnn_jax.insight.mistakes import Calibration, accuracy_by_class
from cnn_jax.insight.tuning import Tuning
from cnn_jax.report.figures import COLOURS, MARKERS, STYLE, plain, subplots

PLAIN = STYLE | {"axes.grid": False}
DIVERGING, SEQUENTIAL = "RdBu_r", "inferno"


def drawable(image: np.ndarray) -> np.ndarray:
    """Converts an image (h, w, 1 or 3) to what matplotlib expects: (h, w) or (h, w, 3)."""
    return image[..., 0] if image.shape[-1] == 1 else image


def stretched(values: np.ndarray) -> np.ndarray:
    """Scales values symmetrically around zero to 0..1: zero becomes 0.5, the largest magnitude 0 or 1."""
    largest = float(np.abs(values).max())
    return 0.5 + 0.5 * values / largest if largest > 0 else np.full_like(values, 0.5)


def tiles(images: np.ndarray, columns: int, gap: int = 1) -> np.ndarray:
    """Images (n, h, w, c; 0 to 1) tiled in rows of `columns` with white lines between them: (height, width, c)."""
    n, height, width, channels = images.shape
    rows = -(-n // columns)
    sheet = np.ones((rows * (height + gap) - gap, columns * (width + gap) - gap, channels), np.float32)
    for i, image in enumerate(images):
        y, x = i // columns * (height + gap), i % columns * (width + gap)
        sheet[y : y + height, x : x + width] = image
    return sheet


def filters(kernels: np.ndarray) -> Figure:
    """First-layer filters (n, h, w, c), -1 to 1. Three channels are shown as RGB, one channel in red (positive) and
    blue; for any other number the channels of a filter are shown side by side."""
    if kernels.shape[-1] not in (1, 3):
        kernels = np.concatenate(np.split(kernels, kernels.shape[-1], -1), 2)
    columns = min(len(kernels), 16 if kernels.shape[-1] == 1 else 12)
    rows = -(-len(kernels) // columns)
    with matplotlib.rc_context(PLAIN):
        figure, grid = subplots(
            rows, columns, figsize=(0.55 * columns + 0.6, 0.6 * rows + 0.3), layout="constrained", squeeze=False
        )
        for plot in grid.flat:
            plot.axis("off")
        for i, (plot, kernel) in enumerate(zip(grid.flat, kernels, strict=False)):
            grey = kernel.shape[-1] == 1
            picture = kernel[..., 0] if grey else 0.5 + 0.5 * kernel
            image = plot.imshow(picture, cmap=DIVERGING, vmin=-1, vmax=1)  # the map has no effect on RGB
            plot.set_title(str(i), fontsize=6, pad=1)
        if grey:
            bar = figure.colorbar(image, ax=grid, fraction=0.02, ticks=(-1, 0, 1))
            bar.set_label("weight / largest" if rows > 1 else "weight", fontsize=6)
    return figure


def units(synthesis: np.ndarray, patches: np.ndarray, projections: np.ndarray | None, names: Sequence[int]) -> Figure:
    """A row for each unit: its synthetic image (u, h, w, c), its strongest patches (u, n, h, w, c) and, if any, their
    deconvnet projections (the same shape), all 0 to 1."""
    count, sides = patches.shape[1], [patches] if projections is None else [patches, projections]
    with matplotlib.rc_context(PLAIN):
        figure, grid = subplots(
            len(names), 1 + len(sides), figsize=(7.2, 0.62 * len(names) + 0.5), layout="constrained", squeeze=False,
            width_ratios=(1, *[count] * len(sides)),
        )  # fmt: skip
        for row, unit in enumerate(names):
            sheets = (synthesis[row], *(tiles(side[row], count) for side in sides))
            for plot, sheet in zip(grid[row], sheets, strict=True):
                plot.imshow(drawable(sheet), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
                plot.set_xticks([])
                plot.set_yticks([])
                for spine in plot.spines.values():
                    spine.set_visible(False)
            grid[row, 0].set_ylabel(f"{unit}", rotation=0, ha="right", va="center", fontsize=7)
        for plot, title in zip(grid[0], ("synthetic", "strongest patches", "their deconvnet"), strict=False):
            plot.set_title(title, fontsize=8)
    return figure


def maps(by_layer: Mapping[str, np.ndarray], image: np.ndarray, most: int = 12) -> Figure:
    """The activation maps of one image: a row for each layer (h, w, channels) with its first `most` channels; each
    layer has its own scale."""
    with matplotlib.rc_context(PLAIN):
        figure, grid = subplots(
            len(by_layer), most + 1, figsize=(0.6 * (most + 1) + 0.6, 0.66 * len(by_layer)), layout="constrained",
            squeeze=False,
        )  # fmt: skip
        for plot in grid.flat:
            plot.axis("off")
        grid[0, 0].imshow(drawable(image), cmap="gray", vmin=0, vmax=1)
        for row, (name, activations) in zip(grid, by_layer.items(), strict=True):
            largest = max(float(np.abs(activations).max()), 1e-12)
            row[0].text(-0.1, 0.5, name, fontsize=7, ha="right", va="center", transform=row[0].transAxes)
            for plot, channel in zip(row[1:], np.moveaxis(activations, -1, 0), strict=False):
                plot.imshow(channel, cmap=DIVERGING, vmin=-largest, vmax=largest)
    return figure


def attributions(
    images: np.ndarray, by_method: Mapping[str, np.ndarray], titles: Sequence[str], results: Sequence[SanityCheck]
) -> Figure:
    """A row for each image (n, h, w, c; 0 to 1), a column for each method's maps (n, h, w); signed maps in red (for the
    class) and blue. Each column is headed by the method's name and the numbers of its sanity check."""
    columns = 1 + len(by_method)
    with matplotlib.rc_context(PLAIN):
        figure, grid = subplots(
            len(images), columns, figsize=(columns, 0.95 * len(images) + 0.75), layout="constrained", squeeze=False
        )
        for plot in grid.flat:
            plot.set_xticks([])
            plot.set_yticks([])
            for spine in plot.spines.values():
                spine.set_visible(False)
        for i, row in enumerate(grid):
            row[0].imshow(drawable(images[i]), cmap="gray", vmin=0, vmax=1)
            row[0].set_ylabel(plain(titles[i]).replace(" (", "\n(", 1).replace(": ", "\n", 1), fontsize=5)
            for plot, (name, method_maps) in zip(row[1:], by_method.items(), strict=True):
                plot.imshow(method_maps[i], **scale_of(name, method_maps[i]))
        for plot, check in zip(grid[0, 1:], results, strict=True):
            failed = "" if check.depends_on_weights else "\nFAILS"
            plot.set_title(
                f"{check.method.replace(' ', chr(10), 1)}\nρ {check.correlation:.2f}\ndel {check.deletion:.2f}, "
                f"ins {check.insertion:.2f}{failed}",
                fontsize=5.5, color="black" if check.depends_on_weights else "#b00000",
            )  # fmt: skip
    return figure


def scale_of(name: str, values: np.ndarray) -> dict[str, Any]:
    """The colour map and its limits for a method's map (h, w): centred on zero if it is signed, else from zero."""
    largest = max(float(np.abs(values).max()), 1e-12)
    if name in SIGNED:
        return {"cmap": DIVERGING, "vmin": -largest, "vmax": largest}
    return {"cmap": SEQUENTIAL, "vmin": 0, "vmax": largest}


def checks(results: Sequence[SanityCheck]) -> Figure:
    """Left: rank correlation with the true map as layers are reinitialised from the top down. Right: areas of deletion
    and insertion against a random order, with 95 % intervals over images."""
    with matplotlib.rc_context(STYLE):
        figure, (left, right) = subplots(1, 2, figsize=(8.4, 3.4), layout="constrained")
        for i, check in enumerate(results):
            style = {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[i % len(MARKERS)], "ms": 4, "lw": 1.2}
            left.plot([1.0, *(value for _, value in check.cascade)], label=check.method, **style)
        layers = ["none", *(layer for layer, _ in results[0].cascade)]
        left.set_xticks(range(len(layers)), layers, fontsize=7)
        left.set_xlabel("reinitialised down to this layer")
        left.set_ylabel("rank correlation with the true map")
        left.axhline(SAME, color="0.6", lw=0.8, ls=":")
        left.legend(fontsize=6, ncols=2)
        y = np.arange(len(results))
        for shift, which, colour in ((-0.15, 0, COLOURS[5]), (0.15, 1, COLOURS[2])):
            pairs = [check.against_random[which] for check in results]
            middle = np.array([pair.difference for pair in pairs])
            error = [middle - [pair.low for pair in pairs], [pair.high for pair in pairs] - middle]
            name = ("deletion (lower is better)", "insertion (higher is better)")[which]
            right.errorbar(middle, y + shift, xerr=error, fmt="o", ms=4, color=colour, label=name, capsize=2)
        right.axvline(0, color="0.5", lw=0.8)
        right.set_yticks(y, [check.method for check in results], fontsize=7)
        right.invert_yaxis()
        right.set_xlabel("area minus that of a random order")
        right.legend(fontsize=6)
    return figure


def tuning(before: Tuning, after: Tuning, course: Sequence[tuple[int, float]], layer: str) -> Figure:
    """Left: tuning curves of the trained units, each with its peak shifted to zero. Middle: selectivity before and
    after training. Right: the median selectivity during training, `course` of (step, median)."""
    with matplotlib.rc_context(STYLE):
        columns = 3 if len(course) > 2 else 2
        figure, plots = subplots(1, columns, figsize=(3.0 * columns, 2.9), layout="constrained")
        n = len(after.orientations)
        angles = (np.arange(n) - n // 2) * 180.0 / n
        for curve in after.curves[np.isfinite(after.selectivity)]:
            centred = np.roll(curve, n // 2 - int(curve.argmax()))
            plots[0].plot(angles, centred / curve.max(), color=COLOURS[0], lw=0.7, alpha=0.5)
        plots[0].set_xlabel("orientation minus the preferred (degrees)")
        plots[0].set_ylabel(f"response / largest, {layer}")
        groups = [tuned.selectivity[np.isfinite(tuned.selectivity)] for tuned in (before, after)]
        jitter = np.random.default_rng(0)
        for i, values in enumerate(groups):
            plots[1].plot(i + jitter.uniform(-0.15, 0.15, len(values)), values, "o", ms=4, alpha=0.6, color=COLOURS[i])
            if len(values):
                plots[1].hlines(np.median(values), i - 0.25, i + 0.25, color="black", lw=1.5)
        plots[1].set_xticks((0, 1), [f"untrained\nn = {len(groups[0])}", f"trained\nn = {len(groups[1])}"])
        plots[1].set_ylabel("orientation selectivity")
        plots[1].set_ylim(0, 1)
        if columns == 3:
            plots[2].plot(*np.transpose(course), marker="o", ms=3, color=COLOURS[2])
            plots[2].set_xlabel("step")
            plots[2].set_ylabel("median selectivity")
    return figure


def loss_along(rates: np.ndarray, losses: np.ndarray, trained: float, title: str) -> Figure:
    """The loss, called `title`, of the untrained network after one step of gradient descent, against the learning rate.
    `trained` is the learning rate that the run used."""
    with matplotlib.rc_context(STYLE):
        figure, plot = subplots(figsize=(4.2, 3.0), layout="constrained")
        plot.plot(rates[1:], losses[1:], marker="o", ms=3, color=COLOURS[0])
        plot.axhline(losses[0], color="0.5", lw=0.8, ls="--", label="before the step")
        plot.axvline(trained, color=COLOURS[5], lw=0.8, ls=":", label="the run's learning rate")
        plot.set_xscale("log")
        if np.isfinite(losses).all() and losses.max() > 10 * losses.min():
            plot.set_yscale("log")
        plot.set_xlabel("learning rate of one step along the gradient")
        plot.set_ylabel(f"mean {title}")
        plot.legend(fontsize=7)
    return figure


def plane(xs: np.ndarray, ys: np.ndarray, losses: np.ndarray, title: str, path: Trajectory | None = None) -> Figure:
    """Contours of the loss, called `title`, on a log scale, over a plane through the trained weights; with the training
    trajectory `path` if the plane is that trajectory's."""
    with matplotlib.rc_context(PLAIN):
        figure, plot = subplots(figsize=(4.4, 3.4), layout="constrained")
        logs = np.log10(np.clip(losses, 1e-6, 1e6))
        contours = plot.contourf(xs, ys, logs, 24, cmap="viridis")
        plot.contour(xs, ys, logs, 24, colors="white", linewidths=0.3)
        figure.colorbar(contours, ax=plot, label=f"log₁₀ of the mean {title}")
        if path is None:
            plot.plot(0, 0, "*", color="white", ms=9, mec="black")
            plot.set_xlabel("first random direction, filter-normalised")
            plot.set_ylabel("second")
        else:
            plot.plot(*path.places.T, "o-", color="white", ms=3, lw=1, mec="black", mew=0.4)
            plot.plot(*path.places[-1], "*", color="white", ms=10, mec="black")
            plot.set_xlabel(f"first principal direction ({100 * path.shares[0]:.0f} % of the variance)")
            plot.set_ylabel(f"second ({100 * path.shares[1]:.0f} %)")
    return figure


def mistakes(counts: np.ndarray, names: Sequence[str]) -> Figure:
    """The confusion matrix, normalised by row, and beside it the accuracy of each class with Wilson's interval."""
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    names, n = [plain(name) for name in names], len(names)
    size = max(3.4, 0.32 * n + 1.2)
    with matplotlib.rc_context(PLAIN):
        figure, (left, right) = subplots(1, 2, figsize=(1.75 * size, size), layout="constrained", width_ratios=(3, 2))
        image = left.imshow(shares, cmap="cividis", vmin=0, vmax=1)
        if n <= 12:
            for i, j in np.ndindex(n, n):
                if counts[i, j]:
                    colour = "black" if shares[i, j] > 0.5 else "white"
                    left.text(j, i, str(counts[i, j]), ha="center", va="center", fontsize=5.5, color=colour)
        left.set_xticks(range(n), names, rotation=90, fontsize=7)
        left.set_yticks(range(n), names, fontsize=7)
        left.set_xlabel("predicted class")
        left.set_ylabel("true class")
        figure.colorbar(image, ax=left, fraction=0.046, label="share of the class")
        for i, (correct, total, interval) in enumerate(accuracy_by_class(counts)):
            if interval is not None:
                value = 100 * correct / total
                error = [[max(value - 100 * interval.low, 0)], [max(100 * interval.high - value, 0)]]
                right.errorbar(value, i, xerr=error, fmt="o", ms=4, color=COLOURS[0], capsize=2)
        right.set_yticks(range(n), names, fontsize=7)
        right.invert_yaxis()
        right.grid(alpha=0.25)
        right.set_xlabel("accuracy (%), 95 % Wilson interval")
    return figure


def reliability(calibration: Calibration) -> Figure:
    """Accuracy against confidence by bin; below, the number of images in each bin."""
    bins = len(calibration.counts)
    edges = np.linspace(0, 1, bins + 1)
    with matplotlib.rc_context(STYLE):
        figure, (upper, lower) = subplots(
            2, 1, figsize=(3.6, 3.9), layout="constrained", height_ratios=(3, 1), sharex=True
        )
        upper.plot((0, 1), (0, 1), color="0.5", lw=0.8, ls="--")
        upper.plot(calibration.confidence, calibration.accuracy, "o-", ms=4, color=COLOURS[0])
        upper.set_ylabel("accuracy")
        upper.set_title(f"expected calibration error {100 * calibration.error:.2f} %, {bins} bins", fontsize=8)
        lower.bar(edges[:-1], calibration.counts, width=np.diff(edges), align="edge", color=COLOURS[4], ec="white")
        lower.set_yscale("symlog", linthresh=1)
        lower.set_ylabel("images")
        lower.set_xlabel("confidence (largest probability)")
    return figure


def gallery(images: np.ndarray, titles: Sequence[str], columns: int = 5) -> Figure:
    """Images (n, h, w, c; 0 to 1) with a line of text above each."""
    rows = max(-(-len(images) // columns), 1)
    with matplotlib.rc_context(PLAIN):
        figure, grid = subplots(
            rows, columns, figsize=(1.45 * columns, 1.5 * rows), layout="constrained", squeeze=False
        )
        for plot in grid.flat:
            plot.axis("off")
        for plot, image, title in zip(grid.flat, images, titles, strict=False):
            plot.imshow(drawable(image), cmap="gray", vmin=0, vmax=1)
            plot.set_title(plain(title), fontsize=5.5)
    return figure
