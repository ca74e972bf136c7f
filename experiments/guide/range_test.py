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
from cnn_jax.lab.study import SMALL, Finding, Question, Study
from cnn_jax.report import figures
from cnn_jax.runs.folder import Folder

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
    ranged = study.sweep("range", None, **short)
    assert ranged.table is not None
    courses = [Folder(ranged.folder.path / "trials" / f"{i:04d}").metrics() for i in range(len(study.seeds))]
    lowest = [
        min(course, key=lambda line: line["train_loss"] if line["train_loss"] is not None else np.inf)
        for course in courses
    ]
    suggestion = float(f"{np.median([line['learning_rate'] for line in lowest]) / 3:.2g}")
    grid = study.sweep("grid", {"learning_rate": (0.01, 0.03, 0.1, 0.3)}, **SMALL)
    single = study.sweep("suggestion", {"learning_rate": (suggestion,)}, **SMALL)
    a, b = ([100 * x for x in one.by_seed("test.accuracy").values()] for one in (single, grid))
    study.write("seeds", [{"seed": s, "suggestion": x, "grid": y} for s, x, y in zip(study.seeds, a, b, strict=True)])
    draw(study, courses, suggestion)
    more = {"suggestion": suggestion, "best of the grid": grid.config.learning_rate}
    return Finding.paired("test accuracy, suggestion minus best of the grid", "points", a, b, more, above=-MARGIN)


def draw(study: Study, courses: list[list[dict]], suggestion: float) -> None:
    with matplotlib.rc_context(figures.STYLE):
        figure, plot = figures.subplots(figsize=(4.2, 3.0), layout="constrained")
        for course in courses:
            rates, found = ([line[name] for line in course] for name in ("learning_rate", "train_loss"))
            plot.plot(rates, [np.nan if x is None else x for x in found], color=figures.COLOURS[0], lw=0.8)
        plot.axvline(suggestion, color=figures.COLOURS[5], lw=1.2, ls="--")
        plot.set_xlabel("η")
        plot.set_ylabel("L")
        plot.set_yscale("log")
    study.draw("figure", figure)


if __name__ == "__main__":
    main(QUESTION, investigate, __doc__)
