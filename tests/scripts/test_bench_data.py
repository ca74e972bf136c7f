"""The benchmark of data loading, run as a user runs it, on a few images."""

import json
import os

import pytest
from commands import ROOT, finish, refused

from cnn_jax.runs import provenance

SCRIPT = ROOT / "scripts" / "bench_data.py"
OURS = {"memory, NumPy", "memory, device", *(f"stream, {n} threads" for n in (1, 2, 4))}
PEERS = {"TFDS data source", "grain MapDataset"}


def check(folder, contenders, examples):
    measured = json.loads((folder / "data.json").read_text())
    table = (folder / "data.md").read_text()
    assert set(measured["contenders"]) == contenders
    for name, one in measured["contenders"].items():
        each = one["ms_per_batch_of_each_turn"]
        assert one["n"] == len(each) == measured["rounds"] == 2
        for what in ("ms_per_batch", "images_per_second"):
            assert 0 < one[what]["min"] <= one[what]["median"] <= one[what]["max"]
        assert (one["ms_per_batch"]["min"], one["ms_per_batch"]["max"]) == (min(each), max(each))
        rates = sorted(1000 * measured["batch_size"] / took for took in each)
        assert list(one["images_per_second"].values()) == pytest.approx([sum(rates) / 2, *rates])
        assert f"\n| {name} | " in table
    assert measured["data"]["examples"] == examples
    assert measured["data"]["image_shape"] == [64, 64, 3]
    assert measured["versions"] == provenance.versions()
    assert {"cpu", "kind"} <= set(measured["device"])
    return measured, table


def test_a_quick_run_measures_every_contender_and_leaves_nothing_behind(tmp_path):
    out, places = tmp_path / "out", {"CNN_JAX_CACHE": str(tmp_path / "cache"), "TMPDIR": str(tmp_path / "temporary")}
    (tmp_path / "temporary").mkdir()
    code, printed, err = finish(SCRIPT, "--synthetic", "200", "--quick", "--out", out, **places)
    assert code == 0, err
    measured, table = check(out, OURS | PEERS, 180)
    assert printed == table
    assert measured["torch"] is None
    assert measured["command"] == "scripts/run scripts/bench_data.py --synthetic 200 --quick --out OUT"
    assert str(tmp_path) not in (out / "data.json").read_text() + table
    assert not (tmp_path / "cache").exists()
    assert [path for path in (tmp_path / "temporary").rglob("*") if path.is_file()] == []


def test_torch_takes_part_where_there_is_one(tmp_path):
    python = os.environ.get("CNN_JAX_TEST_TORCH")
    if not python:
        pytest.skip("CNN_JAX_TEST_TORCH names no Python with torch, NumPy and Pillow")
    code, _, err = finish(SCRIPT, "--synthetic", "200", "--quick", "--out", tmp_path, "--torch", python)
    assert code == 0, err
    torch = {f"torch {kind}, {n} workers" for kind in ("tensor", "encoded") for n in (0, 2)}
    measured, table = check(tmp_path, OURS | PEERS | torch, 180)
    assert measured["torch"]["torch"] in table
    assert python not in (tmp_path / "data.json").read_text()


def test_what_cannot_be_measured_is_one_line(tmp_path):
    assert "either --data-dir DIR or --synthetic N" in refused(SCRIPT)
    assert "--synthetic at least 10" in refused(SCRIPT, "--synthetic", "3")
    assert "--side 7" in refused(SCRIPT, "--synthetic", "50", "--side", "7")
    assert "train-images-idx3-ubyte.gz" in refused(SCRIPT, "--data-dir", tmp_path)
    assert "not streamed" in refused(SCRIPT, "--data-dir", tmp_path, "--dataset", "nothing")


def test_a_python_that_gives_no_torch_is_one_line(tmp_path):
    bare = tmp_path / "python"
    bare.write_text("#!/bin/sh\necho Traceback >&2\necho 'ModuleNotFoundError: torch' >&2\nexit 1\n")
    bare.chmod(0o755)
    for python, reason in ((bare, "ModuleNotFoundError: torch"), (tmp_path / "nowhere", "No such file or directory")):
        code, _, err = finish(SCRIPT, "--synthetic", "50", "--quick", "--torch", python)
        assert code in (1, 2)
        assert err.strip().splitlines()[-1] == f"error: --torch {python}: {reason}"
        assert "Traceback" not in err
