"""Seeds with splits of their own."""

import dataclasses

import pytest

from cnn_jax import api
from cnn_jax.errors import RequestError
from cnn_jax.grids.grid import Grid
from cnn_jax.runs.folder import Folder
from cnn_jax.runs.schema import Record
from cnn_jax.runs.sweeps import trial_folder
from cnn_jax.training.config import Config

CONFIG = Config(
    network="conv3-4 relu gap dense-10", train_examples=100, validation=200, epochs=2, split_seed=None, devices=1
)


def numbers(folder):
    return [dataclasses.replace(entry, seconds=0.0) for entry in Folder(folder).metrics()]


def test_a_seed_is_the_run_with_that_seed_and_that_split(tmp_path):
    sweep = api.sweep(Grid(CONFIG, {"seed": (3, 4)}), tmp_path / "sweep", show=False)
    data = []
    for number, seed in enumerate((3, 4)):
        config = dataclasses.replace(CONFIG, seed=seed, split_seed=seed)
        run = api.train(config, tmp_path / f"run{seed}", show=False)
        trial = trial_folder(Folder(sweep.path), number)
        assert numbers(trial.path) == numbers(run.path)
        records = [folder.read("record.json", Record) for folder in (trial, Folder(run.path))]
        assert records[0].data == records[1].data
        assert records[0].seeds["split"] == seed
        data.append(records[0].data.sha256)
    assert data[0] != data[1]
    assert "a split of its own for each seed" in (sweep.path / "summary.md").read_text().lower()


@pytest.mark.parametrize("parallel", ["vmap", "map", "grid"])
def test_such_trials_share_no_program_that_takes_one_data_set(parallel, tmp_path):
    with pytest.raises(RequestError, match="needs the same data for all trials: give split_seed a number"):
        api.sweep(Grid(CONFIG, {"seed": (0, 1)}), tmp_path / "sweep", parallel=parallel, show=False)
    assert not (tmp_path / "sweep").exists()
