"""The script that fills a cache ahead of time, run as a user runs it."""

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
from samples import files_of, write_tree

from cnn_jax.data.load import DIGITS_FILE

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments, **environment):
    command = [sys.executable, ROOT / "scripts" / "prepare_data.py", *arguments]
    variables = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    return subprocess.run(command, env=variables, capture_output=True, text=True)


def test_a_folder_is_put_into_the_cache(tmp_path, cache):
    folder = write_tree(tmp_path / "photos", files_of({"a": 20, "b": 20}))
    done = run("digits", str(folder), "--image-size", "4")
    assert done.returncode == 0, done.stderr
    assert "photos: train 28, validation 6, test 6, images (4, 4, 3)" in done.stdout.replace(str(tmp_path) + "/", "")
    assert len(list(cache.rglob("about.json"))) == 2


def test_what_is_missing_is_one_line_and_exit_code_2(tmp_path):
    done = run("mnist", "--data-dir", str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "train-images-idx3-ubyte.gz" in done.stderr
    assert run().returncode == 2


def test_digits_are_remade_exactly_from_scikit_learns_levels(monkeypatch, tmp_path):
    """scikit-learn is no dependency: a stand-in gives the levels 0..16 that the shipped grey levels stand for."""
    with np.load(DIGITS_FILE) as shipped:
        images, labels = shipped["images"], shipped["labels"]
    levels = np.round(images[..., 0].astype(float) * 16 / 255)
    monkeypatch.setitem(sys.modules, "sklearn", ModuleType("sklearn"))
    stand_in = SimpleNamespace(load_digits=lambda: SimpleNamespace(images=levels, target=labels.astype(int)))
    monkeypatch.setitem(sys.modules, "sklearn.datasets", stand_in)
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import prepare_data

    prepare_data.make_digits(tmp_path / "digits.npz")
    with np.load(tmp_path / "digits.npz") as made:
        for name, array in (("images", images), ("labels", labels)):
            assert made[name].dtype == np.uint8
            assert np.array_equal(made[name], array)
