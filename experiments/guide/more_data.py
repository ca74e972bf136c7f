"""Does more training data help, and is it the data or the updates?

The guide: the more training data, the more training iterations and weight updates, and the better the network.

    scripts/run experiments/guide/more_data.py --data-dir DIR    # two CPU cores; its verdict says how long

Nested subsets over two decades, once at equal epochs (more data are more updates too) and once at equal updates; the
best of four learning rates for each size, and of each run the epoch with the best validation accuracy. Expected:
45,000 images beat 500 by far at equal updates too; the error at equal updates falls about as a power of the number of
images.
"""

from typing import Any

import matplotlib
import numpy as np
from scipy import optimize

from cnn_jax.cli.study import main
from cnn_jax.report import figures
from cnn_jax.statistics import median
from cnn_jax.study import SMALL, Finding, Question, Study, percentages

QUESTION = Question("more_data", "Do more training images help at equal numbers of updates?")
SIZES = (500, 1600, 5000, 16000, 45000)
RATES = (0.003, 0.01, 0.03, 0.1)
BATCH = 64
UPDATES = 2400
FITS = 0.05  # a power law is reported where no median misses it by more than this share


def investigate(study: Study) -> Finding:
    sizes = (64, 256) if study.quick else SIZES
    modes = {"epochs": dict.fromkeys(sizes, 4), "updates": {n: max(1, round(UPDATES / -(-n // BATCH))) for n in sizes}}
    base: dict[str, Any] = {
        "network": SMALL["network"], "batch_size": BATCH, "validation": 2000, "select": "best",
    }  # fmt: skip
    accuracy: dict[str, dict[int, list[float | None]]] = {}
    tuned: dict[str, dict[int, float]] = {}
    chance: dict[str, dict[int, int]] = {}
    for mode, epochs in modes.items():
        accuracy[mode], tuned[mode], chance[mode] = {}, {}, {}
        for n in sizes:
            size: dict[str, Any] = {"train_examples": n, "epochs": 1 if study.quick else epochs[n]}
            outcome = study.sweep(f"{mode}-{n}", {"learning_rate": RATES}, **base, **size)
            tuned[mode][n], chance[mode][n] = outcome.config.learning_rate, outcome.at_chance
            accuracy[mode][n] = [percentages(outcome)[seed] for seed in study.seeds]
    study.write(
        "seeds",
        [
            {"mode": mode, "train_examples": n, "seed": s, "test_accuracy": x, "learning_rate": tuned[mode][n]}
            for mode, by_size in accuracy.items()
            for n, values in by_size.items()
            for s, x in zip(study.seeds, values, strict=True)
        ],
    )
    laws = {mode: power_law(by_size) for mode, by_size in accuracy.items()}
    draw(study, accuracy, laws)
    at_equal_epochs = Finding.paired("", "points", accuracy["epochs"][sizes[-1]], accuracy["epochs"][sizes[0]])
    more = {
        "median": {m: {str(n): median(v) for n, v in by.items()} for m, by in accuracy.items()},
        "at equal epochs": [at_equal_epochs.effect, at_equal_epochs.low, at_equal_epochs.high],
        "learning_rate": {m: {str(n): r for n, r in by.items()} for m, by in tuned.items()},
        "power law a n^-b + c of the error": laws,
    }
    statistic = f"test accuracy at equal updates, {sizes[-1]:,} images minus {sizes[0]:,}"
    a, b = (accuracy["updates"][n] for n in (sizes[-1], sizes[0]))
    of_both = (chance["updates"][sizes[-1]], chance["updates"][sizes[0]])
    return study.paired(statistic, "points", a, b, more, at_chance=of_both)


def power_law(by_size: dict[int, list[float | None]]) -> dict[str, float] | str:
    """a, b and c of the median error a n^-b + c, as shares; a sentence where the residuals do not allow it."""
    sizes = np.array(list(by_size), float)
    errors = 1 - np.array([median(values) for values in by_size.values()], float) / 100
    if len(sizes) < 5:
        return "not fitted: fewer than five sizes"
    if np.isnan(errors).any():
        return "not fitted: of a size the median seed diverged"
    try:
        (a, b, c), _ = optimize.curve_fit(
            lambda n, a, b, c: a * n**-b + c, sizes, errors, (1.0, 0.3, 0.05), bounds=(0, (100, 2, 1)), sigma=errors
        )
    except RuntimeError:
        return "not reported: the fit does not converge"
    misses = float(np.abs((a * sizes**-b + c) / errors - 1).max())
    if misses > FITS:
        return f"not reported: a median misses it by {100 * misses:.0f} %"
    return {"a": float(a), "b": float(b), "c": float(c), "largest relative residual": misses}


def draw(
    study: Study, accuracy: dict[str, dict[int, list[float | None]]], laws: dict[str, dict[str, float] | str]
) -> None:
    with matplotlib.rc_context(figures.STYLE):
        figure, plot = figures.subplots(figsize=(4.2, 3.0), layout="constrained")
        for i, (mode, by_size) in enumerate(accuracy.items()):
            sizes = np.array(list(by_size), float)
            errors = 100 - np.array(list(by_size.values()), float)  # None is NaN: it is not drawn
            medians = 100 - np.array([median(values) for values in by_size.values()], float)
            style = {"color": figures.COLOURS[i], "marker": figures.MARKERS[i]}
            plot.plot(sizes, errors, ls="", ms=3, alpha=0.5, **style)
            plot.plot(sizes, medians, ms=0, label={"epochs": "=  epochs", "updates": "=  updates"}[mode], **style)
            law = laws[mode]
            if isinstance(law, dict):
                fine = np.geomspace(sizes[0], sizes[-1])
                plot.plot(fine, 100 * (law["a"] * fine ** -law["b"] + law["c"]), color=figures.COLOURS[i], ls=":", lw=1)
        plot.set_xscale("log")
        plot.set_yscale("log")
        plot.set_xlabel("n")
        plot.set_ylabel("100 % − %")
        plot.legend()
    study.draw("figure", figure)


if __name__ == "__main__":
    main(QUESTION, investigate, __doc__)
