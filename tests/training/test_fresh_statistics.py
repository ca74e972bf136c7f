"""The statistics of batch norm of averaged weights, against NumPy over all training images."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnn_jax import api
from cnn_jax.data import load
from cnn_jax.errors import RequestError
from cnn_jax.grids.grid import Grid
from cnn_jax.runs.model import TrainedModel
from cnn_jax.training.config import Config

CONFIG = Config(
    network="conv3-4:same bn relu conv3-4:same:nobias bn relu gap dense-10", epochs=2, ema=0.98, fresh_statistics=True,
    learning_rate=0.1, train_examples=300, batch_size=128, devices=1,
)  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return api.train(CONFIG, tmp_path_factory.mktemp("fresh") / "run", show=False).path


def by_hand(model, images):
    """Mean over batches, by their examples, of the mean and variance that each has before the first and the second
    batch norm."""
    network, params = model.network, model.variables["params"]
    normalised = (images / 255 - model.mean) / model.std
    expected = {"bn1": [0, 0], "bn2": [0, 0]}
    for start in range(0, len(images), 128):
        x = np.asarray(normalised[start : start + 128], np.float32)
        for node in network.nodes:
            if node.name in expected:
                mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
                expected[node.name][0] += len(x) / len(images) * mean
                expected[node.name][1] += len(x) / len(images) * variance
                x = params[node.name]["scale"] * (x - mean) / np.sqrt(variance + 1e-5) + params[node.name]["bias"]
            else:
                x = np.asarray(node.layer.apply({"params": params.get(node.name, {})}, jnp.asarray(x)))
    return expected


def test_they_are_the_means_over_the_batches_of_the_training_images(run):
    model, data = TrainedModel.load(run), load("digits", train_examples=300)
    for name, (mean, variance) in by_hand(model, data.train.images).items():
        found = model.variables["batch_stats"][name]
        np.testing.assert_allclose(found["mean"], mean, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(found["variance"], variance, rtol=1e-3, atol=1e-4)


def test_training_itself_does_not_depend_on_them(run, tmp_path):
    plain = api.train(dataclasses.replace(CONFIG, fresh_statistics=False), tmp_path / "plain", show=False).path
    ours, theirs = TrainedModel.load(run).variables, TrainedModel.load(plain).variables
    jax.tree.map(np.testing.assert_array_equal, ours["params"], theirs["params"])
    gap = np.abs(ours["batch_stats"]["bn2"]["mean"] - theirs["batch_stats"]["bn2"]["mean"])
    assert gap.max() > 1e-3


def test_a_trial_of_a_grid_has_those_of_its_own_run(run, tmp_path):
    for parallel in ("vmap", "map"):
        sweep = api.sweep(Grid(CONFIG, {"seed": (0, 1)}), tmp_path / parallel, parallel=parallel, show=False)
        model = TrainedModel.load(sweep.path / "trials" / "0000")
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4),
            model.variables["batch_stats"], TrainedModel.load(run).variables["batch_stats"],
        )  # fmt: skip


def test_two_devices_compute_those_of_one(run, tmp_path):
    two = api.train(dataclasses.replace(CONFIG, devices=2), tmp_path / "two", show=False).path
    ours, theirs = (TrainedModel.load(path).variables["batch_stats"] for path in (two, run))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), ours, theirs)


def test_they_are_refused_where_nothing_is_averaged_or_kept_in_memory():
    with pytest.raises(RequestError, match="averaged weights"):
        Config(fresh_statistics=True)
    with pytest.raises(RequestError, match="in memory"):
        dataclasses.replace(CONFIG, stream=True)
