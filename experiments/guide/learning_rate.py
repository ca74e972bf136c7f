"""Too small, right, too large: what does the learning rate do?

The guide: a high learning rate takes bigger steps and may need less time; one that is too high jumps and does not reach
the optimum.

    scripts/run experiments/guide/learning_rate.py --data-dir DIR    # two CPU cores; its verdict says how long

An ordinary sweep over four decades at a fixed number of epochs; the rate in the middle, named before, against the
largest. A run fails to reach the optimum if it diverges (a non-finite loss or weight), which is counted, or by its
accuracy, at chance or not, which is measured. Rule: supported if the 95 % t interval of the difference over the seeds
that finished at both rates lies above 0, or if more runs diverge at the largest rate by Fisher's exact test; not
supported if either says the reverse. That a high rate may take less time is judged by the epochs until a rate reaches
98 % of the best accuracy of the smallest. Expected: the middle wins by far, and by points against the smallest, which
is slower.
"""

from typing import Any

from cnn_jax.cli.study import main
from cnn_jax.report import figures
from cnn_jax.runs.sweeps import SweepReader, trial_folder
from cnn_jax.statistics import median
from cnn_jax.study import SMALL, Finding, Question, Study

QUESTION = Question(
    "learning_rate", "Does a learning rate that is too high fail to reach the optimum?",
    "supported if the 95 % t interval of the difference, paired by seed over the seeds that finished at both rates, "
    "lies above 0, or if more runs diverge at the largest rate (Fisher's exact test, p < 0.05); contradicted if "
    "either says the reverse; else, or if the two contradict, undecided, as below 6 seeds", smallest_effect=None,
)  # fmt: skip
RATES = (0.0003, 0.003, 0.03, 0.3, 3.0)
RIGHT = 0.03
SHARE = 0.98


def investigate(study: Study) -> Finding:
    sweep = study.trials("sweep", {"learning_rate": RATES}, **SMALL)
    table = sweep.table
    rows = [
        {
            "learning_rate": row.learning_rate, "seed": row.seed, "status": row.status, "at_chance": row.at_chance,
            "validation_accuracy": None if row.accuracy is None else 100 * row.accuracy,
        }
        for row in table.rows
    ]  # fmt: skip
    study.write("seeds", rows)
    by_rate = {
        cell["learning_rate"]: [None if x is None else 100 * x for x in table.accuracies(i)]
        for i, cell in enumerate(table.grid.cells())
    }
    values = {f"{rate:g}": dict(zip(study.seeds, by_seed, strict=True)) for rate, by_seed in by_rate.items()}
    study.draw("figure", figures.by_variant(values, "%"), f"η; n = {len(study.seeds)}")
    smallest, largest, right = min(by_rate), max(by_rate), min(by_rate) if study.quick else RIGHT
    small = Finding.paired("", "points", by_rate[right], by_rate[smallest])
    more: dict[str, Any] = {
        "best": table.chosen,
        "median": {f"{rate:g}": median(by_seed) for rate, by_seed in by_rate.items()},
        f"{right:g} minus {smallest:g}": [small.effect, small.low, small.high],
        "diverged": {f"{rate:g}": by_seed.count(None) for rate, by_seed in by_rate.items()},
        "at chance": {
            f"{rate:g}": sum(row.at_chance is True for row in of_cell)
            for rate, of_cell in zip(by_rate, table.by_cell, strict=True)
        },
    }
    fast = Finding.paired("", "epochs", epochs(sweep, smallest, by_rate), epochs(sweep, right, by_rate))
    more[f"epochs until {100 * SHARE:g} % of the best accuracy of {smallest:g}: {smallest:g} minus {right:g}"] = [
        fast.effect, fast.low, fast.high, fast.answer,
    ]  # fmt: skip
    statistic = f"validation accuracy, rate {right:g} minus {largest:g}"
    chance = (more["at chance"][f"{right:g}"], more["at chance"][f"{largest:g}"])
    return Finding.paired(
        statistic, "points", by_rate[right], by_rate[largest], more, failures_decide=True, at_chance=chance
    )


def epochs(sweep: SweepReader, rate: float, by_rate: dict[float, list[float | None]]) -> list[float | None]:
    """For each seed the first epoch in which a rate reaches SHARE of the best accuracy of the smallest rate; None if it
    never does."""
    found: list[float | None] = []
    rows = [row for row in sweep.table.rows if row.learning_rate == rate]
    for row, best in zip(rows, by_rate[min(by_rate)], strict=True):
        history = trial_folder(sweep.folder, row.trial).metrics()
        reached = [m.epoch for m in history if best and m.validation and 100 * m.validation.accuracy >= SHARE * best]
        found.append(float(reached[0]) if reached else None)
    return found


if __name__ == "__main__":
    main(QUESTION, investigate, __doc__)
