"""From results to a table: what diverged ranks below every number, the choice, the remarks, the words."""

import csv
import io

import numpy as np
import pandas as pd
import pytest
from folders import evaluation
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from cnn_jax.errors import RequestError
from cnn_jax.grids.grid import Grid
from cnn_jax.grids.table import Table, TrialRow, to_csv
from cnn_jax.report import tables
from cnn_jax.statistics import compare_with_best
from cnn_jax.training.config import Config


def table(cells, seeds, at_chance=(), **axes):
    """A table whose accuracies are given cell by cell; None is a diverged seed."""
    grid = Grid(Config(), {**axes, "seed": tuple(range(seeds))})
    values = [value for cell in cells for value in cell]
    rows = []
    for i, (config, value) in enumerate(zip(grid.trials(), values, strict=True)):
        rows.append(
            TrialRow(
                trial=i,
                cell={name: getattr(config, name) for name in grid.cell_axes},
                learning_rate=config.learning_rate,
                filters=config.filters or 16,
                seed=config.seed,
                status="diverged" if value is None else "complete",
                at_chance=None if value is None else i in at_chance,
                epochs=1,
                train_loss=0.5,
                validation=None if value is None else evaluation(value, 10000, 1.0),
                parameters=10,
                seconds=1.0,
            )
        )
    return Table(grid, tuple(rows))


def test_a_diverged_seed_ranks_below_every_number_and_is_never_dropped_or_zero():
    made = table([[0.9, 0.8, None], [0.7, 0.75, 0.72]], 3, learning_rate=(0.1, 0.01))
    summary = made.summary()
    assert list(summary["median"]) == [0.8, 0.72]
    assert list(summary["low"].astype(object).where(summary["low"].notna(), None)) == [None, 0.7]
    assert list(summary["diverged"]) == [1, 0]
    assert list(summary["n"]) == [3, 3]
    assert list(summary["interval"]) == ["range", "range"]
    assert made.chosen == {"learning_rate": 0.1}
    assert made.representative().seed == 1
    assert any("1 of 6 trials diverged" in line for line in made.remarks())
    assert not (summary.select_dtypes("number") == 0).loc[0, ["median", "high"]].any()


def test_a_table_on_disk_has_every_number_in_full_and_nothing_for_what_there_is_not():
    made = table([[0.5, None]], 2, momentum=(0.1 + 0.2,))
    assert to_csv([row.to_json() for row in made.rows]) == (
        "learning_rate,filters,momentum,seed,status,at_chance,epochs,train_loss,validation_accuracy,validation_loss,"
        "validation_top5_accuracy,parameters,seconds,trial\n"
        "0.01,16,0.30000000000000004,0,complete,False,1,0.5,0.5,1.0,0.55,10,1.0,0\n"
        "0.01,16,0.30000000000000004,1,diverged,,1,0.5,,,,10,1.0,1\n"
    )
    assert to_csv([{"a": None, "b": "x"}]) == "a,b\n,x\n"
    assert to_csv([]) == "\n"


def test_the_remarks_word_for_word():
    made = table([[0.1, None], [0.9, 0.8]], 2, at_chance=(0,), momentum=(0.8, 0.9))
    assert made.remarks() == [
        "the best momentum, 0.9, lies on the upper edge of the grid; the optimum may lie outside",
        "n = 2 seeds: too few to say which cells are not distinguishable from the best (at least 6); the interval "
        "given is the range",
        "1 of 4 trials diverged; they have no accuracy and rank below every other",
        "1 of 4 trials ended at chance; they keep their measured accuracy",
    ]
    assert table([[0.9, 0.8]], 2).remarks() == [], "a single cell is compared with none"
    enough = table([[0.9] * 6, [0.8] * 6], 6, momentum=(0.8, 0.9)).remarks()
    assert [line for line in enough if "too few" in line] == []


def test_a_cell_whose_median_seed_diverged_is_not_chosen():
    made = table([[0.99, None, None], [0.99, 0.99, None, None][:3], [0.2, 0.3, 0.1]], 3, learning_rate=(0.1, 0.2, 0.3))
    assert made.medians == [None, 0.99, 0.2]
    assert made.chosen == {"learning_rate": 0.2}
    half = table([[0.99, 0.99, None, None], [0.1] * 4], 4, learning_rate=(0.1, 0.2))
    assert half.medians == [None, 0.1]


def test_where_every_cell_diverged_nothing_is_chosen_and_no_edge_is_advised():
    made = table([[None, None], [None, 0.9]], 2, learning_rate=(0.1, 0.2))
    assert made.chosen is None
    assert made.chosen_trials() == []
    assert not any("edge" in line for line in made.remarks())
    assert not made.summary()["chosen"].any()


def test_a_trial_at_chance_keeps_its_accuracy_and_is_counted():
    made = table([[0.1, 0.12, 0.11], [0.5, 0.6, 0.1]], 3, at_chance=(0, 1, 2, 5), learning_rate=(0.1, 0.2))
    summary = made.summary()
    assert list(summary["at_chance"]) == [3, 1]
    assert list(summary["median"]) == [0.11, 0.5]
    assert any("4 of 6 trials ended at chance" in line for line in made.remarks())


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.none() | st.integers(0, 100), min_size=5, max_size=5), min_size=2, max_size=5))
def test_the_chosen_cell_has_the_highest_median_of_ranks(cells):
    """Against a median over -infinity for what diverged."""
    made = table(
        [[None if x is None else x / 100 for x in cell] for cell in cells], 5,
        learning_rate=tuple(0.1 * (i + 1) for i in range(len(cells))),
    )  # fmt: skip
    medians = [float(np.median([-np.inf if x is None else x / 100 for x in cell])) for cell in cells]
    if max(medians) == -np.inf:
        assert made.chosen_cell is None
        return
    assert made.chosen_cell == int(np.argmax(medians))
    ranked = sorted(-np.inf if x is None else x / 100 for x in cells[made.chosen_cell])
    assert made.representative().accuracy == ranked[2] == medians[made.chosen_cell]


def test_the_representative_seed_is_the_lower_median():
    made = table([[0.9, 0.6, 0.8, 0.7]], 4, learning_rate=(0.1,))
    assert made.representative().seed == 3


def test_an_edge_of_the_grid_is_remarked_with_the_value_to_add():
    made = table([[0.5] * 2, [0.6] * 2, [0.9] * 2, [0.7] * 2], 2, learning_rate=(0.1, 0.2), filters=(4, 8))
    assert made.chosen == {"learning_rate": 0.2, "filters": 4}
    text = " ".join(made.remarks())
    assert (
        "the best learning_rate, 0.2, lies on the upper edge of the grid; the optimum may lie outside: add 0.4" in text
    )
    assert "the best filters, 4, lies on the lower edge" in text


def test_a_value_that_no_config_can_have_is_not_suggested():
    made = table([[0.5], [0.9]], 1, momentum=(0.0, 0.9))
    (remark,) = [line for line in made.remarks() if "momentum" in line]
    assert remark == "the best momentum, 0.9, lies on the upper edge of the grid; the optimum may lie outside"


def test_no_verdict_below_six_seeds_and_the_reason():
    made = table([[0.9] * 5, [0.1] * 5], 5, learning_rate=(0.1, 0.2))
    assert made.summary()["against_best"].isna().all()
    assert any("n = 5 seeds: too few" in line for line in made.remarks())


BASE = [0.80, 0.85, 0.82, 0.88, 0.79, 0.84]
STEADY = [value - 0.01 - 0.0001 * i for i, value in enumerate(BASE)]
NOISE = [value + x for value, x in zip(BASE, [-0.04, 0.03, -0.03, 0.02, -0.02, 0.02], strict=True)]


def test_six_seeds_paired():
    """Seeds that move together: a small steady difference is seen, noise of the same size is not."""
    made = table([BASE, STEADY, NOISE], 6, learning_rate=(0.1, 0.2, 0.3))
    summary = made.summary().set_index("learning_rate")
    assert made.chosen == {"learning_rate": 0.1}
    assert summary["against_best"][0.2] == "worse"
    assert summary["against_best"][0.3] == "not distinguishable"
    assert summary["against_best"][0.1] == "not distinguishable"
    assert summary["difference"][0.2] == pytest.approx(-0.01025, abs=1e-4)
    assert summary["difference_low"][0.2] < -0.01 < summary["difference_high"][0.2] <= 0
    assert summary["detectable"][0.3] > 0.005
    assert set(summary["interval"]) == {"96.9 % interval of the median"}


def test_the_comparison_is_corrected_for_the_number_of_cells():
    """A difference that a single paired t test calls significant is none among ten cells: without a correction for
    their number this fails."""
    random = np.random.default_rng(0)
    best = 0.8 + 0.01 * random.normal(size=6)
    near = best - 0.004 + 0.0035 * random.normal(size=6)
    assert stats.ttest_rel(near, best).pvalue < 0.05
    same = [list(best - 0.001 + 0.01 * random.normal(size=6)) for _ in range(8)]
    rates = tuple(0.1 * (i + 1) for i in range(10))
    made = table([list(best), list(near), *same], 6, learning_rate=rates)
    cells = [made.accuracies(i) for i in range(10)]
    assert made.summary()["against_best"][1] == "not distinguishable"
    assert made.summary()["p"][1] == compare_with_best(cells)[1].p > stats.ttest_rel(near, best).pvalue


def test_a_cell_with_a_diverged_seed_is_compared_with_none():
    made = table([BASE, [*STEADY[:5], None], NOISE], 6, learning_rate=(0.1, 0.2, 0.3))
    assert made.summary()["against_best"].isna().tolist() == [False, True, False]


def test_results_csv_has_the_contracts_columns_and_every_number_in_full():
    rates = (0.1, 0.1 + 1e-8, 1 / 3)
    made = table([[0.1, 0.2]] * 3, 2, learning_rate=rates)
    text = to_csv([row.to_json() for row in made.rows])
    rows = list(csv.DictReader(io.StringIO(text)))
    contract = "learning_rate,filters,seed,status,at_chance,epochs,train_loss,validation_accuracy,validation_loss"
    columns = [name for name in rows[0] if name in (*contract.split(","), "parameters", "seconds")]
    assert ",".join(columns) == f"{contract},parameters,seconds"
    assert [float(row["learning_rate"]) for row in rows[::2]] == list(rates)
    assert "momentum" in table([[0.9], [0.8]], 1, momentum=(0.0, 0.9)).rows[0].to_json()


def test_values_that_are_one_number_in_float32_are_refused():
    for values, reason in (
        ((0.1, 0.1 + 1e-10), "twice in float32: 0.1 and 0.1000000001"),
        ((0.1, 1e-60), "1e-60 is 0 in float32"),
        ((0.1, 0.1), "lists a value twice: 0.1 and 0.1"),
    ):
        with pytest.raises(RequestError, match=f"axis learning_rate:? .*{reason}"):
            Grid(Config(), {"learning_rate": values, "seed": (0,)})


def test_rows_of_another_grid_are_refused():
    made = table([[0.5, 0.6]], 2, learning_rate=(0.1,))
    with pytest.raises(RequestError, match="different trials of its grid"):
        Table(Grid(Config(), {"learning_rate": (0.1,), "seed": (0,)}), made.rows)
    with pytest.raises(RequestError, match="different trials of its grid"):
        Table(made.grid, (made.rows[0], made.rows[0]))


def test_printed_tables():
    summary = table([[0.9, 0.8, None], [None] * 3], 3, learning_rate=(0.1, 1.0)).summary()
    printed = tables.for_reader(summary, ("learning_rate",))
    text = tables.markdown(printed)
    lines = text.splitlines()
    assert len(lines) == 4
    assert lines[2].startswith("| 0.1 | 80.00 | diverged – 85.00 | diverged – 90.00 | 3 | 1 | 0 |")
    assert "| 1 | diverged |" in lines[3]
    assert len({line.count("|") for line in lines}) == 1
    tex = tables.latex(printed)
    assert r"\begin{tabular}{" in tex
    assert "85.00" in tex
    assert tables.latex(pd.DataFrame({"a_b": ["5 %"]})).count("\\") >= 6


@pytest.mark.parametrize("seeds", [1, 3])
def test_a_grid_of_one_cell(seeds):
    made = table([[0.5] * seeds], seeds)
    assert made.chosen == {"learning_rate": Config().learning_rate}
    assert len(made.summary()) == 1
