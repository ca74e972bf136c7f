"""Power against published numbers, SciPy's noncentral t where it is sound, and simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from cnn_jax.statistics import MOST_SEEDS, SeedsNeeded, detectable, seeds_needed


@pytest.mark.parametrize(
    ("effect", "power", "pairs"),
    [(0.2, 0.8, 199), (0.5, 0.8, 34), (0.8, 0.8, 15), (0.5, 0.95, 54), (1.0, 0.95, 16), (1.0, 0.8, 10)],
)
def test_as_many_pairs_as_gpower_says(effect, power, pairs):
    """G*Power 3.1, means: difference between two dependent means, two-sided 0.05; R's power.t.test agrees."""
    assert seeds_needed(1.0, effect, 10, power=power).n == pairs
    assert seeds_needed(3.0, -3.0 * effect, 10, power=power).n == pairs


@pytest.mark.parametrize("level", [0.05, 0.001])
@pytest.mark.parametrize("power", [0.8, 0.95])
@pytest.mark.parametrize("n", [2, 3, 6, 8, 12, 100])
def test_the_detectable_difference_has_that_power_by_scipys_noncentral_t(n, power, level):
    shift = detectable(1.0, n, level, power) * math.sqrt(n)
    critical = stats.t.isf(level / 2, n - 1)
    assert stats.nct.sf(critical, n - 1, shift) == pytest.approx(power, abs=1e-6)


def test_the_detectable_difference_goes_with_the_deviation():
    assert detectable(2.5, 8) == pytest.approx(2.5 * detectable(1.0, 8))
    assert detectable(0.0, 8) == 0.0


def test_the_largest_power_that_is_computed():
    critical = stats.t.isf(0.025, 5)
    assert stats.nct.sf(critical, 5, detectable(1.0, 6, power=0.9999) * math.sqrt(6)) == pytest.approx(0.9999, abs=1e-8)
    with pytest.raises(ValueError, match="above the level, at most"):
        detectable(1.0, 6, power=0.99991)


def test_a_small_shift_counts_both_tails():
    """A power barely above the level is reached by both tails: 0.0608 = P(|T'| > 2.571) with a shift of 0.3."""
    critical = stats.t.isf(0.025, 5)
    power = stats.nct.sf(critical, 5, 0.3) + stats.nct.cdf(-critical, 5, 0.3)
    assert detectable(1.0, 6, power=power) * math.sqrt(6) == pytest.approx(0.3, abs=1e-5)


def test_by_simulation_the_detectable_difference_is_found_with_80_percent():
    random = np.random.default_rng(4)
    for n in (6, 12):
        samples = random.normal(detectable(0.5, n), 0.5, size=(20_000, n))
        found = (stats.ttest_1samp(samples, 0.0, axis=1).pvalue < 0.05).mean()
        assert found == pytest.approx(0.8, abs=0.012)


@pytest.mark.parametrize("n", [6, 7, 10, 30, 200])
def test_seeds_needed_and_detectable_are_inverse(n):
    just = detectable(0.7, n)
    assert seeds_needed(0.7, just * 1.0001, 10).n == n
    assert seeds_needed(0.7, just * 0.9999, 10).n == n + 1


def test_a_larger_difference_never_needs_more_seeds():
    """A difference of 5 needed 12 seeds where 1 needed 6: SciPy's noncentral t is NaN far out."""
    needed = [seeds_needed(0.1, difference, 8).n for difference in (0.01, 0.05, 0.1, 0.2, 1.0, 5.0, 50.0, 1e6)]
    assert needed == sorted(needed, reverse=True)
    assert needed[-4:] == [6, 6, 6, 6]


def test_what_nobody_trains_is_not_counted():
    assert seeds_needed(1.0, 0.0, 8) == SeedsNeeded(None, None, None)
    n = detectable(1.0, MOST_SEEDS)
    assert seeds_needed(1.0, n * 1.000001, 8).n == MOST_SEEDS
    assert seeds_needed(1.0, n * 0.999, 8).n is None


def test_values_that_never_scatter_need_no_more_than_a_verdict_does():
    assert seeds_needed(0.0, 0.1, 8) == SeedsNeeded(6, 6, 6)


def test_the_interval_is_that_of_the_deviation():
    """6 pairs: the deviation is known to 0.624 – 2.453 times its estimate (chi-square with 5 degrees of freedom:
    12.833 and 0.831, any table)."""
    needed = seeds_needed(1.0, 0.8, 6)
    assert needed.n == 15
    assert needed.low == seeds_needed(math.sqrt(5 / 12.8325), 0.8, 6).n == 7
    assert needed.high == seeds_needed(math.sqrt(5 / 0.83121), 0.8, 6).n == 76
    narrower = seeds_needed(1.0, 0.8, 6, confidence=0.5)
    assert needed.low < narrower.low < 15 < narrower.high < needed.high
    assert seeds_needed(1.0, 0.8, 2).high is None
    finely = seeds_needed(1.0, 0.1, 3)  # chi-square with 2 degrees of freedom is exponential: -2 log of the tail
    ends = [math.sqrt(2 / (-2 * math.log(tail))) for tail in (0.025, 0.975)]
    assert [finely.low, finely.high] == [seeds_needed(end, 0.1, 3).n for end in ends]


def test_the_interval_holds_the_true_number_as_often_as_it_says():
    random = np.random.default_rng(7)
    true = seeds_needed(1.0, 0.5, 8).n
    intervals = [seeds_needed(sample.std(ddof=1), 0.5, 8) for sample in random.normal(size=(150, 8))]
    assert np.mean([i.low <= true <= i.high for i in intervals]) == pytest.approx(0.95, abs=0.05)


def test_numbers_of_seeds_in_words():
    assert str(SeedsNeeded(15, 7, 76)) == "15 (7 – 76)"
    assert str(SeedsNeeded(15, 7, None)) == "15 (7 – > 10000)"
    assert str(SeedsNeeded(6, 6, 6)) == "6"
    assert str(SeedsNeeded(None, None, None)) == "> 10000"


@pytest.mark.parametrize(
    "arguments",
    [
        {"n": 1},
        {"deviation": -0.1},
        {"deviation": math.nan},
        {"level": 0.0},
        {"power": 1.0},
        {"power": 0.05},
        {"level": 0.9},
    ],
)
def test_no_power_of_what_cannot_be(arguments):
    with pytest.raises(ValueError):
        detectable(**({"deviation": 1.0, "n": 6} | arguments))
    needs = {"pairs": arguments.pop("n")} if "n" in arguments else {}
    with pytest.raises(ValueError):
        seeds_needed(**({"deviation": 1.0, "difference": 1.0, "pairs": 6} | arguments | needs))


@pytest.mark.parametrize("confidence", [0.0, 1.0])
def test_a_confidence_lies_between_0_and_1(confidence):
    with pytest.raises(ValueError, match=f"confidence {confidence:g} is not between"):
        seeds_needed(1.0, 1.0, 6, confidence=confidence)


def test_an_infinite_difference_is_refused():
    with pytest.raises(ValueError, match="not all finite"):
        seeds_needed(1.0, math.inf, 6)
