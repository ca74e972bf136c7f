"""A damaged folder: every command either says in one line what is damaged, or gives what it gave before."""

import json
import shutil

import numpy as np
import pytest
from counting import count
from folders import evaluation, result

from cnn_jax import api
from cnn_jax.errors import CnnJaxError, RequestError, RunError
from cnn_jax.grids.grid import Grid
from cnn_jax.report.cite import Citation
from cnn_jax.report.compare import compare
from cnn_jax.runs import manifest, weights
from cnn_jax.runs.folder import Folder
from cnn_jax.runs.model import TrainedModel
from cnn_jax.runs.outcome import Outcome
from cnn_jax.runs.reader import Run
from cnn_jax.runs.schema import Record, Result
from cnn_jax.runs.sweeps import SweepReader
from cnn_jax.training.config import Config

CONFIG = Config(network="conv3-2 relu dense-10", epochs=2, batch_size=256, devices=1)
GRID = Grid(CONFIG, {"learning_rate": (0.05, 0.1), "seed": (0, 1)})
IMAGES = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 1)).astype(np.uint8)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A finished run and a finished sweep."""
    out = tmp_path_factory.mktemp("whole")
    api.train(CONFIG, out / "run", show=False)
    api.sweep(GRID, out / "sweep", parallel="one", show=False)
    return out


def halved(content):
    return content[: len(content) // 2]


def flipped(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 0x10]) + content[middle + 1 :]


DAMAGE = {
    "empty": lambda content: b"",
    "truncated": halved,
    "one bit flipped": flipped,
    "last line gone": lambda content: b"".join(content.splitlines(keepends=True)[:-1]),
    "first line twice": lambda content: content.splitlines(keepends=True)[0] + content,
    "binary": lambda content: bytes(range(256)),
    "another object": lambda content: b'{"schema": 2}\n',
    "a list": lambda content: b"[1, 2, 3]\n",
    "not a number": lambda content: b'{"schema": 2, "accuracy": NaN}\n',
    "deep": lambda content: b"[" * 100_000,
    "null": lambda content: b"null\n",
    "missing": None,
    "a folder": None,
}
FILES = {
    "run": ("config.json", "record.json", "result.json", "metrics.jsonl", "manifest.json"),
    "sweep": (
        "config.json", "record.json", "results.csv", "manifest.json", "best/seeds.csv", "best/result.json",
        "best/config.json", "best/record.json", "best/metrics.jsonl", "best/manifest.json", "trials/0002/result.json",
        "trials/0002/metrics.jsonl", "trials/0002/config.json", "trials/0000/result.json",
    ),
}  # fmt: skip


def spoil(path, kind):
    content = path.read_bytes()
    path.unlink()
    if kind == "a folder":
        path.mkdir()
    elif kind != "missing":
        path.write_bytes(DAMAGE[kind](content))


def commands(path):
    """What each reader makes of a folder: a value that must not change."""
    return {
        "predict": lambda: TrainedModel.load(path).probabilities(IMAGES).tolist(),
        "export": lambda: sorted(weights.named(TrainedModel.load(path).variables)),
        "cite": lambda: Citation(Outcome.load(path), "test.accuracy").value,
        "compare": lambda: compare([path, path], "test.accuracy"),
    }


@pytest.mark.parametrize("kind", ["run", pytest.param("sweep", marks=pytest.mark.slow)])
def test_a_damaged_file_is_one_line_or_changes_nothing(whole, tmp_path, kind, record_property):
    expected = {name: work() for name, work in commands(whole / kind).items()}
    tried, failures = 0, []
    for file in FILES[kind]:
        for damage in DAMAGE:
            copy = tmp_path / f"{tried}"
            shutil.copytree(whole / kind, copy)
            spoil(copy / file, damage)
            for name, work in commands(copy).items():
                tried += 1
                try:
                    same = str(work()).replace(str(copy), str(whole / kind)) == str(expected[name])
                    message = "" if same else "gave something else in silence"
                except CnnJaxError as error:
                    message = "more than one line" if "\n" in str(error) or len(str(error)) > 1000 else ""
                except Exception as error:
                    message = f"{type(error).__name__}: {error}"
                if message:
                    failures.append(f"{name} with {file} {damage}: {message}")
            shutil.rmtree(copy)
    count(record_property, f"damaged files of a {kind}", tried=tried, failures=failures)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["run", "sweep"])
def test_going_on_with_a_damaged_folder_ends_as_before_or_says_why_not(whole, tmp_path, kind, record_property):
    def numbers(path):
        values = [Citation(Outcome.load(path), score).value for score in ("test.accuracy", "validation.loss")]
        return values, TrainedModel.load(path).probabilities(IMAGES).tolist()

    expected, tried, failures = numbers(whole / kind), 0, []
    for file in FILES[kind]:
        for damage in DAMAGE:
            copy = tmp_path / f"{tried}"
            shutil.copytree(whole / kind, copy)
            spoil(copy / file, damage)
            tried += 1
            try:
                if kind == "run":
                    api.train(CONFIG, copy, resume=True, show=False)
                else:
                    api.sweep(GRID, copy, resume=True, show=False)
                message = "" if numbers(copy) == expected else "ended with other numbers"
            except CnnJaxError as error:
                message = "more than one line" if "\n" in str(error) else ""
            except Exception as error:
                message = f"{type(error).__name__}: {error}"
            if message:
                failures.append(f"{file} {damage}: {message}")
            shutil.rmtree(copy)
    count(record_property, f"resumptions of a damaged {kind}", tried=tried, failures=failures)


def test_the_last_evaluation_gone_is_not_an_earlier_epochs_prediction(whole, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(whole / "run", copy)
    lines = (copy / "metrics.jsonl").read_text().splitlines(keepends=True)
    (copy / "metrics.jsonl").write_text(lines[0])
    with pytest.raises(RunError, match=r"result.json says 2 epochs, metrics.jsonl has 1"):
        TrainedModel.load(copy)


def test_an_interrupted_run_without_its_history_does_not_end_complete(whole, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(whole / "run", copy)
    for name in ("metrics.jsonl", "result.json", "manifest.json"):
        (copy / name).unlink()
    with pytest.raises(RunError, match=r"has 0 evaluations, but the checkpoint of step 10 comes after 2 epochs"):
        api.train(CONFIG, copy, resume=True, show=False)


def test_a_folder_of_an_earlier_version_is_refused_in_one_line(whole, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(whole / "run", copy)
    values = json.loads((copy / "result.json").read_text())
    del values["schema"]
    (copy / "result.json").write_text(json.dumps(values))
    with pytest.raises(RunError, match=r"result.json has schema 1, this version reads 2: train again with --config"):
        Run.open(copy)


def test_what_contradicts_itself_is_damaged():
    good = result(0.5, test=0.4)
    for change in (
        {"status": "diverged"}, {"at_chance": None}, {"scored_step": None}, {"diverged_step": 3},
        {"validation": {"accuracy": 1.5, "loss": 1.0, "examples": 5}}, {"steps": "10"}, {"test": {"accuracy": 0.5}},
        {"epochs": True}, {"train_seconds": float("inf")}, {"unknown": 1},
    ):  # fmt: skip
        with pytest.raises(RequestError):
            Result.from_json(good.to_json() | change)
    assert Result.from_json(json.loads(json.dumps(good.to_json()))) == good
    assert evaluation(0.5).correct == round(0.5 * 269)


def test_the_record_is_read_as_it_was_written(whole):
    for path in (whole / "run", whole / "sweep"):
        record = Folder(path).read("record.json", Record)
        assert Record.from_json(json.loads(json.dumps(record.to_json()))) == record
        assert record.provenance.script is not None
        assert (path / record.provenance.script.copy).is_file()


def test_the_manifest_lists_every_trial(whole):
    files = manifest.read(Folder(whole / "sweep"))
    assert {f"trials/{i:04d}/{name}" for i in range(4) for name in ("config.json", "result.json", "metrics.jsonl")} <= (
        files.keys()
    )
    assert {"config.json", "record.json", "results.csv", "best/seeds.csv", "best/result.json"} <= files.keys()
    assert SweepReader.open(whole / "sweep").seeds[0].test is not None


def test_a_second_process_touches_nothing_of_the_first(tmp_path):
    """Its partial files are those of a write that is under way."""
    first = Folder(tmp_path / "run")
    with first.claimed():
        partial = first.file(".result.json.1.partial")
        partial.write_text("under way")
        with pytest.raises(RequestError, match="is in use by another process"), Folder(tmp_path / "run").claimed():
            pass
        assert partial.read_text() == "under way"
    with first.claimed():
        assert not partial.exists()


@pytest.mark.parametrize("name", ["checkpoints", "metrics.jsonl", "best", "code"])
def test_nothing_is_written_or_deleted_behind_a_link(whole, tmp_path, name):
    copy, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    shutil.copytree(whole / "run", copy)
    (copy / "manifest.json").unlink()
    (copy / "result.json").unlink()
    if (copy / name).exists():
        shutil.move(copy / name, elsewhere)
    else:
        elsewhere.mkdir()
    (copy / name).symlink_to(elsewhere)
    before = sorted(path.name for path in elsewhere.rglob("*"))
    with pytest.raises(RequestError, match=f"{name} is a link"):
        api.train(CONFIG, copy, resume=True, show=False)
    assert sorted(path.name for path in elsewhere.rglob("*")) == before
