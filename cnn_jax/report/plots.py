"""Figures of what a network has learned: checks of attributions, tuning, loss surfaces, curvature, mistakes.

Each function takes arrays and returns a figure; the same arrays are saved beside it as NPZ.
"""

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from cnn_jax.insight.checks import SAME, SanityCheck
from cnn_jax.insight.landscape import Trajectory
from cnn_jax.insight.mistakes import Calibration, accuracy_by_class
from cnn_jax.insight.tuning import Tuning
from cnn_jax.report.figures import COLOURS, DARK, MARKERS, STYLE, plain, subplots
from cnn_jax.report.pictures import PLAIN


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
        left.set_ylim(min(0.0, *(value for check in results for _, value in check.cascade)) - 0.03, 1.03)
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
            plots[2].set_ylim(0, 1)
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
            plot.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            plot.yaxis.set_major_formatter("{x:g}")
            plot.yaxis.set_minor_formatter("")
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
        plot.contour(xs, ys, logs, contours.levels, colors="white", linewidths=0.3)
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


def curvature(
    steps: Sequence[int], eigenvalues: np.ndarray, sharpness: np.ndarray, adaptive: np.ndarray, noise: np.ndarray
) -> Figure:
    """The largest eigenvalue, both sharpnesses and the noise scale (infinite or unknown ones are left out) by step."""
    with matplotlib.rc_context(STYLE):
        figure, (left, middle, right) = subplots(1, 3, figsize=(9.0, 2.8), layout="constrained")
        left.plot(steps, eigenvalues, "o-", ms=4, color=COLOURS[0])
        left.set_ylabel("largest eigenvalue\nof the Hessian")
        left.set_ylim(bottom=min(0.0, float(eigenvalues.min())))
        middle.plot(steps, sharpness, "o-", ms=4, color=COLOURS[0], label="plain")
        middle.plot(steps, adaptive, "s-", ms=4, color=COLOURS[1], label="adaptive")
        middle.set_ylabel("sharpness")
        middle.set_ylim(bottom=min(0.0, float(sharpness.min()), float(adaptive.min())))
        middle.legend(fontsize=7)
        known = np.isfinite(noise) & (noise > 0)
        right.plot(np.array(steps)[known], noise[known], "o-", ms=4, color=COLOURS[2])
        right.set_ylabel("noise scale of the\ngradient (images)")
        if known.any():
            right.set_yscale("log")
        for plot in (left, middle, right):
            plot.set_xlabel("step")
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
                    colour = DARK if shares[i, j] > 0.5 else "white"
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
