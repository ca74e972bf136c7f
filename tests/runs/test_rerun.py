"""A finished run or sweep trained once more: identical here, and what differs is said."""

import dataclasses
import shutil

import pytest

from cnn_jax import api
from cnn_jax.api.rerun import circumstances, rerun
from cnn_jax.cli import main
from cnn_jax.errors import RequestError, RunError
from cnn_jax.grids.grid import Grid
from cnn_jax.runs import manifest
from cnn_jax.runs.folder import Folder
from cnn_jax.runs.schema import Record
from cnn_jax.training.config import Config

CONFIG = Config(network="conv3-2 relu dense-10", epochs=1, batch_size=256, devices=1)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("made")
    api.train(CONFIG, out / "run", show=False)
    grid = Grid(CONFIG, {"learning_rate": (0.01, 0.05), "seed": (0, 1)})
    api.sweep(grid, out / "sweep", parallel="one", show=False)
    return out


@pytest.mark.parametrize("kind", ["run", "sweep"])
def test_the_same_code_on_the_same_machine_is_identical(made, tmp_path, kind):
    again = rerun(made / kind, tmp_path / "again", show=False)
    assert again.answer == "identical"
    assert again.numbers[0] == again.numbers[1]
    assert [change for change in again.changes if not change.startswith("CNN_JAX_CACHE")] == []  # of the tests


def test_what_differs_around_a_run_is_said(made, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(made / "run", copy)
    record = Folder(copy).read("record.json", Record)
    old = dataclasses.replace(
        record.provenance, lock_sha256="ab" * 32, versions=record.provenance.versions | {"jax": "0.4.1"},
        device=record.provenance.device | {"cpu": "another"}, environment={"XLA_FLAGS": "--x"},
    )  # fmt: skip
    Folder(copy).write("record.json", dataclasses.replace(record, provenance=old))
    manifest.write(Folder(copy))
    changes = "\n".join(rerun(copy, tmp_path / "again", show=False).changes)
    for line in (
        "jax: was 0.4.1, is ",
        "device cpu: was another",
        "pinned requirements: was abab",
        "XLA_FLAGS: was --x",
    ):
        assert line in changes
    assert circumstances(old, old) == ()


def test_other_numbers_are_within_the_tolerance_or_different(made, tmp_path, capsys):
    """A folder that says it was trained with another seed."""
    copy = tmp_path / "copy"
    shutil.copytree(made / "run", copy)
    other = dataclasses.replace(CONFIG, seed=5)
    Folder(copy).write_json("config.json", other.to_json())
    record = Folder(copy).read("record.json", Record)
    Folder(copy).write("record.json", dataclasses.replace(record, config=other.to_json()))
    manifest.write(Folder(copy))
    assert rerun(copy, tmp_path / "again", tolerance=100, show=False).answer == "within"
    arguments = ["rerun", str(copy), "--out", str(tmp_path / "once-more"), "--tolerance", "0"]
    assert main.command(arguments) == 1
    assert "different: test accuracy" in capsys.readouterr().out
    with pytest.raises(RequestError, match="at least 0"):
        main.command([*arguments[:-1], "-1"])


def test_a_damaged_folder_is_not_run_again(made, tmp_path):
    shutil.copytree(made / "run", tmp_path / "copy")
    (tmp_path / "copy" / "result.json").write_text("{}")
    with pytest.raises(RunError):
        rerun(tmp_path / "copy", tmp_path / "again", show=False)
    assert not (tmp_path / "again").exists()
