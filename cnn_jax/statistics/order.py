"""Medians, quantiles and intervals from ranks. A failed seed is None and ranks below every number."""

import math
from collections.abc import Sequence

from scipy import special

from cnn_jax.statistics.interval import Interval, percent, require_finite, require_share

SEEDS_FOR_A_VERDICT = 6  # with fewer, no two-sided sign test reaches p < 0.05, and no interval of the median 95 %


def _ordered(values: Sequence[float | None]) -> list[float | None]:
    numbers = [value for value in values if value is not None]
    if not values:
        raise ValueError("no values")
    require_finite(numbers)
    failed: list[float | None] = [None] * (len(values) - len(numbers))
    return failed + sorted(numbers)


def quantile(values: Sequence[float | None], q: float) -> float | None:
    """The q-quantile, interpolated between the two ordered values around rank 1 + q(n - 1) (NumPy's default, type 7 of
    Hyndman and Fan). None if either of the two is a failed seed, whatever its weight.
    """
    if not 0.0 <= q <= 1.0:
        raise ValueError(f"the quantile {q:g} is not between 0 and 1")
    ordered = _ordered(values)
    position = q * (len(ordered) - 1)
    below = math.floor(position)
    weight = position - below
    low, high = ordered[below], ordered[math.ceil(position)]
    return None if low is None or high is None else low + weight * (high - low)


def median(values: Sequence[float | None]) -> float | None:
    """The middle value, or the mean of the two middle values of an even number. None if a failed seed is among these,
    that is, if at least half of the seeds failed."""
    ordered = _ordered(values)
    low, high = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    return None if low is None or high is None else (low + high) / 2.0


def median_interval(values: Sequence[float | None], level: float = 0.95) -> Interval:
    """The shortest distribution-free interval of the median from symmetric order statistics that covers it with
    probability of at least `level`, with its exact coverage. At 95 % and for 6, 7 and 8 values it is their range, with
    96.9 %, 98.4 % and 99.2 %. For fewer values there is none; then the range is returned, of kind 'range'.

    The coverage of (x[k], x[n+1-k]) is 1 - 2·P(Binomial(n, ½) < k) (david2003order, section 7.1). It depends only on
    ranks, so failed seeds, which rank below every number, are allowed: an end that falls on one is None.
    """
    require_share("level", level)
    ordered = _ordered(values)
    n = len(ordered)
    rank = 0  # the largest k whose interval has at least this coverage
    while _coverage(rank + 1, n) >= level:
        rank += 1
    if rank == 0:
        return Interval(ordered[0], ordered[-1], "range", None)
    exact = _coverage(rank, n)
    return Interval(ordered[rank - 1], ordered[n - rank], f"{percent(exact)} interval of the median", exact)


def _coverage(rank: int, n: int) -> float:
    return float(1.0 - 2.0 * special.bdtr(rank - 1, n, 0.5))
