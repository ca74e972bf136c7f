"""Too small, right, too large: what does the learning rate do?

The guide: a high learning rate takes bigger steps and may need less time; one that is too high jumps and does not reach
the optimum.

    scripts/run experiments/guide/learning_rate.py --data-dir DIR    # two CPU cores, under a minute

An ordinary sweep over four decades at a fixed number of epochs; the rate in the middle, named before, against the
largest. Expected: it wins by far, and by points against the smallest, n = 8 seeds. A run that diverged counts as 0.
"""

import numpy as np

from cnn_jax.cli.study import main
from cnn_jax.lab.study import SMALL, Finding, Question, Study
from cnn_jax.report import figures

QUESTION = Question("learning_rate", "Does a learning rate that is too high fail to reach the optimum?")
RATES = (0.0003, 0.003, 0.03, 0.3, 3.0)
RIGHT = 0.03


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
    right = RATES[0] if study.quick else RIGHT
    small = Finding.paired("", "points", by_rate[right], by_rate[min(rates)])
    died = outcome.table.trials[outcome.table.trials["status"] == "diverged"]["learning_rate"].value_counts()
    more = {
        "best": outcome.table.chosen["learning_rate"],
        "median": {f"{rate:g}": float(np.median(found)) for rate, found in by_rate.items()},
        "0.03 minus the smallest": [small.effect, small.low, small.high],
        "diverged": {f"{rate:g}": int(died.get(rate, 0)) for rate in rates},
    }  # fmt: skip
    statistic = f"validation accuracy, rate {right:g} minus {max(rates):g}"
    return Finding.paired(statistic, "points", by_rate[right], by_rate[max(rates)], more)


if __name__ == "__main__":
    main(QUESTION, investigate, __doc__)
