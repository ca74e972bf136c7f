"""Which cells of a grid are worse than the best, if it is unknown which is the best."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from cnn_jax.statistics.interval import require_share
from cnn_jax.statistics.power import detectable


@dataclass(frozen=True)
class BestComparison:
    """A cell compared with the best of the others.

    Attributes:
      difference: its mean minus the highest mean of another cell.
      low, high: the simultaneous interval of its true mean minus the highest true mean of the others.
      p: corrected for the number of cells and the choice of the best.
      worse: p <= level; then `high` is at most 0. Otherwise the cell is not distinguishable from the best.
      detectable: the smallest true difference to the best that this procedure detects with probability `power`
        (default: 80 %).
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
    may have different variances: paired t tests of all pairs, with a step-down correction.

    Of m cells that are still candidates for the best, the one with the largest t statistic in favour of any other cell
    is tested, with Bonferroni's correction for the m(m - 1)/2 pairs of candidates. If it is worse, it is no longer a
    candidate and the correction becomes milder, as in Holm's procedure. Thus a cell that is truly the best, or equal to
    the best, is called worse in at most `level` of the grids. For tied cells this follows from the sequential rejection
    principle (goeman2010sequential), for normal differences of any covariance; simulations show that it is even rarer
    for a slightly worse cell to beat the best (docs/statistics.md). It would not be enough to compare every cell with
    the one that has the highest observed mean, corrected for the k - 1 comparisons: that gives 10 to 12 % false alarms
    among 10 to 20 equal cells.

    Args:
      cells: a row per cell, with a value per seed in the same order (at least 2 seeds), None for a failed seed.
      level: probability that any best cell is called worse.
      power: probability for `BestComparison.detectable`.

    Returns:
      A comparison per cell. It is None for a cell with failed seeds, which is not a candidate for the best either
      (compare how often it fails by `compare_with_failures`), and for all if fewer than two cells have no failures.
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
    """The corrected p values of `compare_with_best`, (..., cells), of finite values (..., cells, seeds) with at least 2
    seeds. Vectorised over grids, to simulate error rates."""
    return _step_down(*_differences(values), values.shape[-1])


def _differences(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means and standard deviations over the seeds of the differences [..., i, j] = cell i minus cell j."""
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
    """The comparisons of finite `values` (cells, seeds)."""
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
