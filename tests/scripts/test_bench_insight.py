"""The benchmark of attributions and the experiment on orientation run and write what they say."""

import json

import pytest
from commands import finish, refused

from cnn_jax import api
from cnn_jax.training.config import Config


def trained(tmp_path, network):
    return api.train(Config(network=network, epochs=1, devices=1), tmp_path / "run", show=False).path


@pytest.mark.slow
def test_attributions_are_timed(tmp_path):
    run = trained(tmp_path, "conv3-4:same relu max2 dense-10")
    code, out, err = finish("-m", "cnn_jax", "bench", "insight", run, "--rounds", "2", "--out", tmp_path / "out")
    assert code == 0, err
    measured = json.loads((tmp_path / "out" / "insight.json").read_text())
    assert len(measured["methods"]) == 19
    for one in measured["methods"].values():
        assert len(one["ours"]["ms_per_image"]) == 2
        assert one["first_call_seconds"] > 0
    assert (tmp_path / "out" / "insight.md").read_text() == out


@pytest.mark.slow
@pytest.mark.parametrize("network", ["res( conv3-1:same ) dense-10", "conv3-4/2 relu dense-10"])
def test_a_network_that_captum_does_not_get_is_refused(tmp_path, network):
    words = refused("-m", "cnn_jax", "bench", "insight", trained(tmp_path, network))
    assert "only stacks of plain convolutions" in words
