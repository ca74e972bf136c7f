"""The differences that a paired t test can detect, and the number of seeds that it needs."""

import functools
import math
from dataclasses import dataclass

from scipy import special

from cnn_jax.statistics.interval import require_finite, require_share
from cnn_jax.statistics.order import SEEDS_FOR_A_VERDICT

MOST_SEEDS = 10_000  # more than anyone trains; larger numbers are not computed
MOST_POWER = 0.9999
NEGLIGIBLE = 1e-12  # probability left out at each end of an integral


def _power(shift: float, n: int, level: float) -> float:
    """The probability that a two-sided t test of `n` differences rejects at `level` if their true mean is `shift`
    standard errors from 0: the mass of the noncentral t distribution beyond the critical values.

    It is integrated over the estimated standard deviation s, given which the mean is normal, since the noncentral t of
    SciPy (1.17) is NaN for a large shift.
    """
    half = (n - 1) / 2.0
    critical = -float(special.stdtrit(n - 1, level / 2.0))
    scale = math.log(2.0) + half * math.log(half) - math.lgamma(half)

    def rejects(s: float) -> float:
        """The density (of a scaled chi) of an estimate of s true deviations, times the probability to reject then."""
        density = math.exp(scale + (n - 2) * math.log(s) - half * s * s)
        return density * float(special.ndtr(shift - critical * s) + special.ndtr(-shift - critical * s))

    low = math.sqrt(special.gammaincinv(half, NEGLIGIBLE) / half)
    high = math.sqrt(special.gammainccinv(half, NEGLIGIBLE) / half)
    from scipy import integrate

    return float(integrate.quad(rejects, low, high)[0])


def _require_design(deviation: float, pairs: int, level: float, power: float) -> None:
    require_finite([deviation])
    if pairs < 2 or deviation < 0.0:
        raise ValueError(f"no standard deviation {deviation:g} of {pairs} pairs: it takes 2, and is not negative")
    if not 0.0 < level < power <= MOST_POWER:
        raise ValueError(f"a power of {power:g} at level {level:g}: it lies above the level, at most at {MOST_POWER}")


def detectable(deviation: float, n: int, level: float = 0.05, power: float = 0.8) -> float:
    """The smallest true mean difference, in the unit of `deviation`, that a two-sided paired t test over `n` seeds
    detects with probability `power`, if the differences have the standard deviation `deviation` (cohen1988statistical,
    2.3)."""
    _require_design(deviation, n, level, power)
    return _shift(n, level, power) * deviation / math.sqrt(n)


@functools.cache
def _shift(n: int, level: float, power: float) -> float:
    """The shift, in standard errors, at which a t test has this power."""
    high = 1.0
    while _power(high, n, level) < power:
        high *= 2.0
    from scipy import optimize

    return float(optimize.brentq(lambda shift: _power(shift, n, level) - power, 0.0, high, xtol=1e-9))


@dataclass(frozen=True)
class SeedsNeeded:
    """The number of seeds that a paired t test needs, and an interval of it, since the deviation is estimated from few
    pairs. None stands for more than MOST_SEEDS."""

    n: int | None
    low: int | None
    high: int | None

    def __str__(self) -> str:
        n, low, high = (f"> {MOST_SEEDS}" if seeds is None else str(seeds) for seeds in (self.n, self.low, self.high))
        return n if self.low == self.high else f"{n} ({low} – {high})"


def seeds_needed(
    deviation: float, difference: float, pairs: int, level: float = 0.05, power: float = 0.8, confidence: float = 0.95
) -> SeedsNeeded:
    """The number of pairs that a two-sided paired t test at `level` needs to detect a true mean `difference` with
    probability `power` (cohen1988statistical, 2.3); at least SEEDS_FOR_A_VERDICT.

    `deviation` is the standard deviation of the differences, estimated from `pairs` pairs (at least 2). The interval of
    the number follows from the chi-square interval of the deviation at `confidence`, for normal differences.
    """
    _require_design(deviation, pairs, level, power)
    require_finite([difference])
    require_share("confidence", confidence)
    tail = (1.0 - confidence) / 2.0
    low, high = (
        deviation * math.sqrt((pairs - 1) / quantile)
        for quantile in (special.chdtri(pairs - 1, tail), special.chdtri(pairs - 1, 1.0 - tail))
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
