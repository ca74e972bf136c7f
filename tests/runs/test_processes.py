"""One run trained by two processes: it ends when either dies, and resumes on fewer devices."""

import json
import random
import shutil
import signal
import time

import numpy as np
import pytest
from commands import finish, start, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("own_compilations")]
TRAIN = (
    "-c",
    "from cnn_jax.runs import writer; from cnn_jax.cli import common, train; writer.CHECKPOINT_SECONDS = 0.05; "
    "common.main(train.command)",
    *("--network", "conv3-4:same bn relu max2 dense-10", "--epochs", "40", "--batch-size", "256", "--quiet"),
)
STEPS = 5  # of an epoch


def begin(out, first=(), second=()):
    """Two processes of two devices each that train one run, each with further options."""
    port = random.randrange(20000, 40000)
    return [
        start(
            *TRAIN,
            *("--out", out, "--resume", *(first, second)[i]),
            JAX_NUM_CPU_DEVICES="2",
            CNN_JAX_PROCESSES=f"localhost:{port},2,{i}",
        )
        for i in range(2)
    ]


def epochs(path):
    lines = (path / "metrics.jsonl").read_text().splitlines() if (path / "metrics.jsonl").exists() else []
    return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    path = tmp_path_factory.mktemp("alone") / "run"
    code, _, err = finish(*TRAIN, "--out", path)
    assert code == 0, err
    return epochs(path)


def assert_same(path, alone):
    """The first ten steps to 1e-5; later rounding decides ReLUs and maxima differently."""
    resumed = epochs(path)
    assert [line["epoch"] for line in resumed] == list(range(1, 41))
    for name in ("train_loss", "validation_loss"):
        ours, theirs = ([line[name] for line in lines] for lines in (resumed, alone))
        np.testing.assert_allclose(ours[:2], theirs[:2], rtol=1e-5)
        np.testing.assert_allclose(ours, theirs, rtol=0.05)


def test_a_death_ends_the_other_and_any_number_goes_on(alone, tmp_path):
    """From the checkpoint that is left, one process and two take the same ten steps, to 1e-5."""
    path, copy = tmp_path / "run", tmp_path / "copy"
    first, second = begin(path)
    wait_for(lambda: len(epochs(path)) >= 3, first)
    second.kill()
    killed = time.monotonic()
    second.communicate()
    _, err = first.communicate(timeout=120)
    assert time.monotonic() - killed < 40
    # The library of collective operations on CPUs (Gloo) may notice first, and then aborts.
    assert first.returncode in (1, -signal.SIGABRT), err
    if first.returncode == 1:
        errors = [line for line in err.splitlines() if line.startswith("error")]
        assert len(errors) == 1, err
        assert errors[0].endswith("start all processes again with --resume")
    kept = max(int(folder.name) for folder in (path / "checkpoints").iterdir() if folder.name.isdigit()) // STEPS
    assert 2 <= kept < 38
    shutil.copytree(path, copy)
    both = begin(copy)
    code, _, err = finish(*TRAIN, "--out", path, "--resume")
    assert code == 0, err
    assert_same(path, alone)
    ends = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], ends
    one, two = epochs(path), epochs(copy)
    assert one[:kept] == two[:kept]
    for i in (kept, kept + 1):
        np.testing.assert_allclose(one[i]["train_loss"], two[i]["train_loss"], rtol=1e-5)
    record = json.loads((path / "record.json").read_text())
    assert record["choices"]["hosts"] == 1
    assert any("devices: 4 -> 1; hosts: 2 -> 1" in note for note in record["notes"])


def test_a_signal_to_one_saves_the_run_of_both(alone, tmp_path):
    path = tmp_path / "run"
    both = begin(path)
    wait_for(lambda: len(epochs(path)) >= 2, both[0])
    both[1].send_signal(signal.SIGTERM)
    ends = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [143, 143], ends
    assert json.loads((path / "result.json").read_text())["status"] == "interrupted"
    both = begin(path)
    ends = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], ends
    assert "accuracy" in ends[0][0]
    assert "accuracy" not in ends[1][0]
    assert_same(path, alone)
    again = begin(path)
    ends = [process.communicate(timeout=300) for process in again]
    assert [process.returncode for process in again] == [0, 0], ends
    assert json.loads((path / "record.json").read_text())["choices"]["hosts"] == 2


def test_the_first_decides_and_all_diverge(tmp_path):
    """The second asks for a rate at which nothing diverges."""
    both = begin(tmp_path / "run", first=("--learning-rate", "1e30"), second=("--learning-rate", "0.01"))
    ends = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [1, 1], ends
    assert "diverged" in ends[0][0]
    assert not [line for _, err in ends for line in err.splitlines() if line.startswith("error")], ends


def test_what_the_first_refuses_all_refuse(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "own.txt").write_text("mine")
    both = begin(tmp_path / "run")
    ends = [process.communicate(timeout=120)[1] for process in both]
    assert [process.returncode for process in both] == [2, 2], ends
    assert [[line for line in err.splitlines() if "error" in line] for err in ends] == [
        [f"error: {tmp_path / 'run'} is not a run's folder: it has no config.json"],
        ["error: refused by the first process"],
    ]
