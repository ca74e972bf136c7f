"""Proportions: accuracies over n images, and failure rates of seeds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import special

from cnn_jax.statistics.interval import Interval, percent, require_share
from cnn_jax.statistics.paired import Paired, paired_t


@dataclass(frozen=True)
class ProportionInterval(Interval):
    """The interval of a proportion, whose ends and level are always numbers."""

    low: float
    high: float
    level: float


def _require_counts(count: int, n: int) -> None:
    if not 0 <= count <= n or n < 1:
        raise ValueError(f"{count} of {n} is no count")


def binomial_interval(correct: int, n: int, level: float = 0.95) -> ProportionInterval:
    """Wilson's score interval of a proportion (wilson1927probable), such as an accuracy over n test images."""
    _require_counts(correct, n)
    require_share("level", level)
    z = -special.ndtri((1.0 - level) / 2.0)
    p = correct / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return ProportionInterval(float(centre - half), float(centre + half), f"{percent(level)} Wilson interval", level)


def above_chance(correct: int, n: int, share: float, level: float = 0.01) -> bool:
    """Whether `correct` of `n` images is above chance, which is the `share` of the largest class: the exact one-sided
    binomial test, p <= `level`. With a single class (`share` = 1) nothing is above chance."""
    _require_counts(correct, n)
    require_share("level", level)
    if not 0.0 < share <= 1.0:
        raise ValueError(f"the share {share:g} is not above 0 and at most 1")
    return bool(special.bdtrc(correct - 1, n, share) <= level) if correct else False


def failure_interval(failed: int, n: int, level: float = 0.95) -> ProportionInterval:
    """The exact interval of a failure rate if `failed` of `n` seeds failed (clopper1934use). Its coverage is at least
    `level` for every rate, which matters for few seeds."""
    _require_counts(failed, n)
    require_share("level", level)
    tail = (1.0 - level) / 2.0
    low = 0.0 if failed == 0 else float(special.betaincinv(failed, n - failed + 1, tail))
    high = 1.0 if failed == n else float(special.betainccinv(failed + 1, n - failed, tail))
    return ProportionInterval(low, high, f"{percent(level)} Clopper-Pearson interval", level)


def fisher_exact(failed_a: int, n_a: int, failed_b: int, n_b: int) -> float:
    """The two-sided p value of Fisher's exact test that two failure rates are equal (fisher1935design, section 21.02).

    Also used for cells with the same seeds. Failures of a seed under two settings are independent or positively
    correlated; in the latter case this test is conservative. McNemar's exact test, which uses the pairs, is a sign test
    on the discordant pairs: with 6 seeds only 6 failures against 0 reach 0.05, with Fisher's already 5 against 0.
    """
    _require_counts(failed_a, n_a)
    _require_counts(failed_b, n_b)
    from scipy import stats  # takes a second to import

    return float(stats.fisher_exact([[failed_a, n_a - failed_a], [failed_b, n_b - failed_b]]).pvalue)


@dataclass(frozen=True)
class WithFailures:
    """A comparison of two cells a and b with failed seeds: how often each fails, with Fisher's p value; and their
    difference over the seeds that finished in both (`finished`, None for fewer than two such seeds), which says nothing
    about the other seeds."""

    failed_a: int
    failed_b: int
    n_a: int
    n_b: int
    p: float
    finished: Paired | None


def compare_with_failures(a: Sequence[float | None], b: Sequence[float | None]) -> WithFailures:
    """Compares two cells with the same order of seeds, None for a failed seed. The mean difference is conditional on
    finishing in both cells: if the seeds that fail are those that would score low, it favours the cell that fails more.
    So report it together with the failures."""
    both = [(x, y) for x, y in zip(a, b, strict=True) if x is not None and y is not None]
    failed_a, failed_b = (sum(value is None for value in values) for values in (a, b))
    finished = paired_t([x for x, _ in both], [y for _, y in both]) if len(both) > 1 else None
    p = fisher_exact(failed_a, len(a), failed_b, len(b))
    return WithFailures(failed_a, failed_b, len(a), len(b), p, finished)
