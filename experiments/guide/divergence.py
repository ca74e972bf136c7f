"""Where does training diverge, and does that depend on the width?

The guide: a learning rate that is too high makes jumps that are too large.

    scripts/run experiments/guide/divergence.py --data-dir DIR    # two CPU cores, under a minute

For each width and seed the lowest rate of a grid in steps of two at which a run diverges: its loss becomes infinite, or
its mean over the epoch is no lower than that of the best constant answer. The statistic is the slope of log2(that rate)
over log2(width), of each seed. Rule: supported if its 95 % t interval lies below 0, not supported if above. Expected:
wider networks diverge at lower rates, n = 8 seeds.
"""

from typing import Any

import matplotlib
import numpy as np
import pandas as pd

from cnn_jax.cli.study import main
from cnn_jax.lab.study import SMALL, Finding, Question, Study
from cnn_jax.report import figures

QUESTION = Question(
    "divergence", "Does a wider network diverge at a lower learning rate?",
    "supported if the 95 % t interval of the slope lies below 0; not supported if it lies above 0; else inconclusive, "
    "as below 6 seeds",
)  # fmt: skip
RATES = (0.025, 0.05, 0.1, 0.2, 0.4)
WIDTHS = (4, 8, 16, 32)


def investigate(study: Study) -> Finding:
    fields: dict[str, Any] = {**SMALL, "train_examples": 3000, "epochs": 1}
    outcome = study.sweep("sweep", {"filters": WIDTHS, "learning_rate": RATES}, **fields)
    assert outcome.table is not None
    trials, grid = outcome.table.trials, outcome.table.grid
    beyond = 2 * max(grid.axes["learning_rate"])  # where none of the grid diverges, the next is taken
    rows = []
    for (width, seed), one in trials.groupby(["filters", "seed"]):
        died = one[one["status"] == "diverged"]["learning_rate"]
        rows.append(
            {"filters": int(width), "seed": int(seed), "diverges_at": float(died.min()) if len(died) else beyond}
        )
    table = study.write("thresholds", rows)
    slopes = [
        float(np.polyfit(np.log2(one["filters"]), np.log2(one["diverges_at"]), 1)[0])
        for _, one in table.groupby("seed")
    ]
    draw(study, table, trials)
    thresholds = table.groupby("filters")["diverges_at"].median()
    more = {"median of the lowest diverging rate": {str(width): float(x) for width, x in thresholds.items()}}
    statistic = "minus the slope of log2(lowest diverging rate) over log2(width)"
    return Finding.paired(statistic, "", [-x for x in slopes], [0.0] * len(slopes), more)


def draw(study: Study, table: pd.DataFrame, trials: pd.DataFrame) -> None:
    died = trials.assign(died=trials["status"] == "diverged")
    share = died.pivot_table("died", "learning_rate", "filters", aggfunc="mean")
    with matplotlib.rc_context(figures.STYLE | {"axes.grid": False}):
        figure, plot = figures.subplots(figsize=(4.0, 3.0), layout="constrained")
        image = plot.imshow(share.to_numpy(), origin="lower", cmap="cividis", vmin=0, vmax=1, aspect="auto")
        plot.set_xticks(range(share.shape[1]), [f"{w:g}" for w in share.columns])
        plot.set_yticks(range(share.shape[0]), [f"{r:g}" for r in share.index])
        plot.set_ylabel("η")
        plot.set_xlabel("×")
        figure.colorbar(image, ax=plot, label="∞ / n")
    study.draw("figure", figure)


if __name__ == "__main__":
    main(QUESTION, investigate, __doc__)
