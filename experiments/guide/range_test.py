"""Does one short run with a rising learning rate find a good one?

The guide: the learning rate is chosen by the programmer. Here by the range test of smith2017cyclical (3.3): the rate
rises linearly over one run; the one at which the loss is lowest is an upper bound, a third of it the suggestion.

    scripts/run experiments/guide/range_test.py --data-dir DIR    # two CPU cores; its verdict says how long

Every seed has a range test of its own and is trained with what it suggests. Rule: supported if that is at most one
point worse than with the best of a grid of five rates, by the 95 % t interval. Expected: supported.
"""

from typing import Any

import matplotlib

from cnn_jax.cli.study import main
from cnn_jax.metrics import EpochMetrics
from cnn_jax.report import figures
from cnn_jax.runs.outcome import Outcome
from cnn_jax.runs.sweeps import trial_folder
from cnn_jax.study import SMALL, Finding, Question, Study, percentages

MARGIN = 1.0  # points
QUESTION = Question(
    "range_test", "Is the rate that a range test suggests as good as the best of a grid?",
    "supported if the 95 % t interval of the difference, paired by seed, lies above -1 point; contradicted if it lies "
    "below -1 point; else undecided, as below 6 seeds", smallest_effect=None,
)  # fmt: skip
GRID = (0.003, 0.01, 0.03, 0.1, 0.3)
HIGHEST, STEPS = 1.0, 40  # short epochs, so that the loss is known at as many rates


def investigate(study: Study) -> Finding:
    short: dict[str, Any] = {
        **SMALL,
        "select": "final",
        "train_examples": 640,
        "epochs": STEPS,
        "warmup_epochs": float(STEPS),
        "learning_rate": HIGHEST,
    }
    if study.quick:
        short |= {"warmup_epochs": 1.0}
    ranged = study.trials("range", None, **short)
    courses = {row.seed: trial_folder(ranged.folder, row.trial).metrics() for row in ranged.table.rows}
    suggestions = {seed: suggested(course) for seed, course in courses.items() if course}
    grid = study.sweep("grid", {"learning_rate": GRID}, **SMALL)
    best, found = percentages(grid), dict.fromkeys(study.seeds)
    for seed, rate in suggestions.items():
        sweep = study.trials(f"suggestion-{seed}", {"learning_rate": (rate,)}, seeds=(seed,), **SMALL)
        found[seed] = percentages(Outcome.of_sweep(sweep))[seed] if sweep.table.chosen is not None else None
    study.write(
        "seeds",
        [{"seed": s, "rate": suggestions.get(s), "suggestion": found[s], "grid": best[s]} for s in study.seeds],
    )
    draw(study, [course for course in courses.values() if course], list(suggestions.values()))
    more = {"suggestions": list(suggestions.values()), "best of the grid": grid.config.learning_rate}
    statistic = "test accuracy, suggestion minus best of the grid"
    a, b = ([by[seed] for seed in study.seeds] for by in (found, best))
    return Finding.paired(statistic, "points", a, b, more, above=-MARGIN)


def suggested(course: list[EpochMetrics]) -> float:
    """A third of the rate at which the loss is lowest, with two digits. A run that diverged has the epochs before."""
    return float(f"{min(course, key=lambda metrics: metrics.train.loss).learning_rate / 3:.2g}")


def draw(study: Study, courses: list[list[EpochMetrics]], suggestions: list[float]) -> None:
    with matplotlib.rc_context(figures.STYLE):
        figure, plot = figures.subplots(figsize=(4.2, 3.0), layout="constrained")
        for course in courses:
            rates, losses = zip(*((metrics.learning_rate, metrics.train.loss) for metrics in course), strict=True)
            plot.plot(rates, losses, color=figures.COLOURS[0], lw=0.8)
        for suggestion in suggestions:
            plot.axvline(suggestion, color=figures.COLOURS[5], lw=0.8, ls="--")
        plot.set_xlabel("η")
        plot.set_ylabel("L")
        plot.set_yscale("log")
    study.draw("figure", figure)


if __name__ == "__main__":
    main(QUESTION, investigate, __doc__)
