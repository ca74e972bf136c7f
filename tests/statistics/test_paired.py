"""Paired tests against SciPy, published examples, and all signs counted one by one."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from cnn_jax.statistics import Equivalence, Paired, equivalent, holm, paired_t, sign_flips

# Hours of additional sleep under two drugs: Student 1908, as in R's `sleep`.
FIRST = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
SECOND = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
# Growth of cross- and self-fertilised maize: Darwin's, in eighths of an inch, as Fisher 1935 has them (section 17).
MAIZE = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]


def test_students_own_example():
    """R: t.test(extra ~ group, data = sleep, paired = TRUE): t = -4.0621, p = 0.002833, -2.4598858 to -0.7001142."""
    test = paired_t(FIRST, SECOND)
    assert test.difference == pytest.approx(-1.58)
    assert (test.low, test.high) == pytest.approx((-2.4598858, -0.7001142), abs=1e-7)
    assert test.p == pytest.approx(0.002833, abs=5e-7)
    assert test.deviation == pytest.approx(np.std(np.subtract(FIRST, SECOND), ddof=1))
    assert test.n == 10


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 20), st.integers(0, 10_000), st.sampled_from([0.9, 0.95, 0.99]))
def test_paired_t_is_scipys(n, seed, level):
    a, b = np.random.default_rng(seed).normal(size=(2, n))
    ours, theirs = paired_t(a, b, level), stats.ttest_rel(a, b)
    assert ours.p == pytest.approx(theirs.pvalue, rel=1e-9)
    assert (ours.low, ours.high) == pytest.approx(tuple(theirs.confidence_interval(level)), rel=1e-9)


def test_values_that_never_differ_or_always_by_the_same():
    assert paired_t([1.0, 1.0], [1.0, 1.0]) == Paired(0.0, 0.0, 0.0, 1.0, 0.0, 2)
    assert paired_t([1.0, 1.0], [0.5, 0.5]) == Paired(0.5, 0.5, 0.5, 0.0, 0.0, 2)


def test_two_one_sided_tests_are_scipys():
    """The p value is the larger of the two, whichever limit is nearer, and the 90 % interval agrees with it."""
    random = np.random.default_rng(5)
    verdicts = []
    for shift in (0.0, 0.4, -0.4, 0.9, -0.9, 2.0):
        a = random.normal(shift, 1.0, 12)
        b = random.normal(0.0, 0.3, 12)
        for margin in (0.5, 1.0, 1.5):
            ours = equivalent(a, b, margin)
            above = stats.ttest_1samp(a - b, -margin, alternative="greater").pvalue
            below = stats.ttest_1samp(a - b, margin, alternative="less").pvalue
            assert ours.p == pytest.approx(max(above, below))
            assert (ours.low, ours.high) == pytest.approx(tuple(stats.ttest_rel(a, b).confidence_interval(0.9)))
            assert ours.equivalent == (-margin < ours.low and ours.high < margin) == (ours.p <= 0.05)
            assert (ours.difference, ours.margin, ours.n) == (pytest.approx((a - b).mean()), margin, 12)
            verdicts.append(ours.equivalent)
    assert 0 < sum(verdicts) < len(verdicts)


def test_equivalence_at_another_level():
    a, b = [0.1, 0.3, -0.2, 0.0, 0.2, -0.1], [0.0] * 6
    p = equivalent(a, b, 0.25).p
    assert 0.01 < p < 0.05
    assert equivalent(a, b, 0.25).equivalent
    assert not equivalent(a, b, 0.25, level=0.01).equivalent
    assert equivalent(a, b, 0.25, level=p).equivalent
    assert equivalent(a, b, 0.25, level=0.01).low == pytest.approx(paired_t(a, b, 0.98).low)


def test_equivalence_of_values_that_always_differ_by_the_same():
    assert equivalent([1.0, 2.0], [0.5, 1.5], 0.75) == Equivalence(0.5, 0.5, 0.5, 0.75, 0.0, 2, True)
    assert equivalent([1.0, 2.0], [0.5, 1.5], 0.5) == Equivalence(0.5, 0.5, 0.5, 0.5, 1.0, 2, False)


def test_equivalence_is_claimed_wrongly_in_one_case_of_twenty_at_the_margin():
    random = np.random.default_rng(6)
    nothing = np.zeros(10)
    wrong = np.mean([equivalent(sample, nothing, 1.5).equivalent for sample in random.normal(1.5, 1.0, (2000, 10))])
    assert wrong == pytest.approx(0.05, abs=0.02)


@pytest.mark.parametrize("margin", [0.0, -1.0, float("nan"), float("inf")])
def test_a_margin_is_positive(margin):
    with pytest.raises(ValueError, match="margin"):
        equivalent([0.1, 0.2], [0.1, 0.3], margin)


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_a_level_lies_between_0_and_1(level):
    with pytest.raises(ValueError, match=f"level {level:g} is not between"):
        paired_t([0.1, 0.2], [0.1, 0.3], level)


@pytest.mark.parametrize("level", [0.0, 0.5])
def test_the_level_of_two_one_sided_tests_is_below_a_half(level):
    with pytest.raises(ValueError, match="level"):
        equivalent([0.1, 0.2], [0.1, 0.3], 1.0, level)


def test_fishers_own_sign_flips():
    """Of 2^15 assignments of signs 1,726 give a sum of at least 314, on either side (Fisher 1935, section 21)."""
    assert sign_flips(MAIZE, [0] * 15) == 1726 / 2**15


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 8), st.integers(0, 10_000))
def test_sign_flips_are_counted_one_by_one(n, seed):
    a, b = np.random.default_rng(seed).normal(size=(2, n))
    flipped = [abs(np.dot(signs, a - b)) for signs in itertools.product((-1, 1), repeat=n)]
    assert sign_flips(a, b) == np.mean([value >= abs((a - b).sum()) - 1e-12 for value in flipped])


def test_sign_flips_at_their_ends():
    assert sign_flips([1.0] * 6, [0.0] * 6) == 2 / 2**6  # none below six pairs can reach 0.05
    assert sign_flips([0.3], [0.1]) == 1.0
    assert sign_flips([0.1] * 3, [0.1] * 3) == 1.0
    assert sign_flips(np.arange(20.0) + 1, [0.0] * 20) == 2 / 2**20
    with pytest.raises(ValueError, match="21 pairs: the exact test takes at most 20"):
        sign_flips([1.0] * 21, [0.0] * 21)
    with pytest.raises(ValueError, match="at least 1 pairs"):
        sign_flips([], [])


def test_sign_flips_see_a_tie_through_rounding():
    """0.1 + 0.2 is not 0.3 in floating point; both signs of a pair that adds to zero count as ties."""
    assert sign_flips([0.1, 0.2, -0.3, 0.3], [0.0] * 4) == np.mean(
        [abs(0.1 * s + 0.2 * t - 0.3 * u + 0.3 * v) > 0.29 for s, t, u, v in itertools.product((-1, 1), repeat=4)]
    )


@pytest.mark.parametrize("function", [paired_t, sign_flips, lambda a, b: equivalent(a, b, 1.0)])
def test_what_is_no_pair_of_numbers_is_refused(function):
    with pytest.raises(ValueError, match="not all finite"):
        function([0.1, float("nan")], [0.1, 0.2])
    with pytest.raises(ValueError, match="2 and 1 values"):
        function([0.1, 0.2], [0.1])


@pytest.mark.parametrize("function", [paired_t, lambda a, b: equivalent(a, b, 1.0)])
def test_one_pair_has_no_deviation(function):
    with pytest.raises(ValueError, match="1 and 1 values are not at least 2 pairs"):
        function([0.1], [0.2])


def test_holm_on_a_worked_example():
    """0.01·4, 0.02·3, 0.03·2 and 0.04·1, none below the one before."""
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([0.03]) == [0.03]
    assert holm([]) == []


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_rejects_what_the_step_down_rule_rejects(p_values):
    """Holm's own words: reject the smallest p while it is at most 0.05 over the number of those that are left."""
    ordered = sorted(p_values)
    n = len(ordered)
    rejected = 0
    while rejected < n and ordered[rejected] * (n - rejected) <= 0.05:
        rejected += 1
    assert sum(p <= 0.05 for p in holm(p_values)) == rejected


def test_holm_refuses_what_is_no_number():
    with pytest.raises(ValueError, match="not all finite"):
        holm([float("nan"), 0.1])


def test_holm_keeps_the_familywise_error():
    """20 true null hypotheses: in at most about 5 % of the families is any of them rejected."""
    random = np.random.default_rng(2)
    wrong = sum(min(holm(list(random.uniform(size=20)))) < 0.05 for _ in range(2000))
    assert wrong / 2000 < 0.065
