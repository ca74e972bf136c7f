"""What do accuracy and size cost: multiply-adds, time, bfloat16?

The guide names computational considerations among the topics it leaves for later.

    scripts/run experiments/guide/cost.py --data-dir DIR    # two CPU cores; its verdict says how long

The same runs at several widths, in float32 and with activations in bfloat16. The statistic is the slope of log time
over log multiply-adds of each seed: 1 where twice the arithmetic takes twice the time. Rule: supported (time follows
the multiply-adds) if its 95 % t interval lies above 0.5. The seeds repeat the measurement: what varies is the machine.
Expected: between 0.5 and 1; on a processor without bfloat16 arithmetic that type saves nothing.
"""

from typing import Any

import matplotlib
import numpy as np

from cnn_jax import api
from cnn_jax.cli.study import main
from cnn_jax.network import Network
from cnn_jax.notation import parse
from cnn_jax.report import figures
from cnn_jax.study import Finding, Question, Study, percentages
from cnn_jax.variants import with_filters

QUESTION = Question(
    "cost", "Does the time of training follow the number of multiply-adds?",
    "supported if the 95 % t interval of the slope of log time over log multiply-adds lies above 0.5; contradicted if "
    "it lies below; else undecided, as below 6 seeds", datasets=("fashion_mnist",), smallest_effect=None, most_seeds=8,
)  # fmt: skip
WIDTHS = (4, 8, 16, 32, 64)
FIELDS: dict[str, Any] = {
    "network": "conv3-8:same relu max2 conv3-16:same relu max2 dense-64 relu dense-10",
    "train_examples": 4000, "validation": 2000, "epochs": 2, "batch_size": 128,
}  # fmt: skip


def investigate(study: Study) -> Finding:
    shape = api.load_data(study.config()).image_shape
    widths = WIDTHS[:2] if study.quick else WIDTHS
    work = {w: Network(shape, with_filters(parse(str(FIELDS["network"])), w)).multiply_adds for w in widths}
    rows = []
    accuracy: dict[str, list[float | None]] = {}
    for dtype in ("float32", "bfloat16"):
        for width in widths:
            outcome = study.sweep(
                f"{dtype}-{width}", {"learning_rate": (0.05,)}, filters=width, dtype=dtype, parallel="one", **FIELDS
            )
            assert outcome.table is not None
            rows += [
                {
                    "dtype": dtype, "filters": width, "multiply_adds": work[width], "seed": row.seed,
                    "seconds": row.seconds,
                }
                for row in outcome.table.rows
                if row.status == "complete"  # a run that diverges stops early
            ]  # fmt: skip
            accuracy[dtype] = [percentages(outcome)[seed] for seed in study.seeds]
    table = study.write("seconds", rows)
    draw(study, table)
    single = table[table["dtype"] == "float32"]
    slopes: dict[int, float] = {
        seed: float(np.polyfit(np.log(one["multiply_adds"]), np.log(np.maximum(one["seconds"], 0.01)), 1)[0])
        for seed, one in single.groupby("seed")
        if len(one) == len(widths)
    }
    difference = Finding.paired("", "points", accuracy["bfloat16"], accuracy["float32"])
    medians = table.groupby(["dtype", "filters"])["seconds"].median().unstack()
    more = {
        "median seconds": {dtype: {str(w): float(x) for w, x in row.items()} for dtype, row in medians.iterrows()},
        "multiply_adds": {str(w): x for w, x in work.items()},
        "test accuracy, bfloat16 minus float32": [difference.effect, difference.low, difference.high],
    }
    a = [slopes.get(seed) for seed in study.seeds]
    return Finding.paired("slope of log time over log multiply-adds", "", a, [0.0] * len(a), more, above=0.5)


def draw(study: Study, table) -> None:
    with matplotlib.rc_context(figures.STYLE):
        figure, plot = figures.subplots(figsize=(4.0, 3.0), layout="constrained")
        for i, (dtype, rows) in enumerate(table.groupby("dtype", sort=False)):
            style = {"color": figures.COLOURS[i], "marker": figures.MARKERS[i]}
            plot.plot(rows["multiply_adds"], rows["seconds"], ls="", ms=3, alpha=0.5, **style)
            middle = rows.groupby("multiply_adds")["seconds"].median()
            plot.plot(middle.index, middle, ms=0, label=dtype, **style)
        plot.set_xscale("log")
        plot.set_yscale("log")
        plot.set_xlabel("× +")
        plot.set_ylabel("s")
        plot.legend()
    study.draw("figure", figure)


if __name__ == "__main__":
    main(QUESTION, investigate, __doc__)
