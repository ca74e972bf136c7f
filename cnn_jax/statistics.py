"""The statistics that verdicts rest on: order statistics, paired comparisons by seed, correction over a grid."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

SEEDS_FOR_A_VERDICT = 6  # a two-sided sign test cannot reach p < 0.05 below
MOST_FLIPS = 20  # pairs of the exact test, which counts 2^n cases


@dataclass(frozen=True)
class Interval:
    """`low` to `high`; `kind` says what it is: a confidence interval with its level, or the range."""

    low: float
    high: float
    kind: str


def median_interval(values: Sequence[float], level: float = 0.95) -> Interval:
    """The distribution-free confidence interval of a median from order statistics; below 6 values, which can give none
    at 95 %, the range, and it is called that.

    The coverage of (x[k], x[n+1-k]) is 1 - 2·P(Binomial(n, ½) < k) (david2003order, section 7.1).
    """
    _finite(values)
    ordered = sorted(values)
    n = len(ordered)
    if n < SEEDS_FOR_A_VERDICT:
        return Interval(ordered[0], ordered[-1], "range")
    k = 1
    while 1.0 - 2.0 * stats.binom.cdf(k, n, 0.5) >= level:
        k += 1
    return Interval(ordered[k - 1], ordered[n - k], f"{level:.0%} interval of the median")


def binomial_interval(correct: int, n: int, level: float = 0.95) -> Interval:
    """Wilson's score interval of a proportion (wilson1927probable): that of an accuracy over n test images."""
    z = stats.norm.ppf(0.5 + level / 2.0)
    p = correct / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return Interval(float(centre - half), float(centre + half), f"{level:.0%} Wilson interval")


@dataclass(frozen=True)
class Paired:
    """A comparison a - b over the same seeds: mean difference, its t interval, the two-sided p value, n."""

    difference: float
    low: float
    high: float
    p: float
    n: int


def _finite(values: Sequence[float]) -> None:
    if not np.isfinite(values).all():
        raise ValueError(f"{list(values)} are not all finite")


def paired_t(a: Sequence[float], b: Sequence[float], level: float = 0.95) -> Paired:
    """Student's paired t test and interval (student1908probable). `a` and `b` are in the same order of seeds, at
    least two."""
    differences = np.asarray(a, float) - np.asarray(b, float)
    n = len(differences)
    mean, error = float(differences.mean()), float(differences.std(ddof=1) / math.sqrt(n))
    if error == 0.0:
        return Paired(mean, mean, mean, 1.0 if mean == 0.0 else 0.0, n)
    half = float(stats.t.ppf(0.5 + level / 2.0, n - 1)) * error
    return Paired(mean, mean - half, mean + half, float(2.0 * stats.t.sf(abs(mean) / error, n - 1)), n)


def holm(p_values: Sequence[float]) -> list[float]:
    """p values corrected for their number, in the order given (holm1979simple): never more than the smallest is tested
    at full strength."""
    _finite(p_values)
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    corrected, highest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[i]))
        corrected[i] = highest
    return corrected


def sign_flips(a: Sequence[float], b: Sequence[float]) -> float:
    """The two-sided p value of the exact sign-flip test of paired values: the share of all 2^n assignments of signs to
    the differences whose sum is at least as far from zero (fisher1935design, section 21). At most 20 pairs."""
    differences = np.asarray(a, float) - np.asarray(b, float)
    if not 0 < len(differences) <= MOST_FLIPS:
        raise ValueError(f"{len(differences)} pairs: the exact test takes 1 to {MOST_FLIPS}")
    sums = np.zeros(1)
    for difference in np.abs(differences):
        sums = np.concatenate([sums + difference, sums - difference])
    least = abs(differences.sum()) * (1 - 1e-12)
    return float((np.abs(sums) >= least).mean())


def seeds_needed(deviation: float, difference: float, level: float = 0.05, power: float = 0.8) -> int:
    """How many pairs a two-sided paired t test needs to find a true mean `difference` with probability `power`, where
    single differences scatter with this standard `deviation`; never below what a verdict needs. By the noncentral t
    distribution (cohen1988statistical, 2.3)."""

    def enough(n: int) -> bool:
        critical = stats.t.ppf(1.0 - level / 2.0, n - 1)
        shift = difference / deviation * math.sqrt(n)
        found = stats.nct.sf(critical, n - 1, shift) + stats.nct.cdf(-critical, n - 1, shift)
        return bool(found >= power)

    _finite([deviation, difference])
    if deviation == 0.0:
        return SEEDS_FOR_A_VERDICT
    high = SEEDS_FOR_A_VERDICT
    while not enough(high):
        high *= 2
    low = max(SEEDS_FOR_A_VERDICT, high // 2)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle + 1, high)
    return high
