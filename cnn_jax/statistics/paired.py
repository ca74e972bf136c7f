"""Comparisons of two settings over the same seeds, and corrections for several comparisons."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from cnn_jax.statistics.interval import require_finite, require_share

MOST_FLIPS = 20  # maximum number of pairs of the exact test, which enumerates 2^n cases


@dataclass(frozen=True)
class Paired:
    """A comparison a - b over the same seeds: the mean difference, its t interval, the two-sided p value, the standard
    deviation of the differences, and n."""

    difference: float
    low: float
    high: float
    p: float
    deviation: float
    n: int


@dataclass(frozen=True)
class Equivalence:
    """Whether a - b lies within ± `margin`: the mean difference, its interval at 1 - 2·`level` (90 %), which lies
    within the margin exactly if `equivalent`, and the larger of the two one-sided p values."""

    difference: float
    low: float
    high: float
    margin: float
    p: float
    n: int
    equivalent: bool


def _differences(a: Sequence[float], b: Sequence[float], least: int = 2) -> np.ndarray:
    if len(a) != len(b) or len(a) < least:
        raise ValueError(f"{len(a)} and {len(b)} values are not at least {least} pairs")
    differences = np.asarray(a, float) - np.asarray(b, float)
    require_finite(list(differences))
    return differences


def paired_t(a: Sequence[float], b: Sequence[float], level: float = 0.95) -> Paired:
    """Student's paired t test and interval (student1908probable). `a` and `b` are in the same order of seeds, of which
    there are at least two."""
    require_share("level", level)
    differences = _differences(a, b)
    n = len(differences)
    mean, deviation = float(differences.mean()), float(differences.std(ddof=1))
    if deviation == 0.0:
        return Paired(mean, mean, mean, 1.0 if mean == 0.0 else 0.0, deviation, n)
    error = deviation / math.sqrt(n)
    half = -float(special.stdtrit(n - 1, (1.0 - level) / 2.0)) * error
    return Paired(mean, mean - half, mean + half, float(2.0 * special.stdtr(n - 1, -abs(mean) / error)), deviation, n)


def equivalent(a: Sequence[float], b: Sequence[float], margin: float, level: float = 0.05) -> Equivalence:
    """Two one-sided paired t tests (schuirmann1987comparison): equivalent if both "a - b is at most -margin" and "a - b
    is at least margin" are rejected at `level`. `margin` is positive and must be chosen before looking at the values.
    """
    if not (math.isfinite(margin) and margin > 0.0):
        raise ValueError(f"the margin {margin:g} is not a positive number")
    test = paired_t(a, b, 1.0 - 2.0 * level)
    room = margin - abs(test.difference)  # to the nearer limit, whose test has the larger p value
    if test.deviation == 0.0:
        p = 0.0 if room > 0.0 else 1.0
    else:
        p = float(special.stdtr(test.n - 1, -room / (test.deviation / math.sqrt(test.n))))
    return Equivalence(test.difference, test.low, test.high, margin, p, test.n, p <= level)


def sign_flips(a: Sequence[float], b: Sequence[float]) -> float:
    """The two-sided p value of the exact sign-flip test of 1 to 20 pairs: the share of all 2^n assignments of signs to
    the differences whose sum is at least as far from zero (fisher1935design, section 21)."""
    differences = _differences(a, b, least=1)
    if len(differences) > MOST_FLIPS:
        raise ValueError(f"{len(differences)} pairs: the exact test takes at most {MOST_FLIPS}")
    sums = np.zeros(1)
    for difference in np.abs(differences):
        sums = np.concatenate([sums + difference, sums - difference])
    least = abs(differences.sum()) * (1 - 1e-12)
    return float((np.abs(sums) >= least).mean())


def holm(p_values: Sequence[float]) -> list[float]:
    """p values corrected for their number by Holm's procedure, in the order given (holm1979simple): the smallest is
    corrected for all n, the second for n - 1, and so on."""
    require_finite(p_values)
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    corrected, highest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[i]))
        corrected[i] = highest
    return corrected
