"""A run or a sweep that dies after any of its writes ends, resumed, as if it had not died.

The deaths are exceptions that nothing catches, raised after the n-th write of any kind, for every n;
tests/runs/test_kill.py kills real processes.
"""

import dataclasses
import json
import shutil
import signal

import pytest

from cnn_jax import lab
from cnn_jax.errors import RequestError
from cnn_jax.runs import session
from cnn_jax.runs.folder import Folder
from cnn_jax.sweep.grid import Grid
from cnn_jax.training import checkpoint, fit
from cnn_jax.training.config import Config

CONFIG = Config(network="conv3-2 relu dense-10", epochs=2, batch_size=256, devices=1)
GRID = Grid(dataclasses.replace(CONFIG, epochs=1), {"learning_rate": (0.05, 0.2), "seed": (0, 1)})


class Killed(BaseException):
    pass


@pytest.fixture
def deaths(monkeypatch):
    """`deaths(n)`: from now on, the process dies right after its n-th write; `deaths(None)`: it lives."""
    left = [None]

    def dying(write):
        def call(*arguments, **more):
            result = write(*arguments, **more)
            if left[0] is not None:
                left[0] -= 1
                if left[0] == 0:
                    left[0] = None
                    raise Killed
            return result

        return call

    for owner, name in (
        (Folder, "write_text"), (Folder, "append_metrics"), (checkpoint.Checkpoints, "save"), (shutil, "copytree"),
    ):  # fmt: skip
        monkeypatch.setattr(owner, name, dying(getattr(owner, name)))

    def at(n):
        left[0] = n

    return at


def timeless(path):
    """All that the files of a run or sweep say, but for times, paths and memory."""
    found = {}
    for file in sorted(path.rglob("*")):
        name = str(file.relative_to(path))
        if "checkpoints" in name or file.is_dir() or name.split("/")[-1].startswith("."):
            continue
        if file.name in ("result.json", "config.json"):
            values = json.loads(file.read_text())
            found[name] = {key: value for key, value in values.items() if not key.endswith("_seconds")}
        elif file.name == "metrics.jsonl":
            lines = [json.loads(line) for line in file.read_text().splitlines()]
            found[name] = [{**line, "seconds": 0} for line in lines]
        elif file.name == "results.csv":
            found[name] = [line.rsplit(",", 1)[0] for line in file.read_text().splitlines()]
        elif file.suffix == ".csv":
            found[name] = file.read_text()
        elif file.suffix in (".png", ".html", ".md", ".tex"):
            found[name] = file.stat().st_size > 0
    return found


def until_it_lives(work, deaths, path):
    """Dies at every write in turn, each in a folder of its own; returns what each ended as after one resume."""
    ends = []
    for n in range(1, 100):
        deaths(n)
        try:
            work(path / str(n), False)
        except Killed:
            deaths(None)
            work(path / str(n), True)
            ends.append(timeless(path / str(n)))
            continue
        deaths(None)
        return ends
    raise AssertionError("more writes than expected")


@pytest.mark.filterwarnings("ignore")
def test_a_run_dies_at_every_write(deaths, tmp_path, monkeypatch):
    monkeypatch.setattr(session, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(fit, "POLL_SECONDS", 0.0)

    def work(out, resume):
        lab.train(CONFIG, out, resume=resume, show=False)

    work(tmp_path / "whole", False)
    ends = until_it_lives(work, deaths, tmp_path)
    assert len(ends) > 10
    assert all(end == timeless(tmp_path / "whole") for end in ends)


@pytest.mark.filterwarnings("ignore")
def test_a_sweep_dies_at_every_write(deaths, tmp_path):
    def work(out, resume):
        lab.sweep(GRID, out, resume=resume, show=False)

    work(tmp_path / "whole", False)
    ends = until_it_lives(work, deaths, tmp_path)
    assert len(ends) > 20
    assert all(end == timeless(tmp_path / "whole") for end in ends)


@pytest.mark.parametrize("step", [1, 5, 6, 10])
def test_a_signal_at_any_step_even_the_last_of_an_epoch(step, tmp_path, monkeypatch):
    """5 steps an epoch: the evaluation of an epoch that is over is never lost."""
    monkeypatch.setattr(session, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(fit, "POLL_SECONDS", 0.0)
    whole = lab.train(CONFIG, tmp_path / "whole", show=False)
    take = session.Session.take

    def interrupting(self, event):
        if event.step >= step:
            signal.raise_signal(signal.SIGTERM)
        take(self, event)

    with monkeypatch.context() as patch:
        patch.setattr(session.Session, "take", interrupting)
        stopped = lab.train(CONFIG, tmp_path / "run", show=False)
    assert stopped.status == "interrupted"
    assert stopped.signal == signal.SIGTERM
    resumed = lab.train(CONFIG, tmp_path / "run", resume=True, show=False)
    assert timeless(resumed.path) == timeless(whole.path)


def test_a_sweep_goes_on_only_as_the_same_sweep(tmp_path):
    lab.sweep(GRID, tmp_path / "out", show=False)
    turned = Grid(GRID.base, {"seed": (0, 1), "learning_rate": (0.05, 0.2)})
    with pytest.raises(RequestError, match="other axes"):
        lab.sweep(turned, tmp_path / "out", resume=True, show=False)
    folder = Folder(tmp_path / "out")
    kept = folder.read_json("record.json")
    folder.write_json("record.json", kept | {"choices": kept["choices"] | {"devices": 4}})
    with pytest.raises(RequestError, match="its choices differ: devices: 4 -> 1"):
        lab.sweep(GRID, tmp_path / "out", resume=True, show=False)
    folder.write_json("record.json", kept)
    lab.sweep(GRID, tmp_path / "out", resume=True, show=False)
    again = folder.read_json("record.json")
    assert again["started"] == kept["started"]
    assert len(again["resumed"]) == 1


def test_a_sweep_in_which_everything_diverges_is_reported(tmp_path):
    grid = Grid(CONFIG, {"learning_rate": (1e30,), "filters": (2, 3), "seed": (0, 1)})
    done = lab.sweep(grid, tmp_path / "out", show=False)
    assert done.status == "complete"
    text = (done.path / "summary.md").read_text()
    assert "every seed of it diverged" in text
    assert (done.path / "curves.png").exists()


def test_a_diverged_seed_of_the_chosen_cell_counts_in_the_test_median(tmp_path):
    """One of three seeds does not finish: n stays 3 and it counts as 0."""
    from cnn_jax.report.sweep import chosen_sentence
    from cnn_jax.sweep.table import Table

    folder = Folder(tmp_path)
    (tmp_path / "best").mkdir()
    folder.write_text("best/seeds.csv", "seed,test_accuracy,examples\n0,0.9,100\n1,0.8,100\n2,,0\n")
    rows = [
        {"learning_rate": 0.05, "seed": seed, "validation_accuracy": 0.9, "status": status}
        for seed, status in enumerate(("complete", "complete", "diverged"))
    ]
    table = Table.of(Grid(CONFIG, {"seed": (0, 1, 2)}), rows)
    assert "median of n = 3 seeds (1 diverged, counted as 0), is 80.00 %" in chosen_sentence(folder, table)
