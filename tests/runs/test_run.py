"""A run's folder: what is in it, what is refused, what survives damage."""

import dataclasses
import json
import math
import shutil

import jax
import numpy as np
import pytest

from cnn_jax import lab, ops
from cnn_jax.errors import RequestError, RunError
from cnn_jax.runs import record, session
from cnn_jax.runs.folder import Folder
from cnn_jax.runs.prepared import Prepared
from cnn_jax.runs.trained import Trained
from cnn_jax.training.checkpoint import Checkpoints
from cnn_jax.training.config import Config
from cnn_jax.training.state import Program, initial_state

CONFIG = Config(network="conv3-4:same relu max2 dense-10", epochs=3, devices=1, learning_rate=0.05)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "EPOCH_SECONDS", 0.0)  # every epoch ends with a checkpoint
        return lab.train(CONFIG, tmp_path_factory.mktemp("run") / "out", show=False)


def weights(path):
    return jax.tree.leaves(Trained.load(path).variables["params"])


def test_a_run_leaves_the_contracts_files(run):
    names = {path.name for path in run.path.iterdir()}
    assert {
        "config.json",
        "metrics.jsonl",
        "result.json",
        "record.json",
        "checkpoints",
        "figures",
        "report.html",
    } <= names
    folder = Folder(run.path)
    lines = folder.metrics()
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert list(lines[0]) == [
        "epoch", "step", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "learning_rate",
        "examples", "seconds",
    ]  # fmt: skip
    result = folder.read_json("result.json")
    assert list(result) == [
        "status", "reason", "diverged_step", "validation", "test", "epochs", "steps", "parameters", "compile_seconds",
        "train_seconds",
    ]  # fmt: skip
    assert result["status"] == "complete"
    assert result["validation"] == {
        "accuracy": lines[-1]["validation_accuracy"], "loss": lines[-1]["validation_loss"], "examples": 269,
    }  # fmt: skip
    assert result["test"]["examples"] == 269
    assert result["steps"] == 3 * math.ceil(1259 / 128)
    assert Config.from_json(folder.read_json("config.json")) == CONFIG


def test_the_record_has_what_a_repetition_needs(run):
    made = Folder(run.path).read_json("record.json")
    assert made["config_hash"] == CONFIG.hash()
    assert made["seeds"] == {"run": 0, "split": 0, "prng": "threefry2x32"}
    assert made["precision"] == "highest"
    assert made["choices"] == {"backend": "cpu", "devices": 1, "implementation": ops.resolve()}
    assert made["device"]["cpu"]
    assert made["versions"]["jax"] == jax.__version__
    assert made["data"]["splits"] == {"train": 1259, "validation": 269, "test": 269}
    assert len(made["data"]["sha256"]) == 64
    assert made["peak_memory"]["process_bytes"] > 2**20
    assert made["images_per_second"] > 0
    git = record.git_state()
    assert made["git"] == (git and {key: value for key, value in git.items() if key != "diff"})


def test_the_record_works_without_git(tmp_path, monkeypatch):
    monkeypatch.setattr(record, "ROOT", tmp_path)
    record.git_state.cache_clear()
    try:
        assert record.git_state() is None
        (tmp_path / ".git").mkdir()
        record.git_state.cache_clear()
        monkeypatch.setenv("PATH", "")
        assert record.git_state() is None
    finally:
        record.git_state.cache_clear()


def test_the_same_config_is_the_same_run_bit_for_bit(run, tmp_path):
    again = lab.train(CONFIG, tmp_path / "again", show=False)
    for a, b in zip(weights(run.path), weights(again.path), strict=True):
        np.testing.assert_array_equal(a, b)
    assert again.result["test"] == run.result["test"]
    other = lab.train(dataclasses.replace(CONFIG, seed=1), tmp_path / "other", show=False)
    assert other.result["test"]["loss"] != run.result["test"]["loss"]


def test_an_existing_folder_is_refused(run, tmp_path):
    with pytest.raises(RequestError, match="exists already; give another --out, or --resume"):
        lab.train(CONFIG, run.path, show=False)
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(RequestError, match="exists already"):
        lab.train(CONFIG, tmp_path, show=False)


def test_a_resume_with_another_config_lists_the_differences(run):
    with pytest.raises(RequestError, match=r"another config: epochs: 3 -> 4; learning_rate: 0\.05 -> 0\.1"):
        lab.train(dataclasses.replace(CONFIG, epochs=4, learning_rate=0.1), run.path, resume=True, show=False)


def test_resuming_a_finished_run_changes_nothing(run):
    before = (run.path / "result.json").read_bytes()
    (run.path / "report.html").unlink()  # as if killed before it was written
    again = lab.train(CONFIG, run.path, resume=True, show=False)
    assert (run.path / "report.html").exists()
    assert again.result == run.result
    assert (run.path / "result.json").read_bytes() == before


def test_a_resume_starts_a_run_that_is_not_there(tmp_path):
    assert lab.train(CONFIG, tmp_path / "new", resume=True, show=False).status == "complete"


def test_a_resume_with_other_choices_or_data_is_refused(run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(run.path, copy)
    (copy / "result.json").unlink()
    kept = Folder(copy).read_json("record.json")
    Folder(copy).write_json("record.json", kept | {"choices": kept["choices"] | {"backend": "tpu"}})
    with pytest.raises(RequestError, match="its choices differ: backend: tpu -> cpu"):
        lab.train(CONFIG, copy, resume=True, show=False)
    Folder(copy).write_json("record.json", kept | {"data": kept["data"] | {"sha256": "0" * 64}})
    with pytest.raises(RequestError, match="its data differ: sha256: 0000"):
        lab.train(CONFIG, copy, resume=True, show=False)


def test_a_damaged_checkpoint_is_named_and_passed_over(run, tmp_path, capsys):
    """A flipped byte in the newest: the run goes on from the one before and ends with the same weights."""
    copy = tmp_path / "copy"
    shutil.copytree(run.path, copy)
    (copy / "result.json").unlink()
    newest = max((copy / "checkpoints").iterdir(), key=lambda path: int(path.name) if path.name.isdigit() else -1)
    for path in (newest / "state").rglob("*"):
        if path.is_file() and path.stat().st_size > 400:
            content = bytearray(path.read_bytes())
            content[len(content) // 2] ^= 0xFF
            path.write_bytes(bytes(content))
    again = lab.train(CONFIG, copy, resume=True, show=False)
    assert f"checkpoint {newest}" in capsys.readouterr().err
    assert again.result["test"] == run.result["test"]
    for a, b in zip(weights(run.path), weights(copy), strict=True):
        np.testing.assert_array_equal(a, b)
    assert any(str(newest) in note for note in Folder(copy).read_json("record.json")["notes"])


@pytest.mark.parametrize("damage", ["empty directory", "truncated", "deleted item"])
def test_other_damage_to_the_newest_checkpoint(run, tmp_path, damage):
    copy = tmp_path / "checkpoints"
    shutil.copytree(run.path / "checkpoints", copy)
    newest = max((path for path in copy.iterdir() if path.name.isdigit()), key=lambda path: int(path.name))
    expected = sorted(int(path.name) for path in copy.iterdir() if path.name.isdigit())
    if damage == "empty directory":
        (copy / "999").mkdir()
    elif damage == "truncated":
        for path in (newest / "state").rglob("*"):
            if path.is_file():
                path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    else:
        shutil.rmtree(newest / "state")
    checkpoints = Checkpoints(copy)
    prepared = Prepared.of(CONFIG, lab.dataset(CONFIG))
    like = initial_state(CONFIG, Program.of(CONFIG, prepared.network, 1))
    found = checkpoints.latest(like)
    assert found.step == expected[-1 if damage == "empty directory" else -2]
    assert len(found.skipped) == 1
    checkpoints.discard_after(found.step)
    checkpoints.save(found.state._replace(step=found.state.step + 5), {"train_seconds": 0.0})  # can be saved again
    checkpoints.close()


def test_a_damaged_final_checkpoint_is_no_other_ones_result(run, tmp_path):
    """Scoring or predicting never falls back to older weights, and removes nothing."""
    copy = tmp_path / "copy"
    shutil.copytree(run.path, copy)
    shutil.rmtree(copy / "checkpoints" / "30" / "state")
    with pytest.raises(RunError, match=r"checkpoints/30 is unreadable"):
        Trained.load(copy)
    assert (copy / "checkpoints" / "30").is_dir()


def test_no_good_checkpoint_at_all_is_said(run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(run.path, copy)
    for path in (copy / "checkpoints").iterdir():
        if path.name.isdigit():
            shutil.rmtree(path / "state")
    (copy / "result.json").unlink()
    with pytest.raises(RunError, match="no checkpoint is good"):
        lab.train(CONFIG, copy, resume=True, show=False)


def test_the_newest_two_and_the_best_are_kept(tmp_path):
    prepared = Prepared.of(CONFIG, lab.dataset(CONFIG))
    state = jax.device_get(initial_state(CONFIG, prepared.program))
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    for step, accuracy in enumerate([0.1, 0.9, 0.5, 0.9, 0.7, 0.6], start=1):
        checkpoints.save(state._replace(step=np.int32(step)), {}, {"validation_accuracy": accuracy})
    checkpoints.save(state._replace(step=np.int32(7)), {})
    checkpoints.wait()
    kept = sorted(int(path.name) for path in (tmp_path / "checkpoints").iterdir() if path.name.isdigit())
    assert kept == [2, 6, 7]
    assert checkpoints.at(2, state).step == 2
    assert checkpoints.latest(state).step == 7
    with pytest.raises(RunError, match="3 is unreadable"):
        checkpoints.at(3, state)
    checkpoints.close()


def test_select_best_scores_the_best_epoch(tmp_path):
    config = dataclasses.replace(CONFIG, select="best", learning_rate=0.25, epochs=6, seed=3)
    run = lab.train(config, tmp_path / "best", show=False)
    lines = Folder(run.path).metrics()
    best = max(lines, key=lambda line: (line["validation_accuracy"], -line["step"]))
    assert best["epoch"] < 6, "this test needs a run whose last epoch is not its best"
    assert run.result["validation"]["accuracy"] == best["validation_accuracy"]
    until = dataclasses.replace(CONFIG, learning_rate=0.25, epochs=best["epoch"], seed=3)
    assert lab.train(until, tmp_path / "until", show=False).result["test"] == run.result["test"]


def test_a_run_that_blows_up_says_where_and_keeps_its_last_good_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr(session, "EPOCH_SECONDS", 0.0)
    config = dataclasses.replace(CONFIG, schedule="step", decay_epochs=(2.0,), decay_factor=1e38)
    run = lab.train(config, tmp_path / "out", show=False)
    assert (run.status, run.result["reason"]) == ("diverged", "nonfinite")
    assert 20 < run.result["diverged_step"] <= 24
    assert run.result["test"] is None
    assert (run.path / "checkpoints" / "20").is_dir()
    assert "diverged at step" in (run.path / "report.html").read_text()


def test_a_run_that_only_answers_frequencies_diverged_by_chance(tmp_path):
    run = lab.train(dataclasses.replace(CONFIG, learning_rate=3.0), tmp_path / "out", show=False)
    assert (run.status, run.result["reason"]) == ("diverged", "chance")
    assert run.result["test"] is None


def test_a_profile_that_cannot_be_is_said(tmp_path, capsys):
    lab.train(dataclasses.replace(CONFIG, epochs=1), tmp_path / "out", profile=True, show=False)
    assert "no profile: it needs more than 10 steps, 10 are left" in capsys.readouterr().err


def test_profile_writes_a_trace(tmp_path):
    lab.train(CONFIG, tmp_path / "out", profile=True, show=False)
    record = Folder(tmp_path / "out").read_json("record.json")
    assert record["images_per_second"] > 0
    traces = list((tmp_path / "out" / "profile").rglob("*.trace.json.gz"))
    assert traces
    assert traces[0].stat().st_size > 1000


def test_metrics_of_a_killed_write_are_whole_lines(tmp_path):
    folder = Folder(tmp_path)
    folder.append_metrics({"step": 1})
    with folder.file("metrics.jsonl").open("a") as handle:
        handle.write('{"step": 2, "tr')
    assert folder.metrics() == [{"step": 1}]
    assert folder.keep_metrics(5) == [{"step": 1}]
    assert json.loads(folder.file("metrics.jsonl").read_text()) == {"step": 1}


def test_what_is_not_finite_is_null(tmp_path):
    folder = Folder(tmp_path)
    folder.append_metrics({"step": 1, "validation_loss": float("inf")})
    folder.write_json("result.json", {"test": {"loss": float("nan"), "accuracy": 0.5}})
    assert folder.metrics() == [{"step": 1, "validation_loss": None}]
    assert folder.read_json("result.json") == {"test": {"loss": None, "accuracy": 0.5}}


def test_predict_is_what_the_training_step_computes(run):
    trained = Trained.load(run.path)
    dataset = lab.dataset(CONFIG)
    probabilities = trained.probabilities(dataset.test.images)
    np.testing.assert_allclose(probabilities.sum(-1), 1.0, rtol=1e-5)
    accuracy = (probabilities.argmax(-1) == dataset.test.labels).mean()
    assert accuracy == pytest.approx(run.result["test"]["accuracy"], abs=1e-6)


def test_the_page_is_self_contained(run):
    page = (run.path / "report.html").read_text()
    assert "http" not in page.replace("http-equiv", "")
    assert 'src="data:image/png;base64,' in page
    assert "<script" not in page
