"""Where does training fail, and does that depend on the width?

The guide: a learning rate that is too high makes jumps that are too large.

    scripts/run experiments/guide/divergence.py --data-dir DIR    # two CPU cores; its verdict says how long

For each width and seed the lowest rate of a grid in steps of two at which a run fails: it diverges (a non-finite loss
or weight) or ends at chance (no better than the class frequencies); the table has the two apart. The statistic is the
slope of log2(that rate) over log2(width), of each seed. Rule: supported if its 95 % t interval lies below 0, not
supported if above. Expected: wider networks fail at lower rates.
"""

from typing import Any

import matplotlib
import numpy as np
import pandas as pd

from cnn_jax.cli.study import main
from cnn_jax.report import figures
from cnn_jax.study import SMALL, Finding, Question, Study

QUESTION = Question(
    "divergence", "Does training of a wider network fail at a lower learning rate?",
    "a run fails if it diverges (a non-finite loss or weight) or ends at chance; supported if the 95 % t interval of "
    "the slope of the lowest failing rate over the width lies below 0; contradicted if it lies above 0; else "
    "undecided, as below 6 seeds", smallest_effect=None,
)  # fmt: skip
RATES = tuple(0.0125 * 2.0**i for i in range(10))
WIDTHS = (4, 8, 16, 32)


def investigate(study: Study) -> Finding:
    fields: dict[str, Any] = {**SMALL, "train_examples": 3000, "epochs": 1, "select": "final"}
    table = study.trials("sweep", {"filters": WIDTHS, "learning_rate": RATES}, **fields).table
    trials = study.write(
        "trials",
        [
            {
                "filters": row.cell["filters"], "learning_rate": row.learning_rate, "seed": row.seed,
                "diverged": row.status == "diverged", "at_chance": row.at_chance is True,
                "fails": row.status == "diverged" or row.at_chance is True,
            }
            for row in table.rows
        ],
    )  # fmt: skip
    beyond = 2 * max(table.grid.axes["learning_rate"])  # where none of the grid fails, the next is taken
    lowest = {
        how: trials["learning_rate"].where(trials[how], beyond).groupby([trials["filters"], trials["seed"]]).min()
        for how in ("diverged", "at_chance", "fails")
    }
    study.write("thresholds", pd.DataFrame(lowest).reset_index())
    slopes = [
        float(np.polyfit(np.log2(one.index.get_level_values("filters")), np.log2(one), 1)[0])
        for _, one in lowest["fails"].groupby("seed")
    ]
    draw(study, trials)
    more = {
        f"median of the lowest rate, {how}": {
            str(width): float(rate) for width, rate in rates.groupby("filters").median().items()
        }
        for how, rates in lowest.items()
    } | {f"runs, {how}": int(trials[how].sum()) for how in lowest}
    statistic = "minus the slope of log2(lowest rate at which a run diverges or ends at chance) over log2(width)"
    return Finding.paired(statistic, "", [-x for x in slopes], [0.0] * len(slopes), more)


def draw(study: Study, trials: pd.DataFrame) -> None:
    share = trials.pivot_table("fails", "learning_rate", "filters", aggfunc="mean")
    with matplotlib.rc_context(figures.STYLE | {"axes.grid": False}):
        figure, plot = figures.subplots(figsize=(4.0, 3.0), layout="constrained")
        image = plot.imshow(share.to_numpy(), origin="lower", cmap="cividis", vmin=0, vmax=1, aspect="auto")
        plot.set_xticks(range(share.shape[1]), [f"{w:g}" for w in share.columns])
        plot.set_yticks(range(share.shape[0]), [f"{r:g}" for r in share.index])
        plot.set_ylabel("η")
        plot.set_xlabel("×")
        figure.colorbar(image, ax=plot, label="(∞ or at chance) / n")
    study.draw("figure", figure)


if __name__ == "__main__":
    main(QUESTION, investigate, __doc__)
