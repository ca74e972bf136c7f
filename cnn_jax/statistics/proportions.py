"""Proportions: accuracies over n images, and how often seeds fail."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import special

from cnn_jax.statistics.interval import Interval, percent, require_share
from cnn_jax.statistics.paired import Paired, paired_t


@dataclass(frozen=True)
class ProportionInterval(Interval):
    """Of a proportion: both ends are numbers, and so is the level."""

    low: float
    high: float
    level: float


def _require_counts(count: int, n: int) -> None:
    if not 0 <= count <= n or n < 1:
        raise ValueError(f"{count} of {n} is no count")


def binomial_interval(correct: int, n: int, level: float = 0.95) -> ProportionInterval:
    """Wilson's score interval of a proportion (wilson1927probable): that of an accuracy over n test images."""
    _require_counts(correct, n)
    require_share("level", level)
    z = -special.ndtri((1.0 - level) / 2.0)
    p = correct / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return ProportionInterval(float(centre - half), float(centre + half), f"{percent(level)} Wilson interval", level)


def above_chance(correct: int, n: int, share: float, level: float = 0.01) -> bool:
    """Whether `correct` of `n` images is more than the largest class's `share` of them explains: the exact one-sided
    binomial test, p <= `level`. Where one class is all there is (`share` = 1), nothing is above chance."""
    _require_counts(correct, n)
    require_share("level", level)
    if not 0.0 < share <= 1.0:
        raise ValueError(f"the share {share:g} is not above 0 and at most 1")
    return bool(special.bdtrc(correct - 1, n, share) <= level) if correct else False


def failure_interval(failed: int, n: int, level: float = 0.95) -> ProportionInterval:
    """The exact interval of a failure rate, of which `failed` of `n` seeds are known (clopper1934use): for few seeds,
    where it must cover with at least `level` whatever the rate is."""
    _require_counts(failed, n)
    require_share("level", level)
    tail = (1.0 - level) / 2.0
    low = 0.0 if failed == 0 else float(special.betaincinv(failed, n - failed + 1, tail))
    high = 1.0 if failed == n else float(special.betainccinv(failed + 1, n - failed, tail))
    return ProportionInterval(low, high, f"{percent(level)} Clopper-Pearson interval", level)


def fisher_exact(failed_a: int, n_a: int, failed_b: int, n_b: int) -> float:
    """The two-sided p value of Fisher's exact test that two failure rates are equal (fisher1935design, section 21.02).

    Used also where both cells have the same seeds. Failures of one seed under two settings are independent or go
    together, and then this test errs on the safe side. McNemar's exact test, which would use the pairs, is a sign test
    on the discordant ones: with 6 seeds only 6 failures against 0 reach 0.05, Fisher's already 5 against 0.
    """
    _require_counts(failed_a, n_a)
    _require_counts(failed_b, n_b)
    from scipy import stats  # which takes a second to import

    return float(stats.fisher_exact([[failed_a, n_a - failed_a], [failed_b, n_b - failed_b]]).pvalue)


@dataclass(frozen=True)
class WithFailures:
    """Two statements on two cells a and b of which seeds failed: how often each fails, with Fisher's p value; and how
    they differ over the seeds that finished in both (`finished`, None below two such seeds), which says nothing of the
    others."""

    failed_a: int
    failed_b: int
    n_a: int
    n_b: int
    p: float
    finished: Paired | None


def compare_with_failures(a: Sequence[float | None], b: Sequence[float | None]) -> WithFailures:
    """Cells in the same order of seeds, None for a failed one. The mean difference is conditional on having finished
    in both: where the seeds that fail are those that would score low, it favours the cell that fails more, so the two
    statements belong together."""
    both = [(x, y) for x, y in zip(a, b, strict=True) if x is not None and y is not None]
    failed_a, failed_b = (sum(value is None for value in values) for values in (a, b))
    finished = paired_t([x for x, _ in both], [y for _, y in both]) if len(both) > 1 else None
    p = fisher_exact(failed_a, len(a), failed_b, len(b))
    return WithFailures(failed_a, failed_b, len(a), len(b), p, finished)
