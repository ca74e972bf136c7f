"""A run's folder: what is in it, what is refused, what survives damage."""

import dataclasses
import json
import math
import re
import shutil

import jax
import numpy as np
import pytest
from folders import evaluation

from cnn_jax import api, ops
from cnn_jax.errors import RequestError, RunError
from cnn_jax.metrics import EpochMetrics
from cnn_jax.runs import manifest, provenance, writer
from cnn_jax.runs.folder import Folder
from cnn_jax.runs.model import TrainedModel
from cnn_jax.runs.schema import Record, Result
from cnn_jax.runs.task import Task
from cnn_jax.training.checkpoint import Checkpoints
from cnn_jax.training.config import Config
from cnn_jax.training.state import Program, initial_state

CONFIG = Config(network="conv3-4:same relu max2 dense-10", epochs=3, devices=1, learning_rate=0.05)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer, "EPOCH_SECONDS", 0.0)  # every epoch ends with a checkpoint
        return api.train(CONFIG, tmp_path_factory.mktemp("run") / "out", show=False)


def weights(path):
    return jax.tree.leaves(TrainedModel.load(path).variables["params"])


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
    lines = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert {
        "epoch", "step", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "learning_rate",
        "examples", "seconds", "validation_top5_accuracy",
    } <= set(lines[0])  # fmt: skip
    result = Folder(run.path).read_json("result.json")
    assert {
        "status", "at_chance", "reason", "diverged_step", "validation", "test", "epochs", "steps", "parameters",
        "compile_seconds", "train_seconds",
    } <= set(result)  # fmt: skip
    assert (result["status"], result["at_chance"]) == ("complete", False)
    assert result["validation"] == {
        "accuracy": lines[-1]["validation_accuracy"], "loss": lines[-1]["validation_loss"],
        "top5_accuracy": lines[-1]["validation_top5_accuracy"], "examples": 269,
    }  # fmt: skip
    assert result["test"]["examples"] == 269
    assert result["steps"] == 3 * math.ceil(1259 / 128)
    assert Config.from_json(Folder(run.path).read_json("config.json")) == CONFIG
    assert Result.from_json(result) == run.result


def test_the_record_has_what_a_repetition_needs(run):
    record = Folder(run.path).read("record.json", Record)
    assert record.config_hash == CONFIG.hash()
    assert record.seeds == {"run": 0, "split": 0, "prng": "threefry2x32"}
    assert record.precision == "highest"
    assert record.choices == {"backend": "cpu", "devices": 1, "hosts": 1, "implementation": ops.resolve()}
    assert record.provenance.device["cpu"]
    assert record.provenance.versions["jax"] == jax.__version__
    assert record.data.splits == {"train": 1259, "validation": 269, "test": 269}
    assert len(record.data.sha256) == 64
    assert record.peak_memory["process_bytes"] > 2**20
    assert record.images_per_second > 0
    assert record.provenance.repository == provenance.provenance()[0].repository


def test_the_same_config_is_the_same_run_bit_for_bit(run, tmp_path):
    again = api.train(CONFIG, tmp_path / "again", show=False)
    for a, b in zip(weights(run.path), weights(again.path), strict=True):
        np.testing.assert_array_equal(a, b)
    assert again.result.test == run.result.test
    other = api.train(dataclasses.replace(CONFIG, seed=1), tmp_path / "other", show=False)
    assert other.result.test.loss != run.result.test.loss


def test_an_existing_folder_is_refused(run, tmp_path):
    with pytest.raises(RequestError, match="exists already; give another --out, or --resume"):
        api.train(CONFIG, run.path, show=False)
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(RequestError, match="exists already"):
        api.train(CONFIG, tmp_path, show=False)


def test_a_resume_with_another_config_lists_the_differences(run):
    with pytest.raises(RequestError, match=r"another config: epochs: 3 -> 4; learning_rate: 0\.05 -> 0\.1"):
        api.train(dataclasses.replace(CONFIG, epochs=4, learning_rate=0.1), run.path, resume=True, show=False)


def test_resuming_a_finished_run_changes_nothing(run):
    before = (run.path / "result.json").read_bytes()
    (run.path / "report.html").unlink()  # as if killed before it was written
    again = api.train(CONFIG, run.path, resume=True, show=False)
    assert (run.path / "report.html").exists()
    assert again.result == run.result
    assert (run.path / "result.json").read_bytes() == before


def test_a_resume_starts_a_run_that_is_not_there(tmp_path):
    assert api.train(CONFIG, tmp_path / "new", resume=True, show=False).status == "complete"


def test_a_resume_with_other_choices_or_data_is_refused(run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(run.path, copy)
    (copy / "result.json").unlink()
    (copy / manifest.NAME).unlink()
    record = Folder(copy).read("record.json", Record)
    Folder(copy).write("record.json", dataclasses.replace(record, choices=record.choices | {"backend": "tpu"}))
    with pytest.raises(RequestError, match="its choices differ: backend: tpu -> cpu"):
        api.train(CONFIG, copy, resume=True, show=False)
    other = dataclasses.replace(record, data=dataclasses.replace(record.data, sha256="0" * 64))
    Folder(copy).write("record.json", other)
    with pytest.raises(RequestError, match="its data differ: sha256: 0000"):
        api.train(CONFIG, copy, resume=True, show=False)


def test_a_damaged_checkpoint_is_named_and_passed_over(run, tmp_path, capsys):
    """A flipped byte in the newest: the run goes on from the one before and ends with the same weights."""
    copy = tmp_path / "copy"
    shutil.copytree(run.path, copy)
    (copy / "result.json").unlink()
    (copy / manifest.NAME).unlink()
    newest = max((copy / "checkpoints").iterdir(), key=lambda path: int(path.name) if path.name.isdigit() else -1)
    for path in (newest / "state").rglob("*"):
        if path.is_file() and path.stat().st_size > 400:
            content = bytearray(path.read_bytes())
            content[len(content) // 2] ^= 0xFF
            path.write_bytes(bytes(content))
    again = api.train(CONFIG, copy, resume=True, show=False)
    assert f"checkpoint {newest}" in capsys.readouterr().err
    assert again.result.test == run.result.test
    for a, b in zip(weights(run.path), weights(copy), strict=True):
        np.testing.assert_array_equal(a, b)
    assert any(str(newest) in note for note in Folder(copy).read("record.json", Record).notes)


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
    prepared = Task.of(CONFIG, api.load_data(CONFIG))
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
        TrainedModel.load(copy)
    assert (copy / "checkpoints" / "30").is_dir()


def test_no_good_checkpoint_at_all_is_said(run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(run.path, copy)
    for path in (copy / "checkpoints").iterdir():
        if path.name.isdigit():
            shutil.rmtree(path / "state")
    (copy / "result.json").unlink()
    (copy / manifest.NAME).unlink()
    with pytest.raises(RunError, match="no checkpoint is good"):
        api.train(CONFIG, copy, resume=True, show=False)


def test_the_newest_two_and_the_best_are_kept(tmp_path):
    prepared = Task.of(CONFIG, api.load_data(CONFIG))
    state = jax.device_get(initial_state(CONFIG, prepared.program))
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    evaluations = []
    for step, accuracy in enumerate([0.1, 0.9, 0.5, 0.9, 0.7, 0.6], start=1):
        score = evaluation(accuracy)
        evaluations.append(EpochMetrics(step, step, score, score, 0.1))
        checkpoints.save(state._replace(step=np.int32(step)), {}, evaluations)
    checkpoints.save(state._replace(step=np.int32(7)), {}, evaluations)
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
    run = api.train(config, tmp_path / "best", show=False)
    lines = Folder(run.path).metrics()
    best = max(lines, key=lambda line: (line.validation.accuracy, -line.step))
    assert best.epoch < 6, "this test needs a run whose last epoch is not its best"
    assert run.result.validation == best.validation
    assert run.result.scored_step == best.step
    until = dataclasses.replace(CONFIG, learning_rate=0.25, epochs=best.epoch, seed=3)
    assert api.train(until, tmp_path / "until", show=False).result.test == run.result.test
    accuracy = TrainedModel.load(run.path).accuracy(
        api.load_data(CONFIG).test.images, api.load_data(CONFIG).test.labels
    )
    assert accuracy == pytest.approx(run.result.test.accuracy)


def test_a_run_that_blows_up_says_where_and_keeps_its_last_good_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "EPOCH_SECONDS", 0.0)
    config = dataclasses.replace(CONFIG, schedule="step", decay_epochs=(2.0,), decay_factor=1e38)
    run = api.train(config, tmp_path / "out", show=False)
    assert run.status == "diverged"
    assert 20 < run.result.diverged_step <= 24
    assert run.result.test is None
    assert run.result.validation is None
    assert (run.path / "checkpoints" / "20").is_dir()
    assert "diverged at step" in (run.path / "report.html").read_text()
    with pytest.raises(RunError, match="diverged at step"):
        TrainedModel.load(run.path)


def test_a_profile_that_cannot_be_is_said(tmp_path, capsys):
    api.train(dataclasses.replace(CONFIG, epochs=1), tmp_path / "out", profile=True, show=False)
    assert "no profile: it needs more than 10 steps, 10 are left" in capsys.readouterr().err


def test_profile_writes_a_trace(tmp_path):
    api.train(CONFIG, tmp_path / "out", profile=True, show=False)
    assert Folder(tmp_path / "out").read("record.json", Record).images_per_second > 0
    traces = list((tmp_path / "out" / "profile").rglob("*.trace.json.gz"))
    assert traces
    assert traces[0].stat().st_size > 1000


def test_metrics_of_a_killed_write_are_whole_lines(tmp_path):
    folder = Folder(tmp_path)
    line = EpochMetrics(1, 10, evaluation(0.5, 1259), evaluation(0.25), 0.1, 2.5)
    folder.append_metrics(line)
    with folder.file("metrics.jsonl").open("a") as handle:
        handle.write('{"step": 2, "tr')
    assert folder.metrics() == [line]
    assert folder.keep_metrics(50) == [line]
    assert EpochMetrics.from_json(json.loads(folder.file("metrics.jsonl").read_text())) == line


def test_predict_is_what_the_training_step_computes(run):
    trained = TrainedModel.load(run.path)
    dataset = api.load_data(CONFIG)
    probabilities = trained.probabilities(dataset.test.images)
    np.testing.assert_allclose(probabilities.sum(-1), 1.0, rtol=1e-5)
    accuracy = (probabilities.argmax(-1) == dataset.test.labels).mean()
    assert accuracy == pytest.approx(run.result.test.accuracy, abs=1e-6)


def test_the_page_is_self_contained(run):
    page = (run.path / "report.html").read_text()
    assert "http" not in page.replace("http-equiv", "")
    assert set(re.findall(r'\b(?:src|href)="(data:|#)?', page)) <= {"data:", "#"}
    assert "<svg" in page
    assert "<script" not in page
