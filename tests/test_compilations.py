"""The cache of compiled programs: what one command has compiled, the next one takes; nobody else's folder is trusted."""

import json
import os

import pytest
from commands import start

from cnn_jax import compilations

TRAIN = ("-m", "cnn_jax", "train", "--network", "conv3-4 relu max2 dense-classes", "--epochs", "1", "--quiet", "--out")


def train(out, cache, **more):
    """A command in a process of its own, with this cache alone."""
    clean = {name: "" for name in os.environ if name.startswith(("JAX_COMPILATION_CACHE", "JAX_PERSISTENT_CACHE"))}
    process = start(*TRAIN, out, CNN_JAX_CACHE=str(cache), **clean, **more)
    _, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    return json.loads((out / "record.json").read_text()), json.loads((out / "result.json").read_text()), err


@pytest.fixture(scope="module")
def cold(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compilations")
    return folder, *train(folder / "cold", folder / "cache")[:2]


def test_the_second_process_compiles_nothing_and_finds_the_same_numbers(cold):
    folder, record, result = cold
    assert record["compilations"]["hits"] == 0
    assert record["compilations"]["misses"] > 0
    warm, again, _ = train(folder / "warm", folder / "cache")
    assert warm["compilations"] == {"hits": record["compilations"]["misses"], "misses": 0}
    assert again["validation"] == result["validation"]
    assert again["test"] == result["test"]


def test_the_folder_is_the_users_alone(cold):
    folder = cold[0] / "cache" / "compilations"
    assert {path.stat().st_mode & 0o777 for path in (folder, *folder.iterdir())} == {0o700}


def test_it_can_be_turned_off(cold, tmp_path):
    record, result, _ = train(tmp_path / "off", cold[0] / "cache", CNN_JAX_COMPILE_CACHE="off")
    assert record["compilations"] is None
    assert result["validation"] == cold[2]["validation"]


def test_a_folder_that_others_can_write_is_not_trusted(tmp_path):
    folder = tmp_path / "cache" / "compilations"
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    record, _, err = train(tmp_path / "run", tmp_path / "cache")
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
