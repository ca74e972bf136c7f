"""Draws the pictures of the documentation: networks beside their notation, and what `see` shows of a trained one.

scripts/run scripts/pictures.py    writes docs/pictures; a minute on two CPU cores, no download
"""

import shutil
import tempfile
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, Rectangle

from cnn_jax import api
from cnn_jax.cli import common
from cnn_jax.network import Network
from cnn_jax.nodes import Node
from cnn_jax.report import figures, saving
from cnn_jax.report.inspect import Request
from cnn_jax.training.config import Config
from cnn_jax.zoo import build

PICTURES = Path(__file__).resolve().parent.parent / "docs" / "pictures"
NETWORKS = {
    "lenet5": ("lenet5", (32, 32, 1)),
    "residual": ("conv3-16:same relu res( conv3-32/2:same relu conv3-32:same ):proj relu gap dense-10", (32, 32, 3)),
}
SHOWN = (*NETWORKS, "attributions", "calibration", "filters", "units-conv1")


def height_of(shape: tuple[int, ...], largest: int) -> float:
    """Of the box of an activation: by its image, at least a tenth of the largest."""
    return max(shape[0] / largest, 0.1) if len(shape) == 3 else 0.55


def width_of(shape: tuple[int, ...]) -> float:
    """Of the box of an activation: by the cube root of its channels."""
    return 0.12 * shape[-1] ** (1 / 3)


def draw_nodes(axes: Axes, nodes: tuple[Node, ...], x: float, y: float, largest: int, colour: str) -> float:
    """Draws the outputs of `nodes` from left to right, the token of each below; returns where they end."""
    for node in nodes:
        if node.body:
            x = draw_residual(axes, node, x, y, largest)
            continue
        height, width = height_of(node.output, largest), width_of(node.output)
        axes.add_patch(Rectangle((x, y - height / 2), width, height, facecolor=colour, edgecolor="0.2", lw=0.8))
        axes.text(x + width / 2, y - 0.62, repr(node.layer), rotation=90, ha="center", va="top", family="monospace")
        axes.text(x + width / 2, y + 0.58, "x".join(map(str, node.output)), rotation=90, ha="center", va="bottom")
        x += max(width, 0.16) + 0.17
    return x


def draw_residual(axes: Axes, node: Node, x: float, y: float, largest: int) -> float:
    """A residual block: its body, and the shortcut as an arc above."""
    end = draw_nodes(axes, node.body, x, y, largest, figures.COLOURS[1])
    top = y + 1.35
    for start, stop in (((x - 0.09, y), (x - 0.09, top)), ((x - 0.09, top), (end - 0.09, top))):
        axes.plot(*zip(start, stop, strict=True), color="0.2", lw=1)
    axes.add_patch(FancyArrowPatch((end - 0.09, top), (end - 0.09, y), arrowstyle="-|>", mutation_scale=9, color="0.2"))
    label = " ".join(repr(part.layer) for part in node.projection) or "unchanged"
    axes.text((x + end) / 2 - 0.09, top + 0.04, f"shortcut: {label}", ha="center", va="bottom", family="monospace")
    return end


def draw(network: Network, stem: Path) -> None:
    """The activations of a network as boxes, each with its shape above and the token that makes it below."""
    with matplotlib.rc_context({**figures.STYLE, "font.size": 7}):
        figure, axes = figures.subplots(figsize=(6.4, 2.9), layout="constrained")
        height, largest = height_of(network.input_shape, network.input_shape[0]), network.input_shape[0]
        axes.add_patch(Rectangle((0, -height / 2), 0.08, height, facecolor="0.85", edgecolor="0.2", lw=0.8))
        axes.text(0.04, 0.58, "x".join(map(str, network.input_shape)), rotation=90, ha="center", va="bottom")
        axes.text(0.04, -0.62, "input", rotation=90, ha="center", va="top", family="monospace")
        end = draw_nodes(axes, network.nodes, 0.3, 0.0, largest, figures.COLOURS[0])
        axes.set(xlim=(-0.1, end), ylim=(-1.8, 1.7 if any(node.body for node in network.nodes) else 1.2))
        axes.axis("off")
        saving.save(figure, stem)


def command(_arguments: object) -> None:
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "seen").mkdir()
        for name, (text, shape) in NETWORKS.items():
            draw(build(text, shape, 10), Path(folder) / "seen" / name)
        config = Config(network="conv5-16:same relu max2 conv3-32:same relu max2 dense-classes")
        run = api.train(config, Path(folder) / "run")
        api.see(run.path, Request((), 4), Path(folder) / "seen")
        for picture in sorted((Path(folder) / "seen").glob("*.png")):
            if picture.stem in SHOWN:
                shutil.copyfile(picture, PICTURES / picture.name)


if __name__ == "__main__":
    common.main(command)
