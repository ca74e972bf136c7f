"""The cache: made once, whole or not at all, checked on every load, enough on its own."""

import json
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from samples import files_of, tiny_arrays, write_tree

from cnn_jax.data import cache as cache_module
from cnn_jax.data import load
from cnn_jax.paths import cache_root

TINY = "import samples, pathlib; samples.install_tiny_mnist(pathlib.Path({!r}) / 'mnist')\n"
BLOCK = """
import sys
for name in ('tensorflow_datasets', 'array_record', 'tensorflow', 'PIL'):
    sys.modules[name] = None
"""


def result(process) -> str:
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return out.strip()


def test_importing_the_package_is_light(start):
    heavy = ("jax", "tensorflow_datasets", "PIL", "flax", "scipy")
    code = f"import sys, cnn_jax.data; print([name for name in {heavy} if name in sys.modules])"
    assert result(start(code)) == "[]"


def test_cached_arrays_need_no_tfds_no_pillow_and_no_data_folder(tiny_mnist, start, tmp_path):
    expected = load("mnist", data_dir=tiny_mnist).fingerprint
    code = BLOCK + "from cnn_jax.data import load\nprint(load({!r}, data_dir={!r}).fingerprint)"
    assert result(start(TINY.format(str(tmp_path / "x")) + code.format("mnist", "/nowhere"))) == expected


def test_without_tfds_and_without_cached_arrays_the_error_says_what_to_install(tmp_path, refuses, monkeypatch):
    import sys

    prepared = tmp_path / "somewhere" / "own" / "1.0.0"
    prepared.mkdir(parents=True)
    (prepared / "dataset_info.json").write_text("{}")
    for name in [name for name in sys.modules if name.startswith("tensorflow_datasets")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with refuses("own", "cnn_jax[data]", "CNN_JAX_CACHE"):
        load("own", data_dir=tmp_path / "somewhere")


def test_the_place_of_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("CNN_JAX_CACHE", str(tmp_path / "a"))
    assert cache_root() == tmp_path / "a"
    monkeypatch.delenv("CNN_JAX_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "b"))
    assert cache_root() == tmp_path / "b" / "cnn_jax"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "c"))
    assert cache_root() == tmp_path / "c" / ".cache" / "cnn_jax"


@pytest.mark.parametrize("place", ["file", "file/below", "/proc/nowhere"])
def test_an_unwritable_cache_is_one_line(place, tmp_path, tiny_mnist, monkeypatch, refuses):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("CNN_JAX_CACHE", str(tmp_path / place))
    with refuses("cannot write the cache", tmp_path / place, "CNN_JAX_CACHE"):
        load("mnist", data_dir=tiny_mnist)
    load("digits")  # needs none


@pytest.mark.parametrize("file", ["train_images.npy", "test_images.npy", "test_labels.npy", "about.json"])
@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "gone"])
def test_damage_to_cached_arrays_is_noticed(file, damage, tiny_mnist, cache, refuses):
    load("mnist", data_dir=tiny_mnist)
    (path,) = cache.rglob(file)
    good = path.read_bytes()
    middle = len(good) - 40
    bad = {"flip": good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1 :], "cut": good[:middle], "empty": b""}
    path.unlink()
    if damage != "gone":
        path.write_bytes(bad[damage])
    with refuses(path.parent, "damaged", "load again"):
        load("mnist")


def test_arrays_stored_as_pickles_are_not_unpickled(tiny_mnist, cache, refuses):
    load("mnist", data_dir=tiny_mnist)
    (path,) = cache.rglob("test_images.npy")
    np.save(path, np.array([print], dtype=object), allow_pickle=True)
    with refuses(path.parent, "damaged"):
        load("mnist")


def test_two_processes_at_once_prepare_once_and_both_succeed(tmp_path, start, cache):
    code = TINY.format(str(tmp_path / "archives{}")) + (
        "import time, cnn_jax.data, cnn_jax.data.idx as idx\n"
        "made = []; read = idx.read_pair\n"
        "idx.read_pair = lambda *a: (made.append(1), read(*a))[1]\n"
        "pathlib.Path('ready{}').touch()\n"
        "while not pathlib.Path('go').exists(): time.sleep(0.01)\n"
        "print(cnn_jax.data.load('mnist', data_dir='archives{}').fingerprint, len(made))"
    )
    processes = [start(code.replace("{}", str(i))) for i in (1, 2)]
    wait_for(*(tmp_path / f"ready{i}" for i in (1, 2)))
    (tmp_path / "go").touch()
    (first, made_first), (second, made_second) = (result(process).split() for process in processes)
    assert first == second
    assert int(made_first) + int(made_second) == 2  # the pairs of train and test, once


def wait_for(*paths: Path) -> None:
    deadline = time.monotonic() + 60
    while not all(path.exists() for path in paths):
        assert time.monotonic() < deadline, "the other process did not get there"
        time.sleep(0.01)


STOP = "(pathlib.Path('there').touch(), time.sleep(600))"
KILLED_AT = {
    "the second pair of archives": (
        "import cnn_jax.data.idx as idx\nplain, count = idx.read_pair, []\n"
        f"idx.read_pair = lambda *a: (count.append(1), {STOP} if len(count) == 2 else 0, plain(*a))[2]\n"
    ),
    "the end of the second array": (
        "import cnn_jax.data.cache as c\nplain, count = c.np.save, []\n"
        f"c.np.save = lambda *a, **k: (plain(*a, **k), count.append(1), {STOP} if len(count) == 2 else 0)\n"
    ),
    "the rename": f"import os\npathlib.Path.rename = lambda *a: {STOP}\n",
}


@pytest.mark.parametrize("moment", KILLED_AT)
def test_after_a_kill_in_the_middle_the_next_process_makes_it_whole(moment, tiny_mnist, tmp_path, start, cache):
    code = TINY.format(str(tmp_path / "x")) + "import time\n" + KILLED_AT[moment]
    process = start(code + f"import cnn_jax.data\ncnn_jax.data.load('mnist', data_dir={str(tiny_mnist)!r})")
    wait_for(tmp_path / "there")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (cache / "arrays" / cache_module.LAYOUT / "mnist").exists()
    dataset = load("mnist", data_dir=tiny_mnist)
    found = np.concatenate([dataset.train.images, dataset.validation.images])[..., 0]
    assert sorted(map(bytes, found)) == sorted(map(bytes, tiny_arrays()["train"][0]))
    assert not [path for path in cache.rglob("*") if "partial" in path.name or "incomplete" in path.name]


def test_loading_twice_writes_once(tiny_mnist, cache):
    first = load("mnist", data_dir=tiny_mnist)
    times = {path: path.stat().st_mtime_ns for path in cache.rglob("*")}
    second = load("mnist")
    assert {path: path.stat().st_mtime_ns for path in cache.rglob("*")} == times
    assert first.fingerprint == second.fingerprint
    assert first.source == second.source


def test_a_half_written_folder_is_not_taken_for_a_whole_one(tmp_path, cache):
    folder = write_tree(tmp_path / "photos", files_of({"a": 8, "b": 8}))
    expected = load(str(folder)).fingerprint
    (made,) = (path.parent for path in cache.rglob("about.json"))
    (made / "about.json").unlink()
    made.rename(made.with_name(made.name + ".partial"))
    assert load(str(folder)).fingerprint == expected
    assert json.loads((made / "about.json").read_text())["class_names"] == ["a", "b"]
