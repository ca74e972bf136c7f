"""Checkpoints are what they are said to be, and stay in their folder."""

import json
import os
import shutil

import jax
import numpy as np
import pytest

from cnn_jax.errors import RunError
from cnn_jax.network import Network
from cnn_jax.notation import parse
from cnn_jax.training.checkpoint import Checkpoints, SavedCheckpoints
from cnn_jax.training.config import Config
from cnn_jax.training.state import Program, initial_state


def state_of(network="conv3-4 relu dense-10", **fields):
    config = Config(network=network, **fields)
    return jax.device_get(initial_state(config, Program.of(config, Network((8, 8, 1), parse(network)), 1)))


def saved(folder, *steps, state=None):
    """A folder with checkpoints of these steps."""
    checkpoints = Checkpoints(folder, keep_all=True)
    for step in steps:
        checkpoints.save((state or state_of())._replace(step=np.int32(step)), {"train_seconds": 1.0})
    checkpoints.close()
    return folder


def contents(folder):
    """Every path below a folder with its size and when it was changed."""
    return {str(path): (path.lstat().st_size, path.lstat().st_mtime_ns) for path in [folder, *folder.rglob("*")]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("run") / "checkpoints", 1, 2)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"network": "conv3-8 relu dense-10"}, r"its params.conv1.\w+ is float32 \(.*4,?\), not float32 \(.*8,?\)"),
        ({"network": "conv3-4 bn relu dense-10"}, "it has no params.bn1.bias"),
        ({"network": "dense-10"}, r"its params.dense1.kernel is float32 \(144, 10\), not float32 \(64, 10\)"),
        ({"optimizer": "adam"}, "it has no opt_state"),
        ({"ema": 0.9}, "it has no ema.conv1.bias"),
    ],
)
def test_a_checkpoint_of_another_form_is_never_restored(folder, other, message):
    like = state_of(**other)
    with pytest.raises(RunError, match=f"checkpoints/2 is of another network or optimizer: {message}"):
        SavedCheckpoints(folder).at(2, like)
    with pytest.raises(RunError, match="no checkpoint is good"):
        SavedCheckpoints(folder).latest(like)


def test_what_is_more_than_expected_is_refused_too(tmp_path):
    more = saved(tmp_path / "checkpoints", 1, state=state_of(ema=0.9))
    with pytest.raises(RunError, match=r"it has ema\.conv1\.bias, which is not expected"):
        SavedCheckpoints(more).at(1, state_of())
    wide = state_of()
    wide = wide._replace(params=jax.tree.map(lambda leaf: leaf.astype(np.float64), wide.params))
    with pytest.raises(RunError, match=r"its params.conv1.bias is float64 \(4,\), not float32 \(4,\)"):
        SavedCheckpoints(saved(tmp_path / "wide", 1, state=wide)).at(1, state_of())


@pytest.mark.parametrize("meta", [[], {}, "text", {"sha256": 3}, None])
def test_a_meta_file_of_another_kind_is_one_line(folder, tmp_path, meta):
    copy = tmp_path / "checkpoints"
    shutil.copytree(folder, copy)
    (copy / "2" / "meta" / "metadata").write_text(json.dumps(meta))
    with pytest.raises(RunError, match=r"checkpoints/2 is (unreadable|damaged)"):
        SavedCheckpoints(copy).at(2, state_of())


def test_reading_changes_nothing(folder, tmp_path):
    copy = tmp_path / "run" / "checkpoints"
    shutil.copytree(folder, copy)
    (copy / "3.orbax-checkpoint-tmp").mkdir()
    before = contents(copy)
    checkpoints = SavedCheckpoints(copy)
    assert checkpoints.steps() == [1, 2]
    assert checkpoints.latest(state_of()).step == 2
    checkpoints.close()
    assert contents(copy) == before
    missing = SavedCheckpoints(tmp_path / "nowhere" / "checkpoints")
    assert missing.steps() == []
    missing.close()
    assert not (tmp_path / "nowhere").exists()


def test_what_killed_saves_left_goes_and_nothing_else(folder, tmp_path):
    copy, outside = tmp_path / "checkpoints", tmp_path / "outside"
    shutil.copytree(folder, copy)
    outside.mkdir()
    (outside / "file").write_text("of somebody else")
    for name in ("3.orbax-checkpoint-tmp", "3.orbax-checkpoint-tmp-1700000000"):
        (copy / name / "state").mkdir(parents=True)
        (copy / name / "state" / "leaves.npz").write_bytes(b"half")
        (copy / name / "link").symlink_to(outside)
    (copy / "notes.txt").write_text("mine")
    Checkpoints(copy).close()
    assert sorted(path.name for path in copy.iterdir()) == ["1", "2", "notes.txt"]
    assert (outside / "file").read_text() == "of somebody else"


@pytest.mark.parametrize("kind", [Checkpoints, SavedCheckpoints])
@pytest.mark.parametrize("what", ["the folder", "a checkpoint", "a leftover", "a link to nothing"])
def test_links_are_refused_and_what_lies_behind_them_is_left_alone(folder, tmp_path, what, kind):
    outside, run = tmp_path / "outside", tmp_path / "run"
    run.mkdir()
    shutil.copytree(folder, outside)
    if what == "the folder":
        (run / "checkpoints").symlink_to(outside)
    else:
        name = {"a checkpoint": "2", "a leftover": "2.orbax-checkpoint-tmp", "a link to nothing": "5"}[what]
        shutil.copytree(folder, run / "checkpoints", ignore=shutil.ignore_patterns("2"))
        (run / "checkpoints" / name).symlink_to(outside / ("5" if what == "a link to nothing" else "2"))
    before = contents(outside)
    with pytest.raises(RunError, match="is a link: checkpoints lie in the run's own folder"):
        kind(run / "checkpoints")
    assert contents(outside) == before


@pytest.mark.parametrize("kind", [Checkpoints, SavedCheckpoints])
def test_a_file_in_the_place_of_the_folder_is_one_line(tmp_path, kind):
    (tmp_path / "checkpoints").write_text("no folder")
    with pytest.raises(RunError, match="checkpoints is no folder of checkpoints: Not a directory"):
        kind(tmp_path / "checkpoints")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "run").mkdir(mode=0o500)
    with pytest.raises(RunError, match="run/checkpoints cannot be written: Permission denied"):
        Checkpoints(tmp_path / "run" / "checkpoints")
