"""What a paired t test could have seen, and how many seeds it would need."""

import math
from dataclasses import dataclass

from scipy import integrate, optimize, special, stats

from cnn_jax.statistics.interval import require_finite, require_share
from cnn_jax.statistics.order import SEEDS_FOR_A_VERDICT

MOST_SEEDS = 10_000  # more than anyone trains: not counted further
NEGLIGIBLE = 1e-12  # probability left out at each end of an integral


def _power(shift: float, n: int, level: float) -> float:
    """The probability that a two-sided t test of `n` differences rejects at `level`, where their true mean is `shift`
    standard errors from 0: that of the noncentral t distribution beyond the critical values.

    It is integrated over the estimated standard deviation s, given which the mean is normal: SciPy's own noncentral t
    (1.17) is NaN where the shift is large.
    """
    critical = stats.t.isf(level / 2.0, n - 1)
    chi = stats.chi(n - 1, scale=1.0 / math.sqrt(n - 1))  # s in units of the true deviation

    def rejects(s: float) -> float:
        return float(special.ndtr(shift - critical * s) + special.ndtr(-shift - critical * s)) * chi.pdf(s)

    return float(integrate.quad(rejects, chi.ppf(NEGLIGIBLE), chi.isf(NEGLIGIBLE), limit=200)[0])


def detectable(deviation: float, n: int, level: float = 0.05, power: float = 0.8) -> float:
    """The smallest true mean difference, in the unit of `deviation`, that a two-sided paired t test over `n` seeds
    finds with the probability `power`, where single differences scatter with this standard deviation
    (cohen1988statistical, 2.3)."""
    require_finite([deviation])
    if n < 2 or deviation < 0.0 or not 0.0 < level < power < 1.0:
        raise ValueError(f"no power of {power:g} at level {level:g} with deviation {deviation:g} and {n} seeds")
    high = 1.0
    while _power(high, n, level) < power:
        high *= 2.0
    shift = optimize.brentq(lambda shift: _power(shift, n, level) - power, 0.0, high, xtol=1e-9)
    return float(shift * deviation / math.sqrt(n))


@dataclass(frozen=True)
class SeedsNeeded:
    """The number of seeds that a paired t test needs, and the interval of that number which comes from knowing the
    deviation only from a few pairs. None stands for more than MOST_SEEDS."""

    n: int | None
    low: int | None
    high: int | None

    def __str__(self) -> str:
        n, low, high = (f"> {MOST_SEEDS}" if seeds is None else str(seeds) for seeds in (self.n, self.low, self.high))
        return n if self.low == self.high else f"{n} ({low} – {high})"


def seeds_needed(
    deviation: float, difference: float, pairs: int, level: float = 0.05, power: float = 0.8, confidence: float = 0.95
) -> SeedsNeeded:
    """How many pairs a two-sided paired t test at `level` needs to find a true mean `difference` with the probability
    `power` (cohen1988statistical, 2.3); never below what a verdict needs.

    The standard `deviation` of single differences was estimated from `pairs` of them (at least 2); the interval is
    that of the number under the chi-square interval of the deviation at `confidence`, for normal differences.
    """
    require_finite([deviation, difference])
    require_share("confidence", confidence)
    if pairs < 2 or deviation < 0.0 or not 0.0 < level < power < 1.0:
        raise ValueError(f"no power of {power:g} at level {level:g} with deviation {deviation:g} of {pairs} pairs")
    tail = (1.0 - confidence) / 2.0
    low, high = (
        deviation * math.sqrt((pairs - 1) / quantile)
        for quantile in (stats.chi2.isf(tail, pairs - 1), stats.chi2.ppf(tail, pairs - 1))
    )
    return SeedsNeeded(*(_seeds(scale, abs(difference), level, power) for scale in (deviation, low, high)))


def _seeds(deviation: float, difference: float, level: float, power: float) -> int | None:
    def enough(n: int) -> bool:
        return deviation == 0.0 or _power(difference / deviation * math.sqrt(n), n, level) >= power

    low, high = SEEDS_FOR_A_VERDICT, MOST_SEEDS
    if not enough(high):
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle + 1, high)
    return high
