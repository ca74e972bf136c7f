"""Which cells of a grid are worse than the best one, where nobody knows which is the best."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from cnn_jax.statistics.interval import require_share
from cnn_jax.statistics.power import detectable


@dataclass(frozen=True)
class BestComparison:
    """A cell against the best of the others.

    `difference` is its mean minus the highest mean of another cell, `low` to `high` the simultaneous interval of its
    true mean minus the highest true mean among the others. `p` is corrected for the number of cells and for the choice
    of the best; `worse` is p <= level, and then `high` is at most 0. If not `worse`, the cell is not distinguishable
    from the best, and `detectable` is the smallest true difference to it that this procedure finds with 80 %
    probability.
    """

    difference: float
    low: float
    high: float
    p: float
    worse: bool
    detectable: float


def compare_with_best(
    cells: Sequence[Sequence[float | None]], level: float = 0.05, power: float = 0.8
) -> list[BestComparison | None]:
    """Multiple comparisons with the best (hsu1984constrained, hsu1996multiple), for cells that share their seeds and
    whose values may scatter differently: all pairs by paired t tests, with a step-down correction.

    Of m cells that are still candidates for the best, the one with the largest t statistic in favour of any other cell
    is tested, with Bonferroni's correction for the m(m - 1)/2 pairs of candidates. If it is worse it is no candidate
    any more and the correction gets milder, as Holm's does. So that a cell that is in truth the best, or one of several
    equally good ones, is called worse in at most `level` of the grids: for tied cells this follows from the sequential
    rejection principle (goeman2010sequential), with normal differences of any covariance; that a cell which is a little
    worse beats the best one in the wrong direction is rarer still, by simulation (docs/statistics.md). To compare every
    cell with the one that these very values put first, corrected for the k - 1 comparisons, is not enough: it gives
    10 to 12 % false alarms among 10 to 20 equal cells.

    `cells` holds a row per cell, a value per seed in the same order, at least 2 seeds. A failed seed is None. It has no
    number, so a cell with one gets None for a comparison and takes no part as the best either: how often it fails is
    the first thing to say of it, and `compare_with_failures` says it, against any other cell. Of fewer than two cells
    without failures all get None.
    """
    require_share("level", level)
    rows = [i for i, cell in enumerate(cells) if None not in cell]
    comparisons: list[BestComparison | None] = [None] * len(cells)
    if len(rows) > 1:
        values = np.array([cells[i] for i in rows], float)
        for i, comparison in zip(rows, _compare(values, level, power), strict=True):
            comparisons[i] = comparison
    return comparisons


def p_not_best(values: np.ndarray) -> np.ndarray:
    """The corrected p values of `compare_with_best`, (..., cells), from finite values (..., cells, seeds) of at least 2
    seeds; of many grids at once, where error rates are simulated."""
    return _step_down(*_differences(values), values.shape[-1])


def _differences(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means and standard deviations over the seeds of [..., i, j] = cell i minus cell j."""
    differences = values[..., :, None, :] - values[..., None, :, :]
    return differences.mean(-1), differences.std(-1, ddof=1)


def _step_down(mean: np.ndarray, deviation: np.ndarray, n: int) -> np.ndarray:
    cells = mean.shape[-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(mean == 0.0, 0.0, -mean / (deviation / math.sqrt(n)))  # in favour of cell j, against i
    single = special.stdtr(n - 1, -t.max(-1))  # one-sided, of the strongest rival
    order = np.argsort(single, axis=-1)
    candidates = np.arange(cells, 0, -1)
    corrected = candidates * (candidates - 1) * np.take_along_axis(single, order, -1)
    corrected[..., -1] = 1.0  # the last candidate is not tested
    p = np.empty_like(single)
    np.put_along_axis(p, order, np.maximum.accumulate(np.minimum(corrected, 1.0), -1), -1)
    return p


def _compare(values: np.ndarray, level: float, power: float) -> list[BestComparison]:
    """Of finite values, (cells, seeds)."""
    cells, n = values.shape
    if n < 2 or not np.isfinite(values).all():
        raise ValueError(f"values of shape {values.shape} are not all finite, of at least 2 seeds")
    mean, deviation = _differences(values)
    p = _step_down(mean, deviation, n)
    pairs = math.comb(int((p > level).sum()), 2)  # of cells that are still candidates
    half = -special.stdtrit(n - 1, level / (cells * (cells - 1))) * deviation / math.sqrt(n)
    comparisons = []
    for i in range(cells):
        others = [j for j in range(cells) if j != i]
        best = min(others, key=lambda j: mean[i, j])
        high = float((mean[i] + half[i])[others].min())
        worse = bool(p[i] <= level)
        comparisons.append(
            BestComparison(
                difference=float(mean[i, best]),
                low=float((mean[i] - half[i])[others].min()),
                high=min(high, 0.0) if worse else high,
                p=float(p[i]),
                worse=worse,
                detectable=detectable(float(deviation[i, best]), n, level / max(1, pairs), power),
            )
        )
    return comparisons
