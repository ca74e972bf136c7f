"""Too small, right, too large: what does the learning rate do?

The guide: a high learning rate takes bigger steps and may need less time; one that is too high jumps and does not reach
the optimum.

    scripts/run experiments/guide/learning_rate.py --data-dir DIR    # two CPU cores, about two minutes

An ordinary sweep over five decades at a fixed number of epochs. Expected: the best rate lies inside, and beats the
largest by far and the smallest by points, n = 8 seeds.
"""

import numpy as np

from cnn_jax.cli.study import main
from cnn_jax.lab.study import SMALL, Finding, Question, Study
from cnn_jax.report import figures

QUESTION = Question("learning_rate", "Does a learning rate that is too high fail to reach the optimum?")
RATES = (0.0003, 0.003, 0.03, 0.3, 3.0)


def investigate(study: Study) -> Finding:
    outcome = study.sweep("sweep", {"learning_rate": RATES}, **SMALL)
    assert outcome.table is not None
    rates = outcome.table.grid.axes["learning_rate"]
    by_rate = {rate: [100 * x for x in outcome.table.accuracies({"learning_rate": rate})] for rate in rates}
    rows = [
        {"learning_rate": rate, "seed": seed, "validation_accuracy": x}
        for rate, found in by_rate.items()
        for seed, x in zip(study.seeds, found, strict=True)
    ]
    study.write("seeds", rows)
    values = {f"{rate:g}": dict(zip(study.seeds, found, strict=True)) for rate, found in by_rate.items()}
    study.draw("figure", figures.by_variant(values, "%", f"η; n = {len(study.seeds)}"))
    best = outcome.table.chosen["learning_rate"]
    small = Finding.paired("", "points", by_rate[best], by_rate[min(rates)])
    died = outcome.table.trials[outcome.table.trials["status"] == "diverged"]["learning_rate"].value_counts()
    more = {
        "best": best, "median": {f"{rate:g}": float(np.median(found)) for rate, found in by_rate.items()},
        "best minus smallest": [small.effect, small.low, small.high], "best inside": min(rates) < best < max(rates),
        "diverged": {f"{rate:g}": int(died.get(rate, 0)) for rate in rates},
    }  # fmt: skip
    statistic = "validation accuracy, best rate minus the largest"
    return Finding.paired(statistic, "points", by_rate[best], by_rate[max(rates)], more)


if __name__ == "__main__":
    main(QUESTION, investigate, __doc__)
