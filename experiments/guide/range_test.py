"""Does one short run with a rising learning rate find a good one?

The guide: the learning rate is chosen by the programmer. Here by the range test of smith2017cyclical (3.3): the rate
rises linearly over one run; the one at which the loss is lowest is an upper bound, a third of it the suggestion.

    scripts/run experiments/guide/range_test.py --data-dir DIR    # two CPU cores, under a minute

Rule: supported if training with the suggestion is at most one point worse than with the best of a grid, by the 95 % t
interval. Expected: supported, n = 8 seeds.
"""

from typing import Any

import matplotlib
import numpy as np

from cnn_jax.cli.study import main
from cnn_jax.metrics import EpochMetrics
from cnn_jax.report import figures
from cnn_jax.runs.reader import Trial
from cnn_jax.runs.sweeps import trial_folder
from cnn_jax.study import SMALL, Finding, Question, Study, percentages

MARGIN = 1.0  # points
QUESTION = Question(
    "range_test", "Is the rate that a range test suggests as good as the best of a grid?",
    "supported if the 95 % t interval of the difference, paired by seed, lies above -1 point; not supported if it lies "
    "below -1 point; else inconclusive, as below 6 seeds",
)  # fmt: skip
HIGHEST, STEPS = 1.0, 40  # short epochs, so that the loss is known at as many rates


def investigate(study: Study) -> Finding:
    short: dict[str, Any] = {
        **SMALL,
        "train_examples": 640,
        "epochs": STEPS,
        "warmup_epochs": float(STEPS),
        "learning_rate": HIGHEST,
    }
    if study.quick:
        short |= {"warmup_epochs": 1.0}
    ranged = study.trials("range", None, **short)
    courses = [Trial.open(trial_folder(ranged.folder, row.trial).path).history for row in ranged.table.rows]
    courses = [course for course in courses if course]  # a run that diverged has those epochs that it finished
    lowest = [min(course, key=lambda metrics: metrics.train.loss) for course in courses]
    suggestion = float(f"{np.median([metrics.learning_rate for metrics in lowest]) / 3:.2g}")
    grid = study.sweep("grid", {"learning_rate": (0.01, 0.03, 0.1, 0.3)}, **SMALL)
    single = study.sweep("suggestion", {"learning_rate": (suggestion,)}, **SMALL)
    a, b = ([percentages(outcome)[seed] for seed in study.seeds] for outcome in (single, grid))
    study.write("seeds", [{"seed": s, "suggestion": x, "grid": y} for s, x, y in zip(study.seeds, a, b, strict=True)])
    draw(study, courses, suggestion)
    more = {"suggestion": suggestion, "best of the grid": grid.config.learning_rate}
    chance = (single.at_chance, grid.at_chance)
    statistic = "test accuracy, suggestion minus best of the grid"
    return Finding.paired(statistic, "points", a, b, more, above=-MARGIN, at_chance=chance)


def draw(study: Study, courses: list[list[EpochMetrics]], suggestion: float) -> None:
    with matplotlib.rc_context(figures.STYLE):
        figure, plot = figures.subplots(figsize=(4.2, 3.0), layout="constrained")
        for course in courses:
            rates, losses = zip(*((metrics.learning_rate, metrics.train.loss) for metrics in course), strict=True)
            plot.plot(rates, losses, color=figures.COLOURS[0], lw=0.8)
        plot.axvline(suggestion, color=figures.COLOURS[5], lw=1.2, ls="--")
        plot.set_xlabel("η")
        plot.set_ylabel("L")
        plot.set_yscale("log")
    study.draw("figure", figure)


if __name__ == "__main__":
    main(QUESTION, investigate, __doc__)
