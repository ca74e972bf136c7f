"""Statistics against tables, against SciPy's own tests, and by simulation."""

import itertools

import numpy as np
import pytest
from scipy import stats

from cnn_jax.statistics import binomial_interval, holm, median_interval, paired_t, seeds_needed, sign_flips


def test_the_interval_of_a_median_below_six_values_is_the_range():
    interval = median_interval([3.0, 1.0, 2.0, 5.0, 4.0])
    assert (interval.low, interval.high, interval.kind) == (1.0, 5.0, "range")


@pytest.mark.parametrize(("n", "rank"), [(6, 1), (8, 1), (9, 2), (12, 3), (20, 6), (30, 10)])
def test_the_ranks_of_the_interval_are_those_of_the_published_table(n, rank):
    """Ranks of the 95 % interval of a median, e.g. Conover 1999, table A3 for p = 0.5."""
    interval = median_interval(list(range(1, n + 1)))
    assert (interval.low, interval.high) == (rank, n + 1 - rank)


def test_the_interval_of_a_median_covers_what_it_says():
    random = np.random.default_rng(0)
    covered = 0
    for _ in range(2000):
        interval = median_interval(list(random.exponential(size=11)))
        covered += interval.low <= np.log(2) <= interval.high
    assert covered / 2000 > 0.95


def test_binomial_interval_is_scipys_wilson():
    ours, theirs = binomial_interval(9899, 10000), stats.binomtest(9899, 10000).proportion_ci(method="wilson")
    assert ours.low == pytest.approx(theirs.low, abs=1e-12)
    assert ours.high == pytest.approx(theirs.high, abs=1e-12)


def test_paired_t_is_scipys():
    random = np.random.default_rng(1)
    a, b = random.normal(size=(2, 8))
    ours, theirs = paired_t(a, b), stats.ttest_rel(a, b)
    assert ours.p == pytest.approx(theirs.pvalue, rel=1e-9)
    assert (ours.low, ours.high) == pytest.approx(tuple(theirs.confidence_interval()), rel=1e-9)
    assert paired_t([1.0, 1.0], [1.0, 1.0]).p == 1.0
    assert paired_t([1.0, 1.0], [0.5, 0.5]).p == 0.0


def test_holm_on_a_worked_example():
    """0.01·4, 0.02·3, 0.03·2 and 0.04·1, none below the one before."""
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]


@pytest.mark.parametrize("function", [median_interval, holm, lambda values: seeds_needed(values[0], 1.0)])
def test_what_is_no_number_is_refused(function):
    with pytest.raises(ValueError, match="not all finite"):
        function([float("nan"), 0.1])


def test_holm_keeps_the_familywise_error():
    """20 true null hypotheses: in at most about 5 % of the families is any of them rejected."""
    random = np.random.default_rng(2)
    wrong = sum(min(holm(list(random.uniform(size=20)))) < 0.05 for _ in range(2000))
    assert wrong / 2000 < 0.065


def test_sign_flips_are_counted_one_by_one():
    a, b = np.random.default_rng(3).normal(size=(2, 7))
    flipped = [abs(np.dot(signs, a - b)) for signs in itertools.product((-1, 1), repeat=7)]
    assert sign_flips(a, b) == np.mean([value >= abs((a - b).sum()) - 1e-12 for value in flipped])
    assert sign_flips([1.0] * 6, [0.0] * 6) == 2 / 2**6  # none below six pairs can reach 0.05


def test_as_many_seeds_find_a_difference_as_are_said_to():
    """By simulation: with that many pairs about 80 % of t tests find it, with a fifth fewer clearly less."""
    n = seeds_needed(deviation=0.5, difference=0.4)
    random = np.random.default_rng(4)

    def power(pairs):
        p = stats.ttest_1samp(random.normal(0.4, 0.5, size=(20_000, pairs)), 0.0, axis=1).pvalue
        return (p < 0.05).mean()

    assert power(n) == pytest.approx(0.82, abs=0.03)
    assert power(n - 2) < 0.8
    assert seeds_needed(0.0, 1.0) == seeds_needed(0.01, 1.0) == 6
