"""The statistics of verdicts: order statistics, proportions, paired comparisons, power, and comparisons with the best.
Pure functions of numbers; docs/statistics.md lists where each is used and its simulated error rate.

A failed seed (diverged, interrupted) has no value. It is None in functions of ranks, and counted in comparisons of
rates; it never enters a mean or t test as a zero.
"""

from cnn_jax.statistics.best import BestComparison, compare_with_best, p_not_best
from cnn_jax.statistics.interval import Interval
from cnn_jax.statistics.order import SEEDS_FOR_A_VERDICT, median, median_interval, quantile
from cnn_jax.statistics.paired import MOST_FLIPS, Equivalence, Paired, equivalent, holm, paired_t, sign_flips
from cnn_jax.statistics.power import MOST_SEEDS, SeedsNeeded, detectable, seeds_needed
from cnn_jax.statistics.proportions import (
    ProportionInterval,
    WithFailures,
    above_chance,
    binomial_interval,
    compare_with_failures,
    failure_interval,
    fisher_exact,
)

__all__ = [
    "MOST_FLIPS",
    "MOST_SEEDS",
    "SEEDS_FOR_A_VERDICT",
    "BestComparison",
    "Equivalence",
    "Interval",
    "Paired",
    "ProportionInterval",
    "SeedsNeeded",
    "WithFailures",
    "above_chance",
    "binomial_interval",
    "compare_with_best",
    "compare_with_failures",
    "detectable",
    "equivalent",
    "failure_interval",
    "fisher_exact",
    "holm",
    "median",
    "median_interval",
    "p_not_best",
    "paired_t",
    "quantile",
    "seeds_needed",
    "sign_flips",
]
