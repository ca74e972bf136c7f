"""From results to a table: the worst value for what diverged, the choice, the remarks, the words."""

import pandas as pd
import pytest

from cnn_jax.report import tables
from cnn_jax.sweep.grid import Grid
from cnn_jax.sweep.table import Table, row
from cnn_jax.training.config import Config


def table(cells, seeds, **axes):
    """A table whose accuracies are given cell by cell; None is a diverged seed."""
    grid = Grid(Config(), {**axes, "seed": tuple(range(seeds))})
    values = [value for cell in cells for value in cell]
    rows = []
    for config, value in zip(grid.trials(), values, strict=True):
        result = {
            "status": "complete" if value is not None else "diverged",
            "validation": {"accuracy": value, "loss": 1.0} if value is not None else None,
            "epochs": 1, "parameters": 10, "train_seconds": 1.0,
        }  # fmt: skip
        rows.append(row(grid, config, result, 0.5, config.filters or 16))
    return Table.of(grid, rows)


def test_a_diverged_seed_counts_as_the_worst_and_is_never_dropped():
    made = table([[0.9, 0.8, None], [0.7, 0.75, 0.72]], 3, learning_rate=(0.1, 0.01))
    summary = made.summary()
    assert list(summary["median"]) == [0.8, 0.72]
    assert list(summary["low"]) == [0.0, 0.7]
    assert list(summary["diverged"]) == [1, 0]
    assert list(summary["n"]) == [3, 3]
    assert list(summary["interval"]) == ["range", "range"]
    assert made.chosen == {"learning_rate": 0.1}
    assert made.representative_seed() == 1
    assert any("1 of 6 trials diverged" in line for line in made.remarks())


def test_the_representative_seed_is_the_lower_median():
    made = table([[0.9, 0.6, 0.8, 0.7]], 4, learning_rate=(0.1,))
    assert made.representative_seed() == 3


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
    assert made.summary()["against_chosen"].isna().all()
    assert any("n = 5 seeds: too few" in line for line in made.remarks())


def test_six_seeds_paired():
    """Seeds that move together: a small steady difference is seen, noise of the same size is not."""
    base = [0.80, 0.85, 0.82, 0.88, 0.79, 0.84]
    steady = [value - 0.01 - 0.0001 * i for i, value in enumerate(base)]
    noise = [value + change for value, change in zip(base, [-0.04, 0.03, -0.03, 0.02, -0.02, 0.02], strict=True)]
    made = table([base, steady, noise], 6, learning_rate=(0.1, 0.2, 0.3))
    summary = made.summary()
    verdicts = dict(zip(summary["learning_rate"], summary["against_chosen"], strict=True))
    assert made.chosen == {"learning_rate": 0.1}
    assert verdicts[0.2] == "different"
    assert verdicts[0.3] == "not distinguishable"
    first = summary.set_index("learning_rate").loc[0.2]
    assert first["difference"] == pytest.approx(-0.01025)
    assert first["difference_low"] < -0.01025 < first["difference_high"] < 0
    assert set(summary["interval"]) == {"95% interval of the median"}


def test_results_csv_has_the_contracts_columns():
    made = table([[0.9, 0.8]], 2, learning_rate=(0.1,))
    assert list(made.trials.columns) == [
        "learning_rate", "filters", "seed", "status", "epochs", "train_loss", "validation_accuracy", "validation_loss",
        "parameters", "seconds",
    ]  # fmt: skip
    assert "momentum" in table([[0.9], [0.8]], 1, momentum=(0.0, 0.9)).trials.columns


def test_printed_tables():
    summary = table([[0.9, 0.8, None], [None] * 3], 3, learning_rate=(0.1, 1.0)).summary()
    printed = tables.for_reader(summary, ("learning_rate",))
    text = tables.markdown(printed)
    lines = text.splitlines()
    assert len(lines) == 4
    assert lines[2].startswith("| 0.1 | 80.00 | 40.00 – 85.00 | 0.00 – 90.00 | 3 | 1 |")
    assert "| 1 | diverged |" in lines[3]
    assert len({line.count("|") for line in lines}) == 1
    tex = tables.latex(printed)
    assert r"\begin{tabular}{" in tex
    assert r"\%" in tex
    assert "40.00 -- 85.00" in tex
    assert tables.latex(pd.DataFrame({"a_b": ["5 %"]})).count("\\") >= 6


@pytest.mark.parametrize("seeds", [1, 3])
def test_a_grid_of_one_cell(seeds):
    made = table([[0.5] * seeds], seeds)
    assert made.chosen == {"learning_rate": 0.05}
    assert len(made.summary()) == 1
