"""Ranks against published tables, NumPy, exact enumeration and simulation."""

import math
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnn_jax.statistics import SEEDS_FOR_A_VERDICT, Interval, median, median_interval, quantile

numbers = st.floats(-1e6, 1e6)
seeds = st.lists(st.none() | numbers, min_size=1, max_size=30)


@settings(max_examples=60, deadline=None)
@given(st.lists(numbers, min_size=1, max_size=30))
def test_without_failures_a_median_is_pythons(values):
    assert median(values) == statistics.median(values)


@settings(max_examples=60, deadline=None)
@given(st.lists(numbers, min_size=1, max_size=30), st.floats(0, 1))
def test_without_failures_a_quantile_is_numpys(values, q):
    assert quantile(values, q) == pytest.approx(float(np.quantile(values, q)), rel=1e-9, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(seeds, st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]))
def test_a_failed_seed_ranks_below_every_number(values, q):
    """As if it were minus infinity: a quantile that would be infinite (or inf - inf) is a failure."""
    lowest = sorted(-math.inf if value is None else value for value in values)
    position = q * (len(values) - 1)
    if lowest[math.floor(position)] == -math.inf:
        assert quantile(values, q) is None
    else:
        assert quantile(values, q) == pytest.approx(float(np.quantile(lowest, q)), rel=1e-9, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(seeds)
def test_the_median_fails_if_at_least_half_of_the_seeds_do(values):
    assert (median(values) is None) == (2 * values.count(None) >= len(values))


def test_medians_and_quartiles_of_a_cell_with_failures():
    assert median([0.9, None, 0.8]) == 0.8
    assert median([0.9, None, 0.8, 0.6]) == pytest.approx(0.7)
    assert median([0.9, None, None, 0.8]) is None
    assert quantile([None, 1.0, 2.0, 3.0, 4.0], 0.25) == 1.0
    assert quantile([None, 1.0, 2.0, 3.0], 0.25) is None  # three quarters of a failure, no number


@pytest.mark.parametrize(
    ("n", "kind", "level"),
    [
        (6, "96.9 % interval of the median", 1 - 2 / 2**6),
        (7, "98.4 % interval of the median", 1 - 2 / 2**7),
        (8, "99.2 % interval of the median", 1 - 2 / 2**8),
    ],
)
def test_with_6_to_8_seeds_the_interval_is_the_range_and_says_its_exact_level(n, kind, level):
    assert median_interval([float(i) for i in range(n)]) == Interval(0.0, n - 1.0, kind, level)


@pytest.mark.parametrize(
    ("n", "rank", "level"),
    [(9, 2, 0.961), (10, 2, 0.979), (11, 2, 0.988), (12, 3, 0.961), (15, 4, 0.965), (20, 6, 0.959), (30, 10, 0.957)],
)
def test_ranks_and_levels_are_those_of_the_published_table(n, rank, level):
    """Ranks of the 95 % interval of a median, e.g. Conover 1999, table A3 for p = 0.5."""
    interval = median_interval(list(range(1, n + 1)))
    assert (interval.low, interval.high) == (rank, n + 1 - rank)
    assert interval.level == pytest.approx(level, abs=5e-4)
    assert interval.kind == f"{100 * level:.3g} % interval of the median"


def test_a_verdict_needs_as_many_seeds_as_a_sign_test_does():
    least = next(n for n in range(1, 20) if 2 / 2**n < 0.05)
    assert SEEDS_FOR_A_VERDICT == least == next(n for n in range(1, 20) if median_interval([0.0] * n).level)


@pytest.mark.parametrize("n", range(1, SEEDS_FOR_A_VERDICT))
def test_too_few_values_give_the_range(n):
    values = [3.0, 1.0, 2.0, 5.0, 4.0][:n]
    assert median_interval(values) == Interval(min(values), max(values), "range", None)


def test_another_level_needs_other_ranks():
    eight = [float(i) for i in range(8)]
    assert median_interval(eight, 0.993) == Interval(0.0, 7.0, "range", None)
    assert median_interval(eight, 1 - 2 / 2**8).level == 1 - 2 / 2**8  # exactly reached
    assert median_interval(eight, 0.9) == Interval(1.0, 6.0, "93 % interval of the median", 1 - 2 * 9 / 2**8)


@settings(max_examples=60, deadline=None)
@given(st.lists(numbers, min_size=6, max_size=30), st.data())
def test_a_failed_seed_moves_the_interval_as_minus_infinity_would(values, data):
    failed = data.draw(st.integers(0, len(values)))
    ordered = sorted(values)[failed:]
    interval = median_interval([None] * failed + ordered)
    as_numbers = median_interval([-1e7] * failed + ordered)
    for end, number in ((interval.low, as_numbers.low), (interval.high, as_numbers.high)):
        assert end == (None if number == -1e7 else number)
    assert interval.level == as_numbers.level


def test_the_interval_in_words():
    assert median_interval([0.99, 0.98, None, 0.97, 0.96, 0.95]).text(".1f", 100) == (
        "failed – 99.0 (96.9 % interval of the median)"
    )
    assert median_interval([1.5, 0.25]).text() == "0.25 – 1.5 (range)"


@pytest.mark.parametrize("n", [6, 9, 11, 20])
def test_the_interval_covers_as_often_as_it_says(n):
    random = np.random.default_rng(n)
    intervals = [median_interval(list(sample)) for sample in random.exponential(size=(2000, n))]
    covered = np.mean([interval.low <= math.log(2) <= interval.high for interval in intervals])
    assert covered == pytest.approx(intervals[0].level, abs=4 * math.sqrt(0.04 * 0.96 / 2000))


@pytest.mark.parametrize("function", [median, median_interval, lambda values: quantile(values, 0.5)])
def test_nothing_and_what_is_no_number_are_refused(function):
    with pytest.raises(ValueError, match="not all finite"):
        function([0.1, float("nan")])
    with pytest.raises(ValueError, match="no values"):
        function([])


@pytest.mark.parametrize("q", [-0.01, 1.01])
def test_a_quantile_lies_between_0_and_1(q):
    with pytest.raises(ValueError, match="not between 0 and 1"):
        quantile([1.0, 2.0], q)


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_a_level_lies_between_0_and_1(level):
    with pytest.raises(ValueError, match=f"level {level:g} is not between 0 and 1"):
        median_interval([1.0, 2.0], level)
