"""What do the filters of the first layer become in training?

The guide: filters begin random and become detectors of edges, curves and colours; Hubel and Wiesel found cells of the
visual cortex that answer only to edges of one orientation (hubel1962receptive).

    scripts/run experiments/guide/filters.py --data-dir DIR    # two CPU cores; its verdict says how long

Shows gratings to every unit of the first layer before and after training, on colour images, whose filters can become
colourful as well; the selectivity of a unit is |sum R exp(2i theta)| / sum R over orientations theta
(ringach2002orientation). The figure has the selectivity of random filters and of an ideal edge, between which trained
ones are to be read. Expected: training raises the mean selectivity.
"""

from typing import Any

import matplotlib
import numpy as np

from cnn_jax.cli.study import main
from cnn_jax.insight import tuning, units
from cnn_jax.network import Network
from cnn_jax.notation import parse
from cnn_jax.report import figures, pictures
from cnn_jax.runs.model import TrainedModel
from cnn_jax.study import Finding, Question, Study

QUESTION = Question(
    "filters", "Does training make first-layer filters selective for orientation?", datasets=("cifar10",),
    smallest_effect=0.02,
)  # fmt: skip
NETWORK = "conv7-16:same relu max2 conv3-32:same relu max2 dense-64 relu dense-10"


def investigate(study: Study) -> Finding:
    fields: dict[str, Any] = {"network": NETWORK, "train_examples": 20000, "epochs": 12, "keep_all": True}
    outcome = study.sweep("networks", {"learning_rate": (0.05,)}, **fields)
    networks = study.learned(outcome)
    rows = [{"seed": seed, **measured(trained)} for seed, trained in networks.items()]
    table = study.write("filters", rows)
    draw(
        study,
        next(iter(networks.values())),
        table["selectivity_untrained"].tolist(),
        table["selectivity_trained"].tolist(),
    )
    means = {name: float(table[name].mean()) for name in table.columns if name != "seed"}
    more = means | {"an ideal edge": of_an_edge(), "left out": study.left_out(outcome)}
    return study.paired(
        "mean orientation selectivity of the first layer's units, trained minus untrained", "",
        table["selectivity_trained"].tolist(), table["selectivity_untrained"].tolist(), more,
    )  # fmt: skip


def of_an_edge() -> float:
    """The selectivity of a unit whose 7x7 filter is bright on one side and dark on the other."""
    network = Network((32, 32, 1), parse("conv7-1:same:nobias relu"))
    kernel = np.tile(np.sign(np.arange(7.0) - 3), (7, 1))[..., None, None].astype(np.float32)
    return float(tuning.tuning(network, {"params": {"conv1": {"kernel": kernel}}}, ["conv1"])["conv1"].selectivity[0])


def measured(trained: TrainedModel) -> dict[str, float]:
    """Of the units that answer to gratings: their number and mean selectivity; of colour filters, how much of them is
    colour; before training and after."""
    found: dict[str, float] = {}
    untrained = trained.history()[0][1]
    for name, variables in (("untrained", untrained), ("trained", trained.variables)):
        selective = tuning.tuning(trained.network, variables, ["conv1"])["conv1"].selectivity
        answering = selective[np.isfinite(selective)]
        found[f"selectivity_{name}"] = float(answering.mean())
        found[f"units_{name}"] = len(answering)
        filters = units.first_filters(trained.network, variables)
        if filters.shape[-1] == 3:
            grey = filters.mean(-1, keepdims=True)
            found[f"colour_{name}"] = float(
                np.mean(np.square(filters - grey).sum((1, 2, 3)) / np.square(filters).sum((1, 2, 3)))
            )
    return found


def draw(study: Study, trained: TrainedModel, before: list[float], after: list[float]) -> None:
    """The filters of one network before and after, and the selectivity of all networks."""
    with matplotlib.rc_context(pictures.PLAIN):
        figure, panels = figures.subplots(1, 3, figsize=(8.5, 3.0), layout="constrained")
        history = trained.history()[0][1], trained.variables
        for plot, variables, title in zip(panels, history, ("0", "→"), strict=False):
            filters = pictures.stretched(units.first_filters(trained.network, variables))
            tiled = pictures.tiles(filters, 4)
            plot.imshow(tiled, interpolation="none")
            plot.set_title(title, fontsize=9)
            plot.axis("off")
        for a, b in zip(before, after, strict=True):
            panels[2].plot((0, 1), (a, b), "o-", color=figures.COLOURS[0], ms=4, lw=1)
        panels[2].axhline(float(np.mean(before)), color="0.5", lw=0.8, ls=":")
        panels[2].axhline(of_an_edge(), color="0.5", lw=0.8, ls="--")
        panels[2].set_xticks((0, 1), ("0", "→"))
        panels[2].set_xlim(-0.4, 1.4)
        panels[2].set_ylim(0, 1)
        panels[2].set_ylabel("|Σ R exp(2iθ)| / Σ R")
    study.draw("figure", figure)


if __name__ == "__main__":
    main(QUESTION, investigate, __doc__)
