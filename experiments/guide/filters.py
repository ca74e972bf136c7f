"""What do the filters of the first layer become in training?

The guide: filters begin random and become detectors of edges, curves and colours; Hubel and Wiesel found cells of the
visual cortex that answer only to edges of one orientation (hubel1962receptive).

    scripts/run experiments/guide/filters.py --data-dir DIR    # two CPU cores, under a minute
    scripts/run experiments/guide/filters.py --dataset FOLDER|ZIP    # colour images: also how colourful filters are

Shows gratings to every unit of the first layer before and after training; the selectivity of a unit is
|sum R exp(2i theta)| / sum R over orientations theta (ringach2002orientation). Expected: training raises the mean
selectivity, n = 8 networks.
"""

from typing import Any

import matplotlib
import numpy as np

from cnn_jax.cli.study import main
from cnn_jax.insight import tuning, units
from cnn_jax.report import figures, plots
from cnn_jax.runs.model import TrainedModel
from cnn_jax.study import Finding, Question, Study

QUESTION = Question("filters", "Does training make first-layer filters selective for orientation?")
NETWORK = "conv7-16:same relu max2 conv3-32:same relu max2 dense-64 relu dense-10"


def investigate(study: Study) -> Finding:
    fields: dict[str, Any] = {"network": NETWORK, "train_examples": 12000, "epochs": 5}
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
    more = means | {"left out": study.left_out(outcome)}
    return Finding.paired(
        "mean orientation selectivity of the first layer's units, trained minus untrained", "",
        table["selectivity_trained"].tolist(), table["selectivity_untrained"].tolist(), more,
    )  # fmt: skip


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
    with matplotlib.rc_context(plots.PLAIN):
        figure, panels = figures.subplots(1, 3, figsize=(8.5, 3.0), layout="constrained")
        history = trained.history()[0][1], trained.variables
        for plot, variables, title in zip(panels, history, ("0", "→"), strict=False):
            filters = plots.stretched(units.first_filters(trained.network, variables))
            tiled = plots.tiles(filters, 4)
            plot.imshow(plots.drawable(tiled), cmap="gray", vmin=0, vmax=1)
            plot.set_title(title, fontsize=9)
            plot.axis("off")
        for a, b in zip(before, after, strict=True):
            panels[2].plot((0, 1), (a, b), "o-", color=figures.COLOURS[0], ms=4, lw=1)
        panels[2].set_xticks((0, 1), ("0", "→"))
        panels[2].set_xlim(-0.4, 1.4)
        panels[2].set_ylim(0, 1)
        panels[2].set_ylabel("|Σ R exp(2iθ)| / Σ R")
    study.draw("figure", figure)


if __name__ == "__main__":
    main(QUESTION, investigate, __doc__)
