"""The benchmark of attributions and the experiment on orientation run and write what they say."""

import json

import pytest
from commands import finish, refused

from cnn_jax import lab
from cnn_jax.training.config import Config


def trained(tmp_path, network):
    return lab.train(Config(network=network, epochs=1, devices=1), tmp_path / "run", show=False).path


def test_attributions_are_timed(tmp_path):
    run = trained(tmp_path, "conv3-4:same relu max2 dense-10")
    code, out, err = finish("scripts/bench_insight.py", run, "--rounds", "2", "--out", tmp_path / "out")
    assert code == 0, err
    measured = json.loads((tmp_path / "out" / "insight.json").read_text())
    assert len(measured["methods"]) == 8
    for one in measured["methods"].values():
        assert len(one["ours"]["ms_per_image"]) == 2
        assert one["first_call_seconds"] > 0
    assert (tmp_path / "out" / "insight.md").read_text() == out


@pytest.mark.parametrize("network", ["res( conv3-1:same ) dense-10", "conv3-4/2 relu dense-10"])
def test_a_network_that_captum_does_not_get_is_refused(tmp_path, network):
    words = refused("scripts/bench_insight.py", trained(tmp_path, network))
    assert "only stacks of plain convolutions" in words


def test_the_experiment_on_orientation_gives_no_verdict_below_six_seeds(tmp_path):
    out = tmp_path / "out"
    code, said, err = finish(
        "experiments/orientation.py", "--dataset", "digits", "--network", "conv5-6:same relu max2 dense-10",
        "--epochs", "2", "--seeds", "2", "--out", out,
    )  # fmt: skip
    assert code == 0, err
    assert said.splitlines()[-1].startswith("no verdict: selectivity ")
    found = json.loads((out / "verdict.json").read_text())
    rows = (out / "orientation.csv").read_text().splitlines()
    assert (found["n"], len(rows)) == (2, 3)
    differences = [float(row.split(",")[2]) - float(row.split(",")[1]) for row in rows[1:]]
    assert sum(differences) / 2 == pytest.approx(found["difference"], abs=1e-5)
    assert found["low"] < found["difference"] < found["high"]
    assert (out / "orientation.png").exists()
