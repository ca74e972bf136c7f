"""Real kills: kill -9 at random moments, SIGTERM, Ctrl-C. What comes out is bit for bit the run that nobody killed."""

import json
import random
import signal
import subprocess

import jax
import numpy as np
import pytest
from commands import finish, start, wait_for
from counting import count

from cnn_jax.runs.model import TrainedModel

# Checkpoints between any two polls of 10 ms, so that kills hit epochs, saves and everything between.
TRAIN = (
    "-c",
    "from cnn_jax.runs import writer; from cnn_jax.training import fit; from cnn_jax.cli import common, train; "
    "writer.CHECKPOINT_SECONDS = 0.05; fit.POLL_SECONDS = 0.01; common.main(train.command)",
    *("--network", "conv3-4:same bn relu max2 drop0.2 dense-10", "--epochs", "40", "--batch-size", "16"),
    *("--augment", "crop1", "--optimizer", "adam", "--learning-rate", "0.001", "--ema", "0.9"),
)


pytestmark = pytest.mark.usefixtures("own_compilations")


def outcome(path):
    """What must not depend on kills: parameters, metrics and result but for times."""
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    result = json.loads((path / "result.json").read_text())
    timeless = [{key: value for key, value in line.items() if key != "seconds"} for line in lines]
    return timeless, {key: value for key, value in result.items() if not key.endswith("_seconds")}


@pytest.fixture(scope="module")
def unkilled(tmp_path_factory):
    path = tmp_path_factory.mktemp("unkilled") / "run"
    code, _, err = finish(*TRAIN, "--out", path)
    assert code == 0, err
    return path


def assert_same(path, unkilled):
    assert outcome(path) == outcome(unkilled)
    ours, theirs = (jax.tree.leaves(dict(TrainedModel.load(one).variables)) for one in (path, unkilled))
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)


def test_kill_9_at_random_moments(unkilled, tmp_path):
    path = tmp_path / "run"
    moments = random.Random(20)
    for epoch in (1, 4):
        process = start(*TRAIN, "--out", path, "--resume")
        metrics = path / "metrics.jsonl"
        wait_for(lambda: metrics.exists() and metrics.read_text().count("\n") >= epoch, process)  # noqa: B023
        signal.sigtimedwait([], moments.random() * 0.3)
        process.kill()
        process.communicate()
    assert not (path / "result.json").exists(), "the run ended before it was killed for the last time"
    code, _, err = finish(*TRAIN, "--out", path, "--resume")
    assert code == 0, err
    assert_same(path, unkilled)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(6))
def test_kills_at_any_moment(unkilled, tmp_path, record_property, number):
    """Six runs, each killed six times at any moment from the start of the process on, end as the one nobody killed."""
    moments, path, failures = random.Random(number), tmp_path / "run", []
    for _ in range(6):
        process = start(*TRAIN, "--out", path, "--resume")
        try:
            process.wait(timeout=moments.uniform(1.0, 9.0))
        except subprocess.TimeoutExpired:
            process.kill()
        process.communicate()
    code, _, err = finish(*TRAIN, "--out", path, "--resume")
    if code or outcome(path) != outcome(unkilled):
        failures.append(f"run {number}: exit code {code}, {err[-300:]}")
    count(record_property, "kill -9 of a training run", tried=6, failures=failures)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_saves_and_ends_as_interrupted(unkilled, tmp_path, number, code):
    path = tmp_path / "run"
    process = start(*TRAIN, "--out", path)
    metrics = path / "metrics.jsonl"
    wait_for(lambda: metrics.exists() and metrics.read_text().count("\n") >= 2, process)
    process.send_signal(number)
    _, err = process.communicate(timeout=120)
    assert process.returncode == code, err
    assert "Traceback" not in err
    result = json.loads((path / "result.json").read_text())
    assert result["status"] == "interrupted"
    assert (path / "checkpoints" / str(result["steps"])).is_dir()
    if number == signal.SIGTERM:
        assert finish("experiments/train.py", "--out", path, "--resume")[0] == 0  # its own config
        assert_same(path, unkilled)


SWEEP = (
    "experiments/sweep.py", "--network", "conv3-4:same relu max2 dense-10", "--epochs", "2", "--batch-size", "8",
    "--learning-rates", "0.01", "0.1", "--seeds", "3",
)  # fmt: skip


@pytest.mark.slow
def test_a_killed_sweep_ends_with_the_same_table(tmp_path):
    def table(path):
        lines = (path / "results.csv").read_text().splitlines()
        summary, seeds = (path / "summary.csv").read_text(), (path / "best" / "seeds.csv").read_text()
        return [line.rsplit(",", 2)[0] for line in lines], summary, seeds

    assert finish(*SWEEP, "--out", tmp_path / "whole")[0] == 0
    killed = tmp_path / "killed"
    process = start(*SWEEP, "--out", killed)
    rows = killed / "results.csv"
    wait_for(lambda: rows.exists() and rows.read_text().count("\n") >= 4, process)
    process.kill()
    process.communicate()
    finished = [path.with_name("metrics.jsonl") for path in killed.glob("trials/*/manifest.json")]
    before = {path: path.stat().st_mtime_ns for path in finished}
    assert 3 <= len(before) < 6
    code, _, err = finish("experiments/sweep.py", "--out", killed, "--resume")
    assert code == 0, err
    assert table(killed) == table(tmp_path / "whole")
    assert {path: path.stat().st_mtime_ns for path in finished} == before  # what was finished was not trained again
