"""A run or a sweep that dies after any of its writes ends, resumed, as if it had not died.

The deaths are exceptions that nothing catches, raised after the n-th write of any kind, for every n;
tests/runs/test_kill.py kills real processes.
"""

import dataclasses
import json
import shutil
import signal

import pytest
from commands import finish
from counting import cases, count

from cnn_jax import api
from cnn_jax.errors import RequestError, RunError
from cnn_jax.grids.grid import Grid
from cnn_jax.report.cite import cite
from cnn_jax.runs import evidence, writer
from cnn_jax.runs.folder import Folder
from cnn_jax.runs.outcome import Outcome
from cnn_jax.runs.reader import Trial
from cnn_jax.runs.schema import Record
from cnn_jax.runs.sweeps import SweepReader
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
        (Folder, "write_bytes"), (Folder, "append_metrics"), (checkpoint.Checkpoints, "save"), (shutil, "copytree"),
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
            found[name] = [line.rsplit(",", 2)[0] for line in file.read_text().splitlines()]
        elif file.suffix == ".csv":
            found[name] = file.read_text()
        elif file.suffix in (".png", ".html", ".md", ".tex"):
            found[name] = file.stat().st_size > 0
    return found


def until_it_lives(work, deaths, path, every):
    """Dies at every write in turn (at each `every`-th one, from the first on), each in a folder of its own; returns
    what each ended as after one resume."""
    ends = []
    for n in range(1, 100, every):
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


def died(work, deaths, path, request, record_property, kind, writes, slow=1):
    """Counts the deaths at the more than `writes` writes of `work` after which it does not end as undisturbed; one in
    twelve without --slow, with it one in `slow`."""
    work(path / "whole", False)
    whole = timeless(path / "whole")
    every = cases(request, quick=12, slow=slow)
    ends = until_it_lives(work, deaths, path, every)
    assert len(ends) > writes // every
    wrong = [f"after write {1 + i * every}" for i, end in enumerate(ends) if end != whole]
    count(record_property, f"deaths at a write of {kind}", tried=len(ends), failures=wrong)


@pytest.mark.filterwarnings("ignore")
def test_a_run_dies_at_every_write(deaths, tmp_path, monkeypatch, request, record_property):
    monkeypatch.setattr(writer, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(fit, "POLL_SECONDS", 0.0)

    def work(out, resume):
        api.train(CONFIG, out, resume=resume, show=False)

    died(work, deaths, tmp_path, request, record_property, "a run", 10)


@pytest.mark.filterwarnings("ignore")
def test_the_best_epoch_may_lie_before_the_death(tmp_path, monkeypatch):
    """Its weights are kept however many epochs follow. After the second epoch the rate is so high that nothing is left
    of what was learned."""
    monkeypatch.setattr(writer, "CHECKPOINT_SECONDS", 0.0)  # a checkpoint after every epoch
    collapse = {"schedule": "step", "decay_epochs": (2.0,), "decay_factor": 100.0, "clip_norm": 1.0}
    config = dataclasses.replace(CONFIG, epochs=6, batch_size=32, learning_rate=0.05, select="best", **collapse)
    whole = api.train(config, tmp_path / "whole", show=False)
    assert whole.result.scored_step == 2 * whole.result.steps // config.epochs
    save = checkpoint.Checkpoints.save
    for epoch in range(2, config.epochs):

        def dying(self, state, *more, step=epoch * whole.result.steps // config.epochs):
            save(self, state, *more)
            if state.step == step:
                self.wait()
                raise Killed

        out = tmp_path / str(epoch)
        monkeypatch.setattr(checkpoint.Checkpoints, "save", dying)
        with pytest.raises(Killed):
            api.train(config, out, show=False)
        monkeypatch.setattr(checkpoint.Checkpoints, "save", save)
        assert timeless(api.train(config, out, resume=True, show=False).path) == timeless(whole.path)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_sweep_dies_at_every_write(deaths, tmp_path, request, record_property):
    grid = Grid(GRID.base, {"learning_rate": (0.05, 0.2), "seed": (0,)})

    def work(out, resume):
        api.sweep(grid, out, resume=resume, show=False)

    died(work, deaths, tmp_path, request, record_property, "a sweep", 20)


@pytest.mark.parametrize("step", [1, 5, 6, 10])
def test_a_signal_at_any_step_even_the_last_of_an_epoch(step, tmp_path, monkeypatch):
    """5 steps an epoch: the evaluation of an epoch that is over is never lost."""
    monkeypatch.setattr(writer, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(fit, "POLL_SECONDS", 0.0)
    whole = api.train(CONFIG, tmp_path / "whole", show=False)
    log = writer.RunWriter.log

    def interrupting(self, event):
        if event.step >= step:
            signal.raise_signal(signal.SIGTERM)
        log(self, event)

    with monkeypatch.context() as patch:
        patch.setattr(writer.RunWriter, "log", interrupting)
        stopped = api.train(CONFIG, tmp_path / "run", show=False)
    assert stopped.status == "interrupted"
    assert stopped.signal == signal.SIGTERM
    resumed = api.train(CONFIG, tmp_path / "run", resume=True, show=False)
    assert timeless(resumed.path) == timeless(whole.path)


def test_a_finished_sweep_of_one_cell_may_get_more_seeds(tmp_path):
    """Its trials are not trained again, and the rest is what it is in a sweep of all seeds from the start."""
    base = GRID.base
    two, three = (Grid(base, {"seed": tuple(range(n))}) for n in (2, 3))
    api.sweep(two, tmp_path / "grown", show=False, parallel="one")
    kept = (tmp_path / "grown" / "trials" / "0001" / "metrics.jsonl").stat().st_mtime_ns
    grown = api.sweep(three, tmp_path / "grown", show=False, resume=True)
    whole = api.sweep(three, tmp_path / "whole", show=False, parallel="one")
    assert (tmp_path / "grown" / "trials" / "0001" / "metrics.jsonl").stat().st_mtime_ns == kept
    assert [row.validation for row in grown.table.rows] == [row.validation for row in whole.table.rows]
    read = SweepReader.open(tmp_path / "grown")
    assert read.seeds == SweepReader.open(tmp_path / "whole").seeds
    assert read.record.notes == ("resumed with the seeds 0 1 2 in the place of 0 1",)
    with pytest.raises(RequestError, match="the trial of seed 2 has ended"):
        api.sweep(two, tmp_path / "grown", show=False, resume=True)


@pytest.mark.parametrize("final_fit", [False, True])
def test_more_seeds_can_be_added_to_kept_evidence(tmp_path, final_fit):
    """It has no checkpoints, and none are needed of what has ended."""
    base = dataclasses.replace(GRID.base, final_fit=final_fit)
    two, three = (Grid(base, {"seed": tuple(range(n))}) for n in (2, 3))
    api.sweep(two, tmp_path / "first", show=False, parallel="one")
    evidence.keep(tmp_path / "first", tmp_path / "kept")
    shutil.copytree(tmp_path / "kept", tmp_path / "grown")
    api.sweep(three, tmp_path / "grown", show=False, resume=True)
    whole = api.sweep(three, tmp_path / "whole", show=False, parallel="one")
    evidence.keep(tmp_path / "grown", tmp_path / "again")
    grown = SweepReader.open(tmp_path / "again")
    assert grown.seeds == SweepReader.open(whole.path).seeds
    assert grown.record.notes[-1] == "resumed with the seeds 0 1 2 in the place of 0 1"
    (tmp_path / "kept" / "trials" / "0001" / "result.json").write_text("{}")
    with pytest.raises(RunError, match="was changed"):
        api.sweep(three, tmp_path / "kept", show=False, resume=True)


def test_seeds_whose_trials_have_not_ended_may_be_left_out(tmp_path, monkeypatch):
    """Interrupted in the second trial: what was written of it is kept aside, and the sweep ends with one seed."""
    three, one = (Grid(GRID.base, {"seed": tuple(range(n))}) for n in (3, 1))
    log = writer.RunWriter.log

    def interrupting(self, event):
        if self.config.seed == 1:
            signal.raise_signal(signal.SIGTERM)
        log(self, event)

    with monkeypatch.context() as patch:
        patch.setattr(writer.RunWriter, "log", interrupting)
        assert api.sweep(three, tmp_path / "out", show=False, parallel="one").status == "interrupted"
    api.sweep(one, tmp_path / "out", show=False, resume=True)
    assert [seed.seed for seed in SweepReader.open(tmp_path / "out").seeds] == [0]
    assert (tmp_path / "out" / "left-out" / "0001-0" / "config.json").is_file()
    again = api.sweep(three, tmp_path / "out", show=False, resume=True)
    assert [row.trial for row in again.table.rows] == [0, 1, 2]


def test_a_sweep_goes_on_only_as_the_same_sweep(tmp_path):
    api.sweep(GRID, tmp_path / "out", show=False)
    turned = Grid(GRID.base, {"seed": (0, 1), "learning_rate": (0.05, 0.2)})
    with pytest.raises(RequestError, match="other axes"):
        api.sweep(turned, tmp_path / "out", resume=True, show=False)
    folder = Folder(tmp_path / "out")
    record = folder.read("record.json", Record)
    folder.file("manifest.json").unlink()
    folder.write("record.json", dataclasses.replace(record, choices=record.choices | {"backend": "tpu"}))
    with pytest.raises(RequestError, match="its choices differ: backend: tpu -> cpu"):
        api.sweep(GRID, tmp_path / "out", resume=True, show=False)
    folder.write("record.json", record)
    api.sweep(GRID, tmp_path / "out", resume=True, show=False)
    again = folder.read("record.json", Record)
    assert again.provenance == record.provenance
    assert len(again.resumed) == 1
    api.sweep(GRID, tmp_path / "out", resume=True, show=False)
    assert folder.read("record.json", Record) == again, "a finished sweep stays as it is"


def test_a_sweep_in_which_everything_diverges_has_no_best_cell(tmp_path):
    grid = Grid(CONFIG, {"learning_rate": (1e30, 1e31), "filters": (2, 3), "seed": (0, 1)})
    done = api.sweep(grid, tmp_path / "out", show=False)
    assert done.status == "diverged"
    text = (done.path / "summary.md").read_text()
    assert "No cell is chosen" in text
    assert "edge" not in text
    assert "8 of 8 trials diverged" in text
    assert not (done.path / "best").exists()
    assert (done.path / "curves.png").exists()
    with pytest.raises(RunError, match="no best cell"):
        cite(done.path, "text")


def test_the_command_line_says_that_everything_diverged(tmp_path):
    options = ("--network", CONFIG.network, "--epochs", "1", "--learning-rates", "1e30", "--seeds", "2")
    code, _, err = finish("experiments/sweep.py", *options, "--out", tmp_path / "out")
    assert code == 1
    assert err.strip().splitlines()[-1].startswith(f"error: {tmp_path / 'out'} has no best cell")


def test_a_final_fit_trains_the_chosen_cell_on_validation_too(tmp_path, deaths):
    grid = Grid(dataclasses.replace(GRID.base, final_fit=True), GRID.axes)
    done = api.sweep(grid, tmp_path / "out", show=False)
    plain = api.sweep(GRID, tmp_path / "plain", show=False)
    assert [row.to_json() | {"seconds": 0} for row in done.table.rows] == [
        row.to_json() | {"seconds": 0} for row in plain.table.rows
    ]
    outcome = Outcome.load(done.path)
    assert "final_fit" in json.loads((done.path / "config.json").read_text())
    for seed in (0, 1):
        config = dataclasses.replace(CONFIG, epochs=1, final_fit=True, seed=seed, **done.table.chosen)
        alone = api.train(config, tmp_path / f"alone-{seed}", show=False)
        assert alone.result.validation is None
        assert alone.result.test == outcome.seeds[seed].test != Outcome.load(plain.path).seeds[seed].test
        assert (alone.path / "metrics.jsonl").read_text().count('"validation_accuracy": null') == 1
    assert not any(Trial.open(path).ended.test for path in (done.path / "trials").iterdir())
    assert api.load_data(config).train.labels.shape[0] == 1259 + 269
    assert "trained anew on training and validation images together" in (done.path / "summary.md").read_text()
    with pytest.raises(RequestError, match="has none left to choose by"):
        dataclasses.replace(CONFIG, final_fit=True, select="best")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.slow
def test_a_final_fit_dies_at_every_third_write(deaths, tmp_path, request, record_property):
    grid = Grid(dataclasses.replace(GRID.base, final_fit=True), {"seed": (0, 1)})

    def work(out, resume):
        api.sweep(grid, out, resume=resume, show=False)

    died(work, deaths, tmp_path, request, record_property, "a sweep with a final fit", 20, slow=3)
