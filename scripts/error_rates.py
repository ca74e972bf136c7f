#!/usr/bin/env python3
"""Simulates the error rates of the procedures in cnn_jax.statistics: the tables of docs/statistics.md.

    scripts/run scripts/error_rates.py [--grids 4000]

4000 grids per row take a few minutes on one core.
"""

import argparse
from collections.abc import Callable

import numpy as np
from scipy import stats

from cnn_jax.statistics import above_chance, binomial_interval, failure_interval, median_interval, p_not_best

Draw = Callable[[np.random.Generator, int, int, int], np.ndarray]
AT_ONCE = 500  # grids per array, to limit memory


def against_the_chosen(values: np.ndarray) -> np.ndarray:
    """p values (grids, cells) of paired t tests against the cell with the highest median, with Holm's correction."""
    grids, cells, n = values.shape
    best_cell = values[np.arange(grids), np.median(values, -1).argmax(-1)]
    differences = values - best_cell[:, None]
    with np.errstate(invalid="ignore"):
        t = differences.mean(-1) / (differences.std(-1, ddof=1) / np.sqrt(n))
    p = np.where(np.isnan(t), np.inf, 2.0 * stats.t.sf(np.abs(t), n - 1))
    order = p.argsort(-1)
    remaining = np.maximum(cells - 1 - np.arange(cells), 1)
    corrected = np.empty_like(p)
    ordered = np.maximum.accumulate(remaining * np.take_along_axis(p, order, -1), -1)
    np.put_along_axis(corrected, order, ordered, -1)
    return corrected


def normal(best: int | None = None, deficit: float = 0.0, ratio: float = 1.0) -> Draw:
    """Normal values, correlated by seed (0.5). The first `best` cells (default: all) are tied, the others lower by
    `deficit`. The largest standard deviation is `ratio` times the smallest, in random order; their geometric mean
    is 1."""

    def draw(random: np.random.Generator, grids: int, cells: int, n: int) -> np.ndarray:
        noise = random.normal(size=(grids, cells, n)) + random.normal(size=(grids, 1, n))
        spread = random.permuted(np.tile(np.geomspace(ratio**-0.5, ratio**0.5, cells), (grids, 1)), axis=1)
        mean = np.where(np.arange(cells) < (cells if best is None else best), 0.0, -deficit)
        return mean[:, None] + np.sqrt(0.5) * spread[:, :, None] * noise

    return draw


def skewed(ratio: float) -> Draw:
    """Values with equal means and an exponential lower tail, like accuracies near 100 %."""

    def draw(random: np.random.Generator, grids: int, cells: int, n: int) -> np.ndarray:
        spread = np.geomspace(ratio**-0.5, ratio**0.5, cells)[:, None]
        return spread * (1.0 - random.exponential(size=(grids, cells, n)))

    return draw


def counts(random: np.random.Generator, grids: int, cells: int, n: int) -> np.ndarray:
    return random.binomial(180, 0.97, (grids, cells, n)) / 180


FALSE_ALARMS: dict[str, Draw] = {
    "equal spread": normal(),
    "spread 1 : 25": normal(ratio=25.0),
    "accuracies of 180 images": counts,
    "skewed, equal spread": skewed(1.0),
    "skewed, spread 1 : 5": skewed(5.0),
    "skewed, spread 1 : 25": skewed(25.0),
}
NEAR: dict[str, tuple[Draw, Callable[[int], int]]] = {
    "one best by 1, equal spread": (normal(1, 1.0), lambda cells: 1),
    "one best by 2, equal spread": (normal(1, 2.0), lambda cells: 1),
    "one best by 2, spread 1 : 25": (normal(1, 2.0, 25.0), lambda cells: 1),
    "two best by 2, equal spread": (normal(2, 2.0), lambda cells: 2),
    "two best by 2, spread 1 : 25": (normal(2, 2.0, 25.0), lambda cells: 2),
}


def rates(draw: Draw, best: int, cells: int, n: int, grids: int) -> list[float]:
    """Error rates, then powers, each of the old and the new procedure: the share of grids in which a best cell is
    called worse, and the share of the other cells that are called worse."""
    random = np.random.default_rng([cells, n])
    errors, power = np.zeros(2), np.zeros(2)
    for start in range(0, grids, AT_ONCE):
        values = draw(random, number := min(AT_ONCE, grids - start), cells, n)
        for i, procedure in enumerate((against_the_chosen, p_not_best)):
            worse = procedure(values) <= 0.05
            errors[i] += number * worse[:, :best].any(1).mean()
            power[i] += number * worse[:, best:].mean() if best < cells else 0.0
    return [float(x) / grids for x in (*errors, *power)]


def row(*columns: object) -> None:
    print(f"| {' | '.join(str(column) for column in columns)} |", flush=True)


def comparisons(grids: int) -> None:
    print(f"\nFalse alarms among equal cells, {grids} grids: against the chosen cell → `compare_with_best`\n")
    row("", *(f"{cells} cells, n = {n}" for cells in (2, 5, 10, 20) for n in (6, 12)))
    row(*["---"] * 9)
    for name, draw in FALSE_ALARMS.items():
        old_and_new = [rates(draw, cells, cells, n, grids)[:2] for cells in (2, 5, 10, 20) for n in (6, 12)]
        row(name, *(f"{100 * old:.1f} → {100 * new:.1f} %" for old, new in old_and_new))
    print(f"\nA best cell called worse, and worse cells that are called worse (power), {grids} grids\n")
    row("", "cells", "n", "best called worse", "power")
    row(*["---"] * 5)
    for name, (draw, best) in NEAR.items():
        for cells, n in ((5, 6), (10, 8), (20, 12)):
            old, new, old_power, new_power = rates(draw, best(cells), cells, n, grids)
            row(
                name,
                cells,
                n,
                f"{100 * old:.1f} → {100 * new:.1f} %",
                f"{100 * old_power:.0f} → {100 * new_power:.0f} %",
            )


def intervals(samples: int) -> None:
    print(f"\nCoverage: of a median's interval in {samples} skewed samples, of the others by exact enumeration\n")
    row("procedure", "n", "said", "measured")
    row(*["---"] * 4)
    random = np.random.default_rng(0)
    for n in (6, 8, 12):
        estimates = [median_interval(list(sample)) for sample in random.exponential(size=(samples, n))]
        covers = np.mean([i.low is not None and i.low <= np.log(2) <= (i.high or 0.0) for i in estimates])
        row("median_interval", n, f"{100 * (estimates[0].level or 0.0):.1f} %", f"{100 * covers:.1f} %")
    for name, interval, n in (
        ("failure_interval", failure_interval, 8),
        ("binomial_interval", binomial_interval, 1000),
    ):
        coverages = []
        ends = [interval(k, n) for k in range(n + 1)]
        for rate in np.linspace(0.02, 0.98, 97):
            inside = np.array([i.low <= rate <= i.high for i in ends])
            coverages.append(stats.binom.pmf(np.arange(n + 1), n, rate)[inside].sum())
        row(name, n, "95 %", f"{100 * min(coverages):.1f} % at least, {100 * np.mean(coverages):.1f} % on average")
    for n in (100, 1000):
        wrong = sum(stats.binom.pmf(k, n, 0.1) for k in range(n + 1) if above_chance(k, n, 0.1))
        row("above_chance of a constant guess", n, "at most 1 %", f"{100 * wrong:.2f} %")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--grids", type=int, default=4000)
    grids = parser.parse_args().grids
    comparisons(grids)
    intervals(grids)


if __name__ == "__main__":
    main()
