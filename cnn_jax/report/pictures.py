"""Figures that consist of images: filters, units, activation maps, attributions.

Each function takes arrays and returns a figure; the same arrays are saved beside it as NPZ.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cnn_jax.insight.checks import SIGNED, SanityCheck
from cnn_jax.report.figures import STYLE, plain, subplots

PLAIN = STYLE | {"axes.grid": False}
DIVERGING, SEQUENTIAL = "RdBu_r", "inferno"


def stretched(values: np.ndarray) -> np.ndarray:
    """Scales values symmetrically around zero to 0..1: zero becomes 0.5, the largest magnitude 0 or 1."""
    largest = float(np.abs(values).max())
    return 0.5 + 0.5 * values / largest if largest > 0 else np.full_like(values, 0.5)


def painted(values: np.ndarray, cmap: str, vmin: float, vmax: float) -> np.ndarray:
    """An array (h, w) as colours (h, w, 3) of a matplotlib colour map that goes from `vmin` to `vmax`."""
    scaled = (values - vmin) / (vmax - vmin if vmax > vmin else 1.0)
    return colormaps[cmap](np.clip(scaled, 0, 1))[..., :3]


def opaque(image: np.ndarray) -> np.ndarray:
    """An image (h, w, 1 or 3; 0 to 1) as (h, w, 4), red, green, blue and alpha 1."""
    height, width, _ = image.shape
    colours = np.broadcast_to(np.clip(np.nan_to_num(image), 0, 1), (height, width, 3))
    return np.concatenate([colours, np.ones((height, width, 1))], axis=2)


def tiles(images: np.ndarray, columns: int, gap: int = 1) -> np.ndarray:
    """Images (n, h, w, 1 or 3; 0 to 1) tiled in rows of `columns`, transparent between them: (height, width, 4)."""
    n, height, width, _ = images.shape
    rows = -(-n // columns)
    sheet = np.zeros((rows * (height + gap) - gap, columns * (width + gap) - gap, 4))
    for i, image in enumerate(images):
        y, x = i // columns * (height + gap), i % columns * (width + gap)
        sheet[y : y + height, x : x + width] = opaque(image)
    return sheet


def mosaic(
    rows: Sequence[Sequence[np.ndarray | None]], names: Sequence[str], titles: Sequence[str] = (), cell: float = 0.6,
    pitch: float = 1.0, size: float = 7.0,
) -> tuple[Figure, Axes]:  # fmt: skip
    """Images (h, w, 1 or 3; 0 to 1) in rows, None leaving a place empty, with the rows' names on the left and the
    columns' titles above, in one plot: column j begins at x = j, row i at y = `pitch` · i.

    Args:
        rows: the images.
        names, titles: of rows and columns.
        cell: the width of a column in inches.
        pitch: the distance of rows in widths of a column.
        size: of the letters, in points.
    """
    columns = max(map(len, rows))
    with matplotlib.rc_context(PLAIN):
        left = 0.15 + 0.075 * max((len(line) for name in names for line in name.split("\n")), default=0) * size / 9
        above = 0.1 + 0.16 * max((title.count("\n") + 1 for title in titles), default=0) * size / 9
        figure, plot = subplots(figsize=(left + cell * columns, above + cell * pitch * len(rows)), layout="constrained")
        for i, row in enumerate(rows):
            strip, filled = _side_by_side(row)
            plot.imshow(strip, extent=(0, len(row), pitch * i + filled, pitch * i), interpolation="none")
        plot.set(xlim=(-0.05, columns), ylim=(pitch * len(rows), min(0.95 - pitch, -0.05)), aspect="equal")
        plot.set_yticks([pitch * i + 0.45 for i in range(len(names))], map(plain, names), fontsize=size)
        plot.set_xticks([j + 0.45 for j in range(len(titles))], titles, fontsize=size)
        plot.tick_params(length=0, labelbottom=False, labeltop=True)
        plot.spines[:].set_visible(False)
    return figure, plot


def _side_by_side(row: Sequence[np.ndarray | None]) -> tuple[np.ndarray, float]:
    """Images in squares as large as the largest, transparent around and between them: (side, width, 4); and the share
    of its place that a square fills, about 0.9."""
    largest = max(max(image.shape[:2]) for image in row if image is not None)
    times = -(-9 // largest)  # so that a ninth is a pixel
    row = [None if image is None else image.repeat(times, 0).repeat(times, 1) for image in row]
    side = largest * times
    place = side + max(round(side / 9), 1)
    strip = np.zeros((side, place * len(row), 4))
    for j, image in enumerate(row):
        if image is not None:
            height, width = image.shape[:2]
            y, x = (side - height) // 2, place * j + (side - width) // 2
            strip[y : y + height, x : x + width] = opaque(image)
    return strip, side / place


def filters(kernels: np.ndarray) -> Figure:
    """First-layer filters (n, h, w, c), -1 to 1, each in the row and column whose numbers sum to its own. Three
    channels are shown as RGB, one channel in red (positive) and blue; for any other number the channels of a filter are
    shown side by side."""
    if kernels.shape[-1] not in (1, 3):
        kernels = np.concatenate(np.split(kernels, kernels.shape[-1], -1), 2)
    grey = kernels.shape[-1] == 1
    columns = min(len(kernels), 16 if grey else 12)
    pictures = [painted(k[..., 0], DIVERGING, -1, 1) if grey else 0.5 + 0.5 * k for k in kernels]
    rows = [pictures[i : i + columns] for i in range(0, len(pictures), columns)]
    figure, plot = mosaic(rows, [str(columns * i) for i in range(len(rows))], list(map(str, range(columns))))
    if grey:
        with matplotlib.rc_context(PLAIN):
            scale = matplotlib.cm.ScalarMappable(matplotlib.colors.Normalize(-1, 1), DIVERGING)
            bar = figure.colorbar(scale, ax=plot, ticks=(-1, 0, 1), pad=0.02, aspect=8)
            bar.set_label("weight / largest", fontsize=7)
            bar.ax.tick_params(labelsize=7)
    return figure


def units(synthesis: np.ndarray, patches: np.ndarray, projections: np.ndarray | None, names: Sequence[int]) -> Figure:
    """A row for each unit: its synthetic image (u, h, w, c), its strongest patches (u, n, h, w, c) and, if any, their
    deconvnet projections (the same shape), all 0 to 1."""
    count = patches.shape[1]
    rows: list[list[np.ndarray | None]] = [[image, None, *own] for image, own in zip(synthesis, patches, strict=True)]
    titles = ["synthetic", "", *[""] * count]
    titles[2 + count // 2] = "strongest patches"
    if projections is not None:
        rows = [[*row, None, *own] for row, own in zip(rows, projections, strict=True)]
        titles += ["", *[""] * count]
        titles[3 + count + count // 2] = "their deconvnet"
    return mosaic(rows, list(map(str, names)), titles, cell=0.36)[0]


def maps(by_layer: Mapping[str, np.ndarray], image: np.ndarray, most: int = 12) -> Figure:
    """The activation maps of one image: a row for each layer (h, w, channels) with its first `most` channels; each
    layer has its own scale."""
    rows: list[list[np.ndarray | None]] = []
    for activations in by_layer.values():
        largest = max(float(np.abs(activations).max()), 1e-12)
        channels = np.moveaxis(activations, -1, 0)[:most]
        rows.append([None if rows else image, *(painted(one, DIVERGING, -largest, largest) for one in channels)])
    return mosaic(rows, list(by_layer))[0]


def attributions(
    images: np.ndarray, by_method: Mapping[str, np.ndarray], titles: Sequence[str], results: Sequence[SanityCheck]
) -> Figure:
    """A row for each image (n, h, w, c; 0 to 1), a column for each method's maps (n, h, w); signed maps in red (for the
    class) and blue. Each column is headed by the method's name and the numbers of its sanity check."""
    rows = [
        [image, *(painted(of_all[i], **scale_of(name, of_all[i])) for name, of_all in by_method.items())]
        for i, image in enumerate(images)
    ]
    heads = [
        f"{check.method.replace(' ', chr(10), 1)}\nρ {check.correlation:.2f}\ndel {check.deletion:.2f}\nins "
        f"{check.insertion:.2f}{'' if check.depends_on_weights else chr(10) + 'FAILS'}"
        for check in results
    ]
    names = [title.replace(" (", "\n(", 1).replace(": ", "\n", 1) for title in titles]
    figure, plot = mosaic(rows, names, ["", *heads], cell=0.8, size=6.0)
    for label, check in zip(plot.get_xticklabels()[1:], results, strict=True):
        if not check.depends_on_weights:
            label.set_color("#c62828")
    return figure


def scale_of(name: str, values: np.ndarray) -> dict[str, Any]:
    """The colour map and its limits for a method's map (h, w): centred on zero if it is signed, else from zero."""
    largest = max(float(np.abs(values).max()), 1e-12)
    if name in SIGNED:
        return {"cmap": DIVERGING, "vmin": -largest, "vmax": largest}
    return {"cmap": SEQUENTIAL, "vmin": 0, "vmax": largest}


def gallery(images: np.ndarray, titles: Sequence[str], columns: int = 5) -> Figure:
    """Images (n, h, w, c; 0 to 1) with two lines of text above each."""
    rows = [list(images[i : i + columns]) for i in range(0, len(images), columns)]
    figure, plot = mosaic(rows, [], cell=1.4, pitch=1.3)
    for i, title in enumerate(titles):
        x, y = i % columns + 0.45, 1.3 * (i // columns) - 0.03
        plot.text(x, y, plain(title), fontsize=6.5, ha="center", va="bottom")
    return figure
