"""Figures of your own on the inspection page."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jax import Array

from cnn_jax.errors import RunError, reason
from cnn_jax.network import Network
from cnn_jax.registry import Registry

if TYPE_CHECKING:  # so that registering a part does not import matplotlib
    from matplotlib.figure import Figure

    from cnn_jax.report.inspect.figure_writer import FigureWriter
    from cnn_jax.report.inspect.inspection import Inspection

Draw = Callable[[Network, Mapping[str, Any], Array], "Figure"]


@dataclass(frozen=True)
class RegisteredFigure:
    """A function that draws a figure, and its caption."""

    draw: Draw
    caption: str


FIGURES: Registry[RegisteredFigure] = Registry("figure")
FIGURES.seal()  # none is built in


def register_figure(name: str, caption: str) -> Callable[[Draw], Draw]:
    """Registers a figure of every inspection page: a function of a network, its variables and the images to explain,
    normalised, (n, height, width, channels), that returns a matplotlib figure. `caption` is printed below it.

    The figure is written to `figure-NAME.png`, `.pdf` and `.svg`.
    """

    def add(draw: Draw) -> Draw:
        FIGURES.add(name, RegisteredFigure(draw, caption))
        return draw

    return add


def registered_figures(inspection: "Inspection", writer: "FigureWriter") -> None:
    """Draws the registered figures. Raises RunError with the name of a figure that fails."""
    for name, figure in FIGURES.items():
        try:
            drawn = figure.draw(inspection.network, inspection.variables, inspection.images)
        except Exception as error:  # of any type: the code is not ours
            raise RunError(f"figure {name} failed: {type(error).__name__}: {reason(error)}") from error
        writer.draw("Your figures", f"figure-{name}", figure.caption, lambda drawn=drawn: drawn)  # type: ignore[misc]
