"""Comparisons with the best: by hand, against a second implementation, and error rates by simulation."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from cnn_jax.statistics import compare_with_best, detectable, holm, p_not_best, paired_t


def beaten(cell, rival):
    return stats.ttest_rel(rival, cell, alternative="greater").pvalue


def step_down(values, level=0.05):
    """The docstring's rule as it is said there, one test after another, with SciPy's: the cells that are worse."""
    candidates, worse = set(range(len(values))), set()
    while len(candidates) > 1:
        m = len(candidates)
        p = {i: min(beaten(values[i], rival) for rival in np.delete(values, i, 0)) for i in candidates}
        weakest = min(p, key=p.get)
        if p[weakest] > level / (m * (m - 1)):
            break
        candidates.remove(weakest)
        worse.add(weakest)
    return worse


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 6), st.integers(2, 10), st.integers(0, 10_000), st.floats(0, 5), st.sampled_from([0.05, 0.2]))
def test_the_cells_that_are_worse_are_those_of_a_second_implementation(cells, n, seed, scale, level):
    random = np.random.default_rng(seed)
    values = random.normal(size=(cells, n)) * random.uniform(0.1, 2, (cells, 1)) + scale * random.normal(
        size=(cells, 1)
    )
    comparisons = compare_with_best(values.tolist(), level)
    assert {i for i, one in enumerate(comparisons) if one.worse} == step_down(values, level)
    assert [one.p for one in comparisons] == list(p_not_best(values))
    assert all(0.0 <= one.p <= 1.0 for one in comparisons)
    for i, one in enumerate(comparisons):
        assert one.worse == (one.p <= level) == (one.high <= 0.0)
        assert one.difference == pytest.approx(values[i].mean() - np.delete(values, i, 0).mean(1).max())
        assert one.low < one.difference < one.high or (one.worse and one.low < one.difference)
    assert sum(one.worse for one in comparisons) < cells
    assert comparisons[int(np.argmax([one.p for one in comparisons]))].worse is False


def test_two_cells_are_a_paired_t_test():
    a, b = [0.90, 0.91, 0.93, 0.90, 0.94, 0.92], [0.88, 0.92, 0.90, 0.89, 0.90, 0.91]
    test = paired_t(b, a)
    first, second = compare_with_best([a, b])
    assert second.p == pytest.approx(test.p)
    assert (second.low, second.high) == pytest.approx((test.low, test.high))
    assert (first.low, first.high) == pytest.approx((-test.high, -test.low))
    assert (first.difference, second.difference) == (-test.difference, test.difference)
    assert first.p == 1.0
    assert first.detectable == second.detectable == pytest.approx(detectable(test.deviation, 6))


def test_three_cells_by_hand():
    """Differences to the first cell with means 3 and 0.5 and standard deviations 0.816 and 1.211: t = 9 and 1.01."""
    best = np.array([10.0, 11.0, 12.0, 13.0, 14.0, 15.0])
    far = best - [2.0, 3.0, 4.0, 2.5, 3.5, 3.0]
    near = best - [1.0, -1.0, 2.0, -1.0, 1.0, 1.0]
    first, second, third = compare_with_best([best, far, near])
    t_far = 3.0 / (math.sqrt(2.5 / 5) / math.sqrt(6))
    t_near = 0.5 / (math.sqrt((9 - 6 * 0.25) / 5) / math.sqrt(6))
    assert second.p == pytest.approx(3 * 2 * stats.t.sf(t_far, 5))
    assert third.p == pytest.approx(2 * 1 * stats.t.sf(t_near, 5))
    assert (first.worse, second.worse, third.worse) == (False, True, False)
    half = stats.t.isf(0.05 / 6, 5) * math.sqrt((9 - 6 * 0.25) / 5) / math.sqrt(6)
    assert (third.low, third.high) == (pytest.approx(-0.5 - half), pytest.approx(-0.5 + half))
    assert (first.low, first.high) == (pytest.approx(0.5 - half), pytest.approx(0.5 + half))
    assert third.detectable == pytest.approx(detectable(math.sqrt(1.5), 6))  # two candidates are left: one pair
    exactly = compare_with_best([best, far, near], level=second.p)
    assert [one.worse for one in exactly] == [False, True, False]
    assert exactly[2].detectable == pytest.approx(detectable(math.sqrt(1.5), 6, second.p))


def test_many_grids_at_once_are_each_alone():
    values = np.random.default_rng(8).normal(size=(2, 3, 4, 6))
    together = p_not_best(values)
    assert together.shape == (2, 3, 4)
    for i, j in np.ndindex(2, 3):
        assert together[i, j] == pytest.approx(p_not_best(values[i, j]))


def test_the_smallest_difference_that_could_be_seen_is_that_of_all_pairs_of_candidates():
    values = np.random.default_rng(1).normal(size=(4, 8))
    comparisons = compare_with_best(values.tolist(), 0.04, 0.9)
    assert not any(one.worse for one in comparisons)
    best = int(values.mean(1).argmax())
    other = (best + 1) % 4
    deviation = (values[other] - values[best]).std(ddof=1)
    assert comparisons[other].detectable == pytest.approx(detectable(deviation, 8, 0.04 / 6, 0.9))


def test_a_worse_cells_interval_ends_at_0_where_only_the_later_steps_find_it():
    """As in Hsu's constrained intervals: the interval of the first step alone would reach above 0."""
    random = np.random.default_rng(1)
    far = [list(random.normal(-50, 1, 8)) for _ in range(6)]
    noise = random.normal(size=8)
    best, near = list(noise), list(noise - 1.0 + 0.8 * np.array([1, -1] * 4))
    comparisons = compare_with_best([best, near, *far])
    d = np.subtract(near, best)
    assert d.mean() + stats.t.isf(0.05 / 56, 7) * d.std(ddof=1) / math.sqrt(8) > 0.0
    assert comparisons[1].worse
    assert comparisons[1].high == 0.0


def test_values_without_any_scatter():
    """Cells that differ always by the same are told apart; equal ones are not."""
    same, other = [0.5] * 6, [0.25] * 6
    first, second, third = compare_with_best([same, other, same])
    assert (first.p, second.p, third.p) == (1.0, 0.0, 1.0)
    assert (first.worse, second.worse, third.worse) == (False, True, False)
    assert (first.low, first.high, first.detectable) == (0.0, 0.0, 0.0)
    assert (second.low, second.high) == (-0.25, -0.25)


def test_cells_with_a_failed_seed_take_no_part():
    random = np.random.default_rng(2)
    whole = random.normal([[0.0], [0.1], [-3.0]], 0.3, (3, 8)).tolist()
    failed = [*whole[0][:7], None]
    comparisons = compare_with_best([whole[0], failed, whole[1], whole[2], [None] * 8])
    assert comparisons[1] is None
    assert comparisons[4] is None
    assert [comparisons[i] for i in (0, 2, 3)] == compare_with_best(whole)
    assert compare_with_best([whole[0], failed]) == [None, None]
    assert compare_with_best([]) == []


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match=r"shape \(2, 2\) are not all finite"):
        compare_with_best([[0.1, float("nan")], [0.2, 0.3]])
    with pytest.raises(ValueError, match="at least 2 seeds"):
        compare_with_best([[0.1], [0.2]])
    with pytest.raises(ValueError):
        compare_with_best([[0.1, 0.2], [0.2, 0.3, 0.4]])
    with pytest.raises(ValueError, match="level 0 is not between"):
        compare_with_best([[0.1, 0.2], [0.2, 0.3]], level=0.0)


def grids(random, number, n, mean, spread, correlation=0.5):
    """Values (number, cells, seeds): normal, with these means and standard deviations, correlated by seed."""
    own, shared = random.normal(size=(number, len(mean), n)), random.normal(size=(number, 1, n))
    noise = math.sqrt(1 - correlation) * own + math.sqrt(correlation) * shared
    return np.asarray(mean)[:, None] + np.asarray(spread)[:, None] * noise


def false_alarms(values, best):
    return (p_not_best(values)[:, best] <= 0.05).any(1).mean()


def against_the_chosen(values):
    """What the tables said before: paired t tests against the cell of the highest median, with Holm's correction."""
    chosen = int(np.median(values, 1).argmax())
    others = [i for i in range(len(values)) if i != chosen]
    return min(holm([paired_t(values[i], values[chosen]).p for i in others])) <= 0.05


GRIDS = 1000
LIMIT = 0.05 + 3 * math.sqrt(0.05 * 0.95 / GRIDS)


@pytest.mark.parametrize("spread", ["equal", "unequal"])
@pytest.mark.parametrize("n", [6, 8, 12])
@pytest.mark.parametrize("cells", [2, 5, 10, 20])
def test_the_familywise_error_among_equal_cells_is_5_percent(cells, n, spread):
    spreads = np.ones(cells) if spread == "equal" else np.geomspace(0.2, 5, cells)
    values = grids(np.random.default_rng([cells, n]), GRIDS, n, np.zeros(cells), spreads)
    assert false_alarms(values, slice(None)) < LIMIT


@pytest.mark.parametrize("deficit", [0.3, 1.0, 3.0])
@pytest.mark.parametrize("tied", [1, 2, 5])
def test_the_best_cells_are_not_called_worse_where_others_are_near(tied, deficit):
    """The cells that are worse scatter more, so that now and then one of them seems the best."""
    mean = np.where(np.arange(10) < tied, 0.0, -deficit)
    values = grids(np.random.default_rng(tied), GRIDS, 8, mean, np.where(mean < 0, 2.0, 0.5))
    assert false_alarms(values, slice(tied)) < LIMIT


@pytest.mark.parametrize("images", [60, 1000])
def test_the_error_holds_for_accuracies_that_are_counts(images):
    values = np.random.default_rng(images).binomial(images, 0.98, (GRIDS, 10, 6)) / images
    assert false_alarms(values, slice(None)) < LIMIT


def test_to_compare_with_the_cell_that_the_values_chose_gives_twice_as_many_false_alarms():
    values = grids(np.random.default_rng(3), 500, 8, np.zeros(20), np.ones(20))
    assert np.mean([against_the_chosen(grid) for grid in values]) > 0.08


def test_the_error_is_not_far_below_5_percent_either():
    """A procedure that never calls anything worse would pass the tests above."""
    values = grids(np.random.default_rng(4), 4000, 8, np.zeros(5), np.ones(5))
    assert false_alarms(values, slice(None)) == pytest.approx(0.05, abs=0.012)


def test_the_difference_that_could_be_seen_is_seen_with_at_least_80_percent():
    """One cell a little worse than three equally good ones."""
    spread, n = math.sqrt(0.5), 8  # differences with a standard deviation of 1 x sqrt(2) x sqrt(0.5) = 1, uncorrelated
    deficit = detectable(1.0, n, 0.05 / 6)
    values = grids(np.random.default_rng(5), 1000, n, [0, 0, 0, -deficit], [spread] * 4, correlation=0.0)
    assert 0.78 < (p_not_best(values)[:, 3] <= 0.05).mean() < 0.97


def test_the_intervals_hold_all_true_values_at_once():
    mean = np.array([0.0, 0.0, -0.5, -1.0, -4.0])
    truth = [mean[i] - np.delete(mean, i).max() for i in range(5)]
    values = grids(np.random.default_rng(6), 1000, 6, mean, [0.5, 1, 1, 2, 1])
    inside = [
        all(c.low <= true <= c.high for c, true in zip(compare_with_best(grid), truth, strict=True))
        for grid in values.tolist()
    ]
    assert np.mean(inside) > 0.95 - 3 * math.sqrt(0.05 * 0.95 / 1000)


@pytest.mark.slow
@pytest.mark.parametrize("correlation", [0.0, 0.9])
@pytest.mark.parametrize("ratio", [1, 25])
@pytest.mark.parametrize("n", [6, 8, 12])
@pytest.mark.parametrize("cells", [2, 5, 10, 20])
def test_the_familywise_error_measured_more_finely(cells, n, ratio, correlation):
    random = np.random.default_rng([cells, n, ratio])
    spreads = np.geomspace(1, ratio, cells)
    rates = [false_alarms(grids(random, 500, n, np.zeros(cells), spreads, correlation), slice(None)) for _ in range(40)]
    assert np.mean(rates) < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 20_000)
