"""The benchmark of data loading, run as a user runs it, on a few images."""

import json
import os

import pytest
from commands import finish, refused

from cnn_jax.runs import provenance

SCRIPT = ("-m", "cnn_jax", "bench", "data")
OURS = {f"stream, {n} workers" for n in (0, 1, 2, 4)}
SMALL = {"memory, NumPy", "memory, device", "TFDS data source"}
TORCH = {f"torch encoded, {n} workers" for n in (0, 1, 2, 4)}


def check(folder, contenders, examples, shape, number=0):
    measured = json.loads((folder / "data.json").read_text())
    table = (folder / "data.md").read_text()
    data = measured["sets"][number]
    assert set(data["contenders"]) == contenders
    for name, one in data["contenders"].items():
        each = one["ms_per_batch"]
        assert one["n"] == len(each) == measured["rounds"] == 2
        for values in (one, one["images_per_second"]):
            assert 0 < values["min"] <= values["lower_quartile"] <= values["median"] <= values["max"]
        assert (one["min"], one["max"]) == (min(each), max(each))
        rates = [1000 * data["batch_size"] / took for took in each]
        assert one["images_per_second"]["of_each_turn"] == pytest.approx(rates)
        assert f"\n| {name} | " in table
    assert (data["examples"], data["image_shape"]) == (examples, shape)
    assert measured["versions"].items() >= provenance.versions().items()
    assert {"cpu", "kind"} <= set(measured["device"])
    return measured, table


def test_a_quick_run_measures_every_contender_and_leaves_nothing_behind(tmp_path):
    out, places = tmp_path / "out", {"CNN_JAX_CACHE": str(tmp_path / "cache"), "TMPDIR": str(tmp_path / "temporary")}
    (tmp_path / "temporary").mkdir()
    code, printed, err = finish(*SCRIPT, "--photos", "40", "--quick", "--out", out, **places)
    assert code == 0, err
    measured, table = check(out, OURS, 36, [224, 224, 3])
    assert printed == table
    assert measured["torch"] is None
    assert measured["command"] == "cnn-jax bench data --out DIR --quick --photos 40"
    assert str(tmp_path) not in (out / "data.json").read_text() + table
    assert not (tmp_path / "cache").exists()
    assert [path for path in (tmp_path / "temporary").rglob("*") if path.is_file()] == []


def test_torch_takes_part_where_there_is_one(tmp_path):
    python = os.environ.get("CNN_JAX_TEST_TORCH")
    if not python:
        pytest.skip("CNN_JAX_TEST_TORCH names no Python with torch, NumPy and Pillow")
    code, _, err = finish(*SCRIPT, "--photos", "40", "--quick", "--out", tmp_path, "--torch", python)
    assert code == 0, err
    measured, table = check(tmp_path, OURS | TORCH, 36, [224, 224, 3])
    assert measured["torch"]["torch"] in table
    assert python not in (tmp_path / "data.json").read_text()


def test_what_cannot_be_measured_is_one_line(tmp_path):
    assert "--photos must be at least 20" in refused(*SCRIPT, "--photos", "3")
    assert "train-images-idx3-ubyte.gz" in refused(*SCRIPT, "--data-dir", tmp_path)
    assert "not streamed" in refused(*SCRIPT, "--data-dir", tmp_path, "--dataset", "nothing")


def test_a_python_that_gives_no_torch_is_one_line(tmp_path):
    bare = tmp_path / "python"
    bare.write_text("#!/bin/sh\necho Traceback >&2\necho 'ModuleNotFoundError: torch' >&2\nexit 1\n")
    bare.chmod(0o755)
    refusals = {
        bare: f"error: --torch {bare} does not import numpy and torch: ModuleNotFoundError: torch",
        tmp_path / "nowhere": f"error: --torch {tmp_path / 'nowhere'} cannot be started: No such file or directory",
    }
    for python, line in refusals.items():
        code, _, err = finish(*SCRIPT, "--photos", "20", "--quick", "--torch", python)
        assert (code, err) == (2, f"{line}\n")
