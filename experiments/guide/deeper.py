"""Do deeper layers see more of the image, and are their units more selective for classes?

The guide: deeper filters have a larger receptive field and answer to more complex features; by the end some answer to
one kind of thing only.

    scripts/run experiments/guide/deeper.py --data-dir DIR    # two CPU cores; its verdict says how long

The selectivity of a unit for classes is (a - b) / (a + b), where a is its mean response to the class that excites it
most and b that to all others (morcos2018importance, 2.3). Receptive fields by arithmetic and as the support of a
gradient. Growth with depth means that every layer adds more than the one before: the statistic is the smaller of the
two steps, from the first to the second layer and on to the third, of what training adds. Expected: both grow with
depth.
"""

import itertools

import matplotlib
import numpy as np
import pandas as pd
from classic import classic

from cnn_jax import api
from cnn_jax.cli.study import main
from cnn_jax.insight import fields, units
from cnn_jax.report import figures
from cnn_jax.runs.model import TrainedModel
from cnn_jax.study import Finding, Question, Study

QUESTION = Question(
    "deeper",
    "Are the units of each deeper layer more selective for classes, and do they see more?",
    smallest_effect=0.02,
)
LAYERS = ("relu1", "relu2", "relu3")


def investigate(study: Study) -> Finding:
    outcome = classic(study)
    networks = study.learned(outcome)
    rows = []
    for seed, trained in networks.items():
        split = api.load_data(trained.config).validation
        images, labels = split.images[:2000], split.labels[:2000]
        for state, variables in (("untrained", trained.history()[0][1]), ("trained", trained.variables)):
            found = selectivities(trained, variables, images, labels)
            rows += [{"seed": seed, "state": state, "layer": layer, "selectivity": x} for layer, x in found.items()]
    table = study.write("selectivity", rows)
    first = next(iter(networks.values()))
    seen = fields.receptive_fields(
        first.network, first.variables, first.normalise(api.load_data(first.config).validation.images[:64])
    )
    grown = {one.layer: one for one in seen if one.layer in LAYERS}
    study.write("receptive_fields", [
        {"layer": one.layer, "closed_form": one.size[0], "support": one.support[0][1] - one.support[0][0],
         "effective": one.effective} for one in seen
    ])  # fmt: skip
    draw(study, table, {layer: one.size[0] for layer, one in grown.items()})
    more = {
        "receptive_field": {layer: one.size[0] for layer, one in grown.items()},
        "effective": {layer: one.effective for layer, one in grown.items()},
        "selectivity": table.groupby(["state", "layer"])["selectivity"].mean().unstack().to_dict("index"),
        "left out": study.left_out(outcome),
    }
    return smallest_step(study, "class selectivity", "", gains(table, "selectivity"), more)


def smallest_step(study: Study, what: str, unit: str, added: pd.DataFrame, more: dict) -> Finding:
    """The finding on whether every layer adds more than the one before it; `added` has a column for each layer."""
    steps = [added[b] - added[a] for a, b in itertools.pairwise(LAYERS)]
    for (a, b), step in zip(itertools.pairwise(LAYERS), steps, strict=True):
        found = study.paired("", unit, step.tolist(), [0.0] * len(step))
        more[f"what training adds, {b} minus {a}"] = [found.effect, found.low, found.high]
    least = np.minimum(*steps).tolist()
    return study.paired(
        f"mean {what}, smallest step of what training adds from layer to layer", unit, least, [0.0] * len(least), more
    )


def gains(table: pd.DataFrame, value: str) -> pd.DataFrame:
    """What training adds: trained minus untrained, a row for each seed and a column for each layer."""
    states = {state: rows.pivot(index="seed", columns="layer", values=value) for state, rows in table.groupby("state")}
    return states["trained"] - states["untrained"]


def selectivities(trained: TrainedModel, variables, images: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """The mean over the units of each layer; a unit that never answers counts for nothing."""
    responses = units.mean_responses(trained.network, variables, trained.normalise(images), LAYERS)
    classes = np.unique(labels)
    found = {}
    for layer in LAYERS:
        of = responses[layer]
        means = np.stack([of[labels == c].mean(0) for c in classes])
        best = means.max(0)
        others = (means.sum(0) - best) / (len(classes) - 1)
        alive = best > 0
        found[layer] = float(((best - others)[alive] / (best + others)[alive]).mean())
    return found


def draw(study: Study, table, sizes: dict[str, int]) -> None:
    with matplotlib.rc_context(figures.STYLE):
        figure, plot = figures.subplots(figsize=(3.8, 3.0), layout="constrained")
        for i, (_, rows) in enumerate(table.groupby("state", sort=False)):
            for _, one in rows.groupby("seed"):
                one = one.set_index("layer").loc[list(sizes)]
                style = {"color": figures.COLOURS[i], "marker": figures.MARKERS[i], "ms": 3, "lw": 0.8}
                plot.plot(list(sizes.values()), one["selectivity"], **style)
        plot.set_xticks(
            list(sizes.values()), [f"{size} x {size}\n{layer}" for layer, size in sizes.items()], fontsize=8
        )
        plot.set_ylabel("(a − b) / (a + b)")
        plot.set_title("○ 0, □ →", fontsize=8)
    study.draw("figure", figure)


if __name__ == "__main__":
    main(QUESTION, investigate, __doc__)
