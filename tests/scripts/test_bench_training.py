"""Whole trainings of a config are timed, and compared with another implementation as the statistics say."""

import json

import numpy as np
import pytest
from commands import finish, refused

from cnn_jax import api
from cnn_jax.grids.grid import Grid
from cnn_jax.training.config import Config

CONFIG = Config(network="whiten2 relu conv3-4 relu dense-10", batch_size=256, epochs=3, devices=1)


@pytest.mark.slow
def test_every_training_has_its_seconds_and_the_accuracy_that_its_seed_reaches(tmp_path):
    run = api.sweep(Grid(CONFIG, {"seed": (0,)}), tmp_path / "run", show=False).path
    code, out, err = finish(
        "-m", "cnn_jax", "bench", "training", run, "--rounds", "3", "--precisions", "tf32", "--out", tmp_path / "out"
    )
    assert code == 0, err
    measured = json.loads((tmp_path / "out" / "training.json").read_text())
    assert (tmp_path / "out" / "training.md").read_text() == out
    assert measured["examples"]["train"] > len(api.load_data(CONFIG).train), "validation images are among them"
    (training,) = measured["trainings"].values()
    assert len(training["seconds"]) == len(training["accuracies"]) == 3
    assert len(set(training["accuracies"])) > 1
    assert min(training["accuracies"]) > 0.2


def test_a_difference_of_a_tenth_of_a_point_is_none(monkeypatch):
    monkeypatch.syspath_prepend("scripts")
    from bench import training

    random = np.random.default_rng(0)
    peer = {"median": 3.0, "accuracies": list(0.94 + random.normal(0, 5e-4, 40))}
    same = {"median": 2.0, "accuracies": list(0.94 + random.normal(0, 5e-4, 40))}
    worse = {"median": 2.0, "accuracies": [accuracy - 0.002 for accuracy in same["accuracies"]]}
    assert training.against(same, peer)["equivalent"]
    assert training.against(same, peer)["ratio"] == 1.5
    assert not training.against(worse, peer)["equivalent"]
    assert training.against(worse, peer)["high"] < 0


def test_a_peer_needs_its_file_and_a_python():
    config = "results/papers/airbench/best/config.json"
    assert "it must be a file" in refused("-m", "cnn_jax", "bench", "training", config, "--peer", "no-such-file.py")
