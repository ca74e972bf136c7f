"""Are more filters better, and what do they cost?

The guide: the more filters, the deeper the activation map and the more is known of the image.

    scripts/run experiments/guide/filter_count.py --data-dir DIR    # two CPU cores, about two minutes

Four to 64 filters in the first layer, twice as many in the second, each width at the better of two learning rates.
Expected: accuracy grows and flattens; parameters and time grow faster, n = 8 seeds.
"""

import statistics
from typing import Any

import matplotlib
import numpy as np

from cnn_jax.cli.study import main
from cnn_jax.report import figures
from cnn_jax.statistics import median
from cnn_jax.study import Finding, Question, Study, percentages

QUESTION = Question("filter_count", "Do 64 filters give a better accuracy than four?")
WIDTHS = (4, 8, 16, 32, 64)
FIELDS: dict[str, Any] = {
    "network": "conv3-4:same relu max2 conv3-8:same relu max2 dense-64 relu dense-10",
    "train_examples": 2000, "validation": 2000, "epochs": 4, "batch_size": 64,
}  # fmt: skip


def investigate(study: Study) -> Finding:
    widths = WIDTHS[:2] if study.quick else WIDTHS
    found = {
        w: study.sweep(f"filters-{w}", {"learning_rate": (0.01, 0.03)}, filters=w, parallel="one", **FIELDS)
        for w in widths
    }
    accuracy = {w: [percentages(outcome)[seed] for seed in study.seeds] for w, outcome in found.items()}
    seconds = {}
    for width, outcome in found.items():
        assert outcome.table is not None
        seconds[width] = statistics.median(row.seconds for row in outcome.table.rows if row.status == "complete")
    study.write(
        "seeds",
        [
            {"filters": w, "seed": s, "test_accuracy": x, "parameters": found[w].parameters, "seconds": seconds[w]}
            for w, values in accuracy.items()
            for s, x in zip(study.seeds, values, strict=True)
        ],
    )
    draw(study, accuracy, {w: outcome.parameters for w, outcome in found.items()}, seconds)
    more = {
        "median": {str(w): median(values) for w, values in accuracy.items()},
        "parameters": {str(w): outcome.parameters for w, outcome in found.items()},
        "median seconds of a trial": {str(w): x for w, x in seconds.items()},
        "learning_rate": {str(w): outcome.config.learning_rate for w, outcome in found.items()},
    }
    most, fewest = max(widths), min(widths)
    statistic = f"test accuracy, {most} filters minus {fewest}"
    chance = (found[most].at_chance, found[fewest].at_chance)
    return Finding.paired(statistic, "points", accuracy[most], accuracy[fewest], more, at_chance=chance)


def draw(
    study: Study, accuracy: dict[int, list[float | None]], parameters: dict[int, int], seconds: dict[int, float]
) -> None:
    widths = list(accuracy)
    with matplotlib.rc_context(figures.STYLE):
        figure, plots = figures.subplots(1, 3, figsize=(8.5, 2.7), layout="constrained")
        plots[0].plot(widths, np.array(list(accuracy.values()), float), ".", color=figures.COLOURS[0], ms=4, alpha=0.6)
        medians = np.array([median(values) for values in accuracy.values()], float)  # None is NaN: it is not drawn
        plots[0].plot(widths, medians, color=figures.COLOURS[0])
        plots[0].set_ylabel("%")
        plots[1].plot(widths, list(parameters.values()), "o-", ms=4, color=figures.COLOURS[1])
        plots[1].set_ylabel("w")
        plots[2].plot(widths, list(seconds.values()), "o-", ms=4, color=figures.COLOURS[2])
        plots[2].set_ylabel("s")
        for plot in plots:
            plot.set_xscale("log", base=2)
            plot.set_xticks(widths, [str(w) for w in widths])
        for plot in plots[1:]:
            plot.set_yscale("log")
    study.draw("figure", figure)


if __name__ == "__main__":
    main(QUESTION, investigate, __doc__)
