"""The cache of compiled programs: what one command compiled, the next one loads; nobody else's folder is trusted."""

import json
import os

import pytest
from commands import finish

from cnn_jax import compilations

pytestmark = pytest.mark.usefixtures("own_compilations")
TRAIN = ("-m", "cnn_jax", "train", "--network", "conv3-4 relu max2 dense-classes", "--epochs", "1", "--quiet", "--out")


def train(out, cache, **more):
    """A command in a process of its own, with this cache alone."""
    code, _, err = finish(*TRAIN, out, CNN_JAX_CACHE=str(cache), **more)
    assert code == 0, err
    return json.loads((out / "record.json").read_text()), json.loads((out / "result.json").read_text()), err


@pytest.fixture(scope="module")
def cold(tmp_path_factory, native_folder, own_compilations):
    folder = tmp_path_factory.mktemp("compilations")
    (folder / "cache").mkdir()
    if native_folder is not None:
        (folder / "cache" / "native").symlink_to(native_folder)
    return folder, *train(folder / "cold", folder / "cache")[:2]


def test_the_second_process_compiles_nothing_and_finds_the_same_numbers(cold):
    folder, record, result = cold
    assert record["compilations"]["misses"] >= 3  # initial weights, training, evaluation
    warm, again, _ = train(folder / "warm", folder / "cache")
    assert warm["compilations"]["hits"] >= 3  # threads that need the same small program may count it twice
    assert warm["compilations"]["misses"] == 0
    assert again["validation"] == result["validation"]
    assert again["test"] == result["test"]


def test_the_folder_is_the_users_alone(cold):
    folder = cold[0] / "cache" / "compilations"
    assert {path.stat().st_mode & 0o777 for path in (folder, *folder.iterdir())} == {0o700}


def test_what_a_killed_process_left_is_removed(cold, tmp_path):
    """A program of which half was written, the rest not, is compiled again and kept whole; the others are loaded."""
    cache = cold[0] / "cache"
    (folder,) = (cache / "compilations").iterdir()
    program = max(folder.glob("*-cache"), key=lambda path: path.stat().st_size)
    os.truncate(program, program.stat().st_size // 2)
    program.with_name(program.name.removesuffix("-cache") + "-atime").unlink()
    record, result, err = train(tmp_path / "run", cache)
    assert record["compilations"]["hits"] >= 2
    assert record["compilations"]["misses"] == 1
    assert result["validation"] == cold[2]["validation"]
    assert err == ""
    assert train(tmp_path / "next", cache)[0]["compilations"]["misses"] == 0


def test_it_can_be_turned_off(cold, tmp_path):
    record, result, _ = train(tmp_path / "off", cold[0] / "cache", CNN_JAX_COMPILE_CACHE="off")
    assert record["compilations"] is None
    assert result["validation"] == cold[2]["validation"]


def test_a_folder_that_others_can_write_is_not_trusted(cold, tmp_path):
    folder = cold[0] / "cache" / "compilations"
    folder.chmod(0o777)
    record, _, err = train(tmp_path / "run", cold[0] / "cache")
    folder.chmod(0o700)
    assert record["compilations"] is None
    assert f"compiled programs are not kept: {folder} can be written by others" in err


def test_another_processor_or_driver_has_another_folder(monkeypatch):
    facts = ["linux", "model name: A", "NVRM version: 1"]
    folders = set()
    for i in range(len(facts)):
        monkeypatch.setattr(compilations, "_facts", lambda i=i: iter([*facts[:i], facts[i] + "x", *facts[i + 1 :]]))
        folders.add(compilations._machine())
    monkeypatch.setattr(compilations, "_facts", lambda: iter(facts))
    assert len(folders | {compilations._machine()}) == 4
