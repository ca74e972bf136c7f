"""Trials side by side: whatever the way, each gives what it gives alone."""

import dataclasses
import json
import shutil
import time

import jax
import numpy as np
import pytest
from commands import finish, start, wait_for

from cnn_jax import api
from cnn_jax.api.folders import agree
from cnn_jax.errors import RequestError, RunError
from cnn_jax.grids import engine, plan
from cnn_jax.grids.grid import Grid
from cnn_jax.network import Network
from cnn_jax.notation import parse
from cnn_jax.runs.folder import Folder
from cnn_jax.runs.model import TrainedModel
from cnn_jax.runs.schema import Result
from cnn_jax.runs.task import Task
from cnn_jax.training.config import Config
from cnn_jax.training.fit import compile_program, fit, initial_states
from cnn_jax.training.memory import step_bytes
from cnn_jax.training.step import evaluate_steps, train_steps

CONFIG = Config(network="conv3-4 relu max2 drop0.2 dense-10", epochs=3, learning_rate=0.05)
GRID = Grid(CONFIG, {"learning_rate": (0.05, 1e30), "dropout": (0.1, 0.4), "seed": (0, 1)})


pytestmark = pytest.mark.usefixtures("own_compilations")


def table(path):
    """results.csv without seconds."""
    return [line.rsplit(",", 2)[0] for line in (path / "results.csv").read_text().splitlines()]


def weights(path):
    return jax.tree.leaves(TrainedModel.load(path).variables["params"])


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    return api.sweep(GRID, tmp_path_factory.mktemp("sweep") / "one", parallel="one", show=False)


@pytest.mark.parametrize("parallel", [pytest.param("workers", marks=pytest.mark.slow), "map"])
def test_trials_on_eight_devices_or_in_one_loop_are_the_trials_alone(parallel, one, tmp_path):
    """Bit for bit, beside neighbours that diverge."""
    done = api.sweep(GRID, tmp_path / "out", parallel=parallel, show=False)
    assert table(done.path) == table(one.path)
    assert sum("diverged" in line for line in table(done.path)) == 4
    for a, b in zip(weights(one.path / "best"), weights(done.path / "best"), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_trial_is_the_run_on_its_own(one, tmp_path):
    config = dataclasses.replace(CONFIG, dropout=0.4, seed=1, devices=1)
    run = api.train(config, tmp_path / "run", show=False)
    trial = Folder(one.path / "trials" / "0003")
    assert trial.read_json("config.json")["dropout"] == 0.4
    assert trial.read("result.json", Result).validation == run.result.validation


def test_under_vmap_the_first_ten_steps_are_those_alone():
    """To 1e-5 in the parameters, whatever happens to a neighbour."""
    configs = [dataclasses.replace(CONFIG, seed=s, learning_rate=r, epochs=1) for s, r in enumerate((0.05, 1e30, 0.01))]
    prepared = [Task.of(config, api.load_data(config), devices=1) for config in configs]
    first = prepared[0]

    def after_ten(some, transform):
        program = dataclasses.replace(first.program, transform=transform)
        state = initial_states(some, program)
        events = fit(some, program, first.train, first.examples("validation"), state, {10})
        return next(several for several in events if several[0].nonfinite or several[0].step == 10)

    among = after_ten(configs, "vmap")
    assert among[1].nonfinite
    for i in (0, 2):
        (alone,) = after_ten([configs[i]], None)
        for a, b in zip(jax.tree.leaves(alone.state.params), jax.tree.leaves(among[i].state.params), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_chunks_and_a_stop_in_the_middle_change_nothing(one, tmp_path, monkeypatch):
    monkeypatch.setattr(plan, "MAX_TRIAL_BATCH", 3)
    whole = api.sweep(GRID, tmp_path / "whole", parallel="map", show=False)
    kept = json.loads((whole.path / "record.json").read_text())["plan"]["programs"]
    assert [trials["chunk"] for trials in kept] == [3]
    assert table(whole.path) == table(one.path)
    for i in (0, 4, 5, 6, 7):
        for name in ("result.json", "manifest.json"):
            (whole.path / "trials" / f"{i:04d}" / name).unlink()
    (whole.path / "manifest.json").unlink()
    again = api.sweep(GRID, whole.path, resume=True, show=False)
    assert table(again.path) == table(one.path)


def test_a_sweep_goes_on_the_way_it_began(one, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(one.path, copy)
    (copy / "manifest.json").unlink()
    with pytest.raises(RequestError, match="was started with parallel = 'one', not 'vmap'"):
        api.sweep(GRID, copy, resume=True, parallel="vmap", show=False)


def test_what_differs_in_numbers_alone_is_one_program():
    axes = {"learning_rate": (0.1, 0.2), "momentum": (0.5, 0.9), "dropout": (0.1, 0.2), "weight_decay": (0.0, 0.1)}
    more = {"label_smoothing": (0.0, 0.1), "init_scale": (0.5, 1.0), "seed": (0, 1)}
    configs = Grid(CONFIG, axes | more).trials()
    dataset = api.load_data(CONFIG)
    programs = [Task.of(config, dataset, devices=1).program for config in configs]
    assert plan.groups(configs, programs) == [tuple(range(128))]
    configs = Grid(CONFIG, {"filters": (4, 6), "learning_rate": (0.1, 0.2), "seed": (0,)}).trials()
    programs = [Task.of(config, dataset, devices=1).program for config in configs]
    assert plan.groups(configs, programs) == [(0, 1), (2, 3)]


def test_the_way_is_measured_and_recorded(tmp_path):
    grid = Grid(CONFIG, {"learning_rate": (0.05,), "seed": (0, 1)})
    done = api.sweep(grid, tmp_path / "out", show=False)
    (kept,) = Folder(done.path).read_json("record.json")["plan"]["programs"]
    assert set(kept["measured_seconds"]) >= {"one", "workers"}
    assert all(0 < seconds < 10 for seconds in kept["measured_seconds"].values())


@pytest.mark.slow
def test_the_estimate_of_memory_bounds_what_xla_takes():
    """Parameters, activations and their gradients: between a third and ten times XLA's own plan."""
    for text in ("conv5-16:same relu max2 conv5-32:same relu max2 dense-10", "conv3-8:same bn relu gap dense-10"):
        network = Network((28, 28, 1), parse(text))
        step = jax.jit(jax.grad(lambda v, x, n=network: n.apply_train(v, x, key=jax.random.key(0))[0].sum()))
        variables = network.init(jax.random.key(0))
        images = np.zeros((128, 28, 28, 1), np.float32)
        found = step.lower(variables, images).compile().memory_analysis()
        taken = found.temp_size_in_bytes + found.argument_size_in_bytes + found.output_size_in_bytes
        assert taken / 3 < step_bytes(network, 128) < 10 * taken


def test_a_worker_that_fails_ends_the_others_and_is_heard():
    done = []

    def work(unit):
        if unit == 3:
            raise RequestError("three")
        done.append(unit)

    with pytest.raises(RequestError, match="three"):
        engine.run(range(100), work, jax.local_devices()[:4])
    assert len(done) < 100


def test_compiling_is_shared():
    prepared = Task.of(CONFIG, api.load_data(CONFIG), devices=1)
    arguments = ([CONFIG], prepared.program, prepared.train, prepared.examples("validation"))
    compile_program(*arguments)
    assert compile_program(*arguments) == 0.0
    sizes = train_steps._cache_size(), evaluate_steps._cache_size()
    next(fit(*arguments, initial_states([CONFIG], prepared.program)))
    assert (train_steps._cache_size(), evaluate_steps._cache_size()) == sizes  # for `fit`, too


@pytest.mark.slow
def test_two_processes_give_the_table_of_one(tmp_path):
    options = (
        "experiments/sweep.py", "--network", CONFIG.network, "--epochs", "2", "--seeds", "2", "--filters", "4", "6",
        "--learning-rates", "0.05", "0.1",
    )  # fmt: skip
    assert finish(*options, "--out", tmp_path / "one")[0] == 0
    port = 12000 + hash(str(tmp_path)) % 20000
    both = [
        start(
            *options,
            "--out",
            tmp_path / "two",
            CNN_JAX_PROCESSES=f"localhost:{port},2,{i}",
        )
        for i in range(2)
    ]
    ends = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], ends
    assert table(tmp_path / "two") == table(tmp_path / "one")
    assert (tmp_path / "two" / "summary.md").read_text() == (tmp_path / "one" / "summary.md").read_text()
    assert len(list((tmp_path / "two").glob("record.json"))) == 1


@pytest.mark.slow
def test_the_death_of_a_process_ends_the_first_in_one_line(tmp_path):
    """The second of two is killed; the first, which waits for its trials, says so and ends within a minute."""
    port = 12000 + hash(str(tmp_path)) % 20000
    first, second = (
        start(
            "experiments/sweep.py", "--network", CONFIG.network, "--epochs", "100000", "--seeds", "2",
            "--learning-rates", "0.05", "--parallel", "one", "--out", tmp_path / "out",
            CNN_JAX_PROCESSES=f"localhost:{port},2,{i}",
        )
        for i in range(2)
    )  # fmt: skip
    for trial in ("0000", "0001"):  # one in each process
        wait_for((tmp_path / "out" / "trials" / trial / "metrics.jsonl").exists, second)
    second.kill()
    second.communicate()
    killed = time.monotonic()
    _, err = first.communicate(timeout=120)
    assert time.monotonic() - killed < 50
    assert first.returncode in (1, 143)
    lines = [line for line in err.splitlines() if "error" in line.lower() or "Traceback" in line or "@ " in line]
    assert lines == [
        "error: process 1 of 2 has died: no sign of it for 15 s; start all processes again with --resume"
    ], err


@pytest.mark.parametrize(
    ("words", "kind"),
    [("UNKNOWN: Gloo all-reduce failed: Connection closed by peer", RunError), ("of another kind", ValueError)],
)
def test_a_failed_exchange_is_the_death_of_a_process_and_other_faults_stay_theirs(monkeypatch, words, kind):
    def exchange(_):
        raise ValueError(words)

    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr("jax.experimental.multihost_utils.broadcast_one_to_all", exchange)
    with pytest.raises(kind, match="another process has died" if kind is RunError else words):
        agree(True)


def test_a_wrong_word_about_processes_is_refused():
    code, _, err = finish("experiments/sweep.py", CNN_JAX_PROCESSES="two")
    assert (code, err) == (2, "error: CNN_JAX_PROCESSES = 'two': write auto, or HOST:PORT,COUNT,INDEX\n")
