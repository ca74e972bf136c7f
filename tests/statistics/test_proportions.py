"""Proportions against SciPy's tests, published examples, and all outcomes counted one by one."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from cnn_jax.statistics import (
    above_chance,
    binomial_interval,
    compare_with_failures,
    failure_interval,
    fisher_exact,
    paired_t,
)


@st.composite
def counts(draw):
    n = draw(st.integers(1, 200))
    return draw(st.integers(0, n)), n


@settings(max_examples=60, deadline=None)
@given(counts(), st.sampled_from([0.9, 0.95, 0.99]))
def test_an_accuracys_interval_is_scipys_wilson(count, level):
    ours = binomial_interval(*count, level)
    theirs = stats.binomtest(*count).proportion_ci(level, method="wilson")
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_an_accuracys_interval_as_published():
    """81 of 263: 0.2553 – 0.3662 (Newcombe 1998, Statistics in Medicine 17, table I, method 3)."""
    interval = binomial_interval(81, 263)
    assert (round(interval.low, 4), round(interval.high, 4)) == (0.2553, 0.3662)
    assert (interval.kind, interval.level) == ("95 % Wilson interval", 0.95)


@settings(max_examples=60, deadline=None)
@given(counts(), st.sampled_from([0.9, 0.95, 0.99]))
def test_a_failure_rates_interval_is_scipys_exact_one(count, level):
    ours = failure_interval(*count, level)
    theirs = stats.binomtest(*count).proportion_ci(level, method="exact")
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


def test_a_failure_rates_interval_at_its_ends():
    """The rule of three, exactly: no failure in n leaves rates up to 1 - 0.025^(1/n)."""
    assert failure_interval(0, 8).low == 0.0
    assert failure_interval(0, 8).high == pytest.approx(1 - 0.025 ** (1 / 8))
    assert failure_interval(8, 8).low == pytest.approx(0.025 ** (1 / 8))
    assert failure_interval(8, 8).high == 1.0
    assert failure_interval(1, 8).kind == "95 % Clopper-Pearson interval"
    assert failure_interval(1, 8, 0.9).level == 0.9


@pytest.mark.parametrize("rate", [0.05, 0.3, 0.5])
@pytest.mark.parametrize("n", [5, 8, 12])
def test_a_failure_rates_interval_covers_by_exact_enumeration(n, rate):
    inside = [failure_interval(k, n).low <= rate <= failure_interval(k, n).high for k in range(n + 1)]
    assert sum(stats.binom.pmf(k, n, rate) for k in range(n + 1) if inside[k]) >= 0.95


@settings(max_examples=60, deadline=None)
@given(counts(), st.floats(0.01, 0.99))
def test_above_chance_is_scipys_one_sided_test(count, share):
    p = stats.binomtest(*count, share, "greater").pvalue
    assume(not math.isclose(p, 0.01, rel_tol=1e-9))  # rounding decides at the level itself
    assert above_chance(*count, share) == (p <= 0.01)


def test_above_chance_at_the_exact_limit():
    """10 classes, 100 images: P(X >= 19 | 0.1) = 0.0046 and P(X >= 18) = 0.0100 is a hair above 0.01."""
    assert above_chance(19, 100, 0.1)
    assert stats.binom.sf(17, 100, 0.1) == pytest.approx(0.0100, abs=1e-4)
    assert above_chance(18, 100, 0.1) == (stats.binom.sf(17, 100, 0.1) <= 0.01)
    assert not above_chance(17, 100, 0.1)
    assert above_chance(18, 100, 0.1, level=0.02)
    assert above_chance(2, 2, 0.5, level=0.25)  # exactly reached
    assert not above_chance(2, 2, 0.5, level=0.2499)
    assert not above_chance(100, 100, 1.0)


@pytest.mark.parametrize("n", [12, 100])
def test_a_constant_guess_is_hardly_ever_above_chance(n):
    wrong = sum(stats.binom.pmf(k, n, 0.1) for k in range(n + 1) if above_chance(k, n, 0.1))
    assert 0.0 < wrong <= 0.01


def test_fishers_lady_tasting_tea():
    """3 of 4 cups right in each half: p = 34/70 (Fisher 1935, section 5)."""
    assert fisher_exact(3, 4, 1, 4) == pytest.approx(34 / 70)
    assert fisher_exact(4, 4, 0, 4) == pytest.approx(2 / 70)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 8), st.integers(1, 8), st.data())
def test_fishers_p_value_is_counted_one_by_one(n_a, n_b, data):
    failed_a, failed_b = data.draw(st.integers(0, n_a)), data.draw(st.integers(0, n_b))
    failed = failed_a + failed_b

    def ways(a):
        return math.comb(n_a, a) * math.comb(n_b, failed - a)

    possible = range(max(0, failed - n_b), min(n_a, failed) + 1)
    as_rare = sum(ways(a) for a in possible if ways(a) <= ways(failed_a))
    assert fisher_exact(failed_a, n_a, failed_b, n_b) == pytest.approx(
        float(Fraction(as_rare, math.comb(n_a + n_b, failed)))
    )


def joint(rate, correlation):
    """Probabilities of (both, only a, only b, neither) failing, for one seed under two settings."""
    both = rate * rate + correlation * rate * (1 - rate)
    return both, rate - both, rate - both, 1 - 2 * rate + both


def rejects(n, probabilities, test):
    """How often a test of paired failures rejects at 0.05, over all outcomes of n seeds."""
    total = 0.0
    for both, a, b in itertools.product(range(n + 1), repeat=3):
        if both + a + b <= n:
            outcome = (both, a, b, n - both - a - b)
            if test(outcome, n) <= 0.05:
                total += stats.multinomial.pmf(outcome, n, probabilities)
    return total


def fisher(outcome, n):
    both, a, b, _ = outcome
    return fisher_exact(both + a, n, both + b, n)


def mcnemar(outcome, n):
    _, a, b, _ = outcome
    return stats.binomtest(a, a + b).pvalue if a + b else 1.0


@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.8])
@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_fishers_test_errs_on_the_safe_side_where_a_seed_fails_in_both(rate, correlation):
    assert rejects(6, joint(rate, correlation), fisher) <= 0.05


def test_fishers_test_sees_more_than_mcnemars_with_few_seeds():
    """Rates 0.9 and 0.1, independent: the reason to prefer it."""
    probabilities = (0.09, 0.81, 0.01, 0.09)
    assert rejects(6, probabilities, fisher) == pytest.approx(0.66, abs=0.005)
    assert rejects(6, probabilities, mcnemar) == pytest.approx(0.28, abs=0.005)


def test_cells_with_failures_give_two_statements():
    a = [0.5, None, 0.7, 0.8, None, 0.9]
    b = [0.4, 0.5, 0.5, None, None, 0.9]
    both = compare_with_failures(a, b)
    assert (both.failed_a, both.n_a, both.failed_b, both.n_b) == (2, 6, 2, 6)
    assert both.p == fisher_exact(2, 6, 2, 6) == 1.0
    assert both.finished == paired_t([0.5, 0.7, 0.9], [0.4, 0.5, 0.9])
    assert compare_with_failures([None] * 6, [0.9] * 6).p == pytest.approx(2 / math.comb(12, 6))
    assert compare_with_failures([None, 0.5, 0.6], [0.9, 0.8, None]).finished is None
    assert compare_with_failures([None, 0.5, 0.6], [0.9, 0.8, 0.7]).finished.n == 2


def test_cells_of_other_seeds_are_refused():
    with pytest.raises(ValueError):
        compare_with_failures([0.1, 0.2], [0.1])


@pytest.mark.parametrize(("count", "n"), [(-1, 4), (5, 4), (0, 0)])
@pytest.mark.parametrize(
    "function",
    [
        binomial_interval,
        failure_interval,
        lambda count, n: above_chance(count, n, 0.5),
        lambda count, n: fisher_exact(count, n, 1, 2),
        lambda count, n: fisher_exact(1, 2, count, n),
    ],
)
def test_what_is_no_count_is_refused(function, count, n):
    with pytest.raises(ValueError, match="is no count"):
        function(count, n)


@pytest.mark.parametrize("level", [0.0, 1.0])
@pytest.mark.parametrize(
    "function", [binomial_interval, failure_interval, lambda k, n, level: above_chance(k, n, 0.5, level)]
)
def test_a_level_lies_between_0_and_1(function, level):
    with pytest.raises(ValueError, match=f"level {level:g} is not between"):
        function(1, 2, level)


@pytest.mark.parametrize("share", [0.0, 1.01, np.nan])
def test_a_share_is_above_0_and_at_most_1(share):
    with pytest.raises(ValueError, match="share"):
        above_chance(1, 2, share)
