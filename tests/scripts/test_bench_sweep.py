"""The benchmark of a whole grid runs, and its peers train the network that ours trains."""

import json
import sys

import pytest
from commands import ROOT, finish

sys.path.insert(0, str(ROOT / "scripts"))

from bench import works

import results
from cnn_jax.zoo import build


@pytest.mark.slow
def test_a_small_grid_is_measured(tmp_path):
    """With Flax, on the embedded digits."""
    code, out, err = finish(
        "-m", "cnn_jax", "bench", "sweep", "--dataset", "digits", "--epochs", "1", "--filters", "4", "--seeds", "1",
        "--rounds", "1", "--out", tmp_path / "out",
    )  # fmt: skip
    assert code == 0, err
    measured = json.loads((tmp_path / "out" / "grid.json").read_text())
    assert measured["trials"] == 15
    assert set(measured["contenders"]) == {"ours", "flax"}
    assert all(one["n"] == 1 and one["median"] > 0 for one in measured["contenders"].values())
    assert "| flax |" in out
    assert (tmp_path / "out" / "grid.md").read_text() in out + "\n"


def test_the_grids_network_is_the_one_that_was_swept():
    arguments = results.RESULTS_TABLE["grid-fashion"].arguments
    assert arguments[arguments.index("--network") + 1] == works.GRID.text
    filters = arguments.index("--filters")
    for width in map(int, arguments[filters + 1 : filters + 5]):
        ours = build(works.GRID.text, (28, 28, 1), 10, width)
        assert build(works.widened(works.GRID, width).text, (28, 28, 1), 10).parameters == ours.parameters
