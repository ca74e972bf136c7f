"""The benchmark of the cache of compiled programs finds in the later process what the first one kept."""

import json

import pytest
from commands import finish


@pytest.mark.slow
@pytest.mark.usefixtures("own_compilations")
def test_the_later_process_finds_what_the_first_kept(tmp_path):
    code, out, err = finish("-m", "cnn_jax", "bench", "compile", "--quick", "--out", tmp_path / "out")
    assert code == 0, err
    (row,) = json.loads((tmp_path / "out" / "compile.json").read_text())["networks"]
    assert row["programs"] > 2 < row["found"]  # threads that need the same program may count it twice
    assert "jit(train_steps)" in row["compiling"]
    assert all(row[case]["n"] == 1 and row[case]["median"] > 0 for case in ("off", "cold", "warm"))
    assert (tmp_path / "out" / "compile.md").read_text() == out
