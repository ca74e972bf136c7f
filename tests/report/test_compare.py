"""Comparisons by seed against SciPy, failures, equivalence, and what is not compared."""

import dataclasses

import numpy as np
import pytest
from folders import DIGITS, write_sweep
from scipy import stats

from cnn_jax.errors import RequestError
from cnn_jax.grids.grid import Grid
from cnn_jax.report.compare import compare, comparisons
from cnn_jax.statistics import holm
from cnn_jax.training.config import Config

BASE = Config(network="conv3-4 relu max2 dense-10", epochs=1)
ACCURACY = {
    "a": [0.80, 0.81, 0.79, 0.82, 0.78, 0.805],
    "b": [0.815, 0.82, 0.79, 0.83, 0.80, 0.81],
    "c": [0.83, 0.82, 0.83, 0.84, 0.82, 0.82],
    "d": [0.80, None, 0.83, 0.84, None, None],
}


@pytest.fixture
def made(tmp_path):
    for name, values in ACCURACY.items():
        seeds = tuple(range(6))
        if name == "d":  # the median of the cell must not have diverged
            values, seeds = [*values, 0.8, 0.81], tuple(range(8))
        write_sweep(tmp_path / name, Grid(BASE, {"seed": seeds}), [values])
    return tmp_path


def points(name):
    return np.array([100 * round(value * 269) / 269 for value in ACCURACY[name]])


def test_the_numbers_are_scipys(made):
    b, c = comparisons([made / "a", made / "b", made / "c"], "test.accuracy")
    p = [stats.ttest_rel(points(name), points("a")).pvalue for name in "bc"]
    assert [b.p, c.p] == pytest.approx(holm(p))
    interval = stats.ttest_rel(points("b"), points("a")).confidence_interval(0.95)
    assert (b.test.finished.low, b.test.finished.high) == pytest.approx((interval.low, interval.high))
    assert b.test.finished.difference == pytest.approx((points("b") - points("a")).mean())
    assert (b.verdict, c.verdict) == ("not distinguishable" if holm(p)[0] >= 0.05 else "different", "different")


def test_what_is_not_distinguishable_carries_what_could_have_been_seen(made):
    (same,) = comparisons([made / "a", made / "a"], "test.accuracy")
    assert same.verdict == "not distinguishable"
    (b,) = comparisons([made / "a", made / "b"], "test.loss")
    assert b.detectable > 0
    rows = [line for line in compare([made / "a", made / "a"], "test.accuracy").splitlines() if line.startswith("| /")]
    assert all("80 % power from" in row for row in rows)


def test_equivalence_needs_a_margin_and_two_one_sided_tests(made):
    (same,) = comparisons([made / "a", made / "a"], "test.accuracy", margin=0.5)
    assert same.verdict == "equivalent"
    (far,) = comparisons([made / "a", made / "c"], "test.accuracy", margin=0.5)
    assert far.verdict == "different"
    (near,) = comparisons([made / "a", made / "c"], "test.accuracy", margin=10.0)
    shift = points("c") - points("a")
    assert near.equivalence.p == pytest.approx(stats.ttest_1samp(shift, 10.0, alternative="less").pvalue)
    assert near.verdict == "different, but equivalent"
    (unsure,) = comparisons([made / "a", made / "b"], "test.accuracy", margin=0.01)
    assert unsure.verdict in ("undecided", "different")
    assert (unsure.verdict == "undecided") == (unsure.p >= 0.05)
    assert "Equivalent: within ±10 points" in compare([made / "a", made / "c"], "test.accuracy", margin=10.0)


def test_a_diverged_seed_is_counted_and_never_a_zero(made):
    (d,) = comparisons([made / "a", made / "d"], "test.accuracy")
    assert (d.test.failed_a, d.test.n_a, d.test.finished.n) == (3, 6, 3)
    assert d.test.p == pytest.approx(stats.fisher_exact([[3, 3], [0, 6]]).pvalue)
    shared = [100 * round(x * 269) / 269 for x in (0.80, 0.83, 0.84)]
    assert d.test.finished.difference == pytest.approx(np.mean(shared) - points("a")[[0, 2, 3]].mean())
    assert d.verdict == "none: 3 seeds finished in both, 6 are needed"
    assert "| 3 and 0 |" in compare([made / "a", made / "d"], "test.accuracy")


def test_seeds_to_find_a_difference_come_with_their_interval(made):
    table = compare([made / "a", made / "b"], "test.accuracy", detect=0.5)
    assert "seeds to find 0.5" in table
    assert " – " in table.splitlines()[4].rsplit("|", 2)[1]


def test_the_cells_of_one_sweep_are_compared_with_the_best_of_them(tmp_path):
    grid = Grid(BASE, {"learning_rate": (0.1, 0.2), "seed": tuple(range(6))})
    path = write_sweep(tmp_path / "grid", grid, [ACCURACY["a"], ACCURACY["c"]])
    table = compare([path], "validation.accuracy")
    assert ", worse |" in table.splitlines()[4]
    assert "multiple comparisons with the best" in table
    with pytest.raises(RequestError, match="name two"):
        compare([path], "validation.accuracy", margin=1.0)


def test_what_was_scored_on_other_images_is_not_compared(made, tmp_path):
    mnist = dataclasses.replace(DIGITS, name="mnist")
    other = write_sweep(tmp_path / "other", Grid(BASE, {"seed": tuple(range(6))}), [ACCURACY["a"]], data=mnist)
    with pytest.raises(RequestError, match="differ in data: mnist and digits"):
        compare([made / "a", other], "test.accuracy")
    with pytest.raises(RequestError, match="nothing to be compared with"):
        compare([made / "a"], "test.accuracy")
