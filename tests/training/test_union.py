"""Trials of different widths in one program: each takes the steps that it takes alone."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnn_jax import api
from cnn_jax.errors import RequestError
from cnn_jax.grids import plan
from cnn_jax.grids.grid import Grid
from cnn_jax.layers import Activation, Conv, Dropout, Pad, Residual
from cnn_jax.layers.base import LAYERS
from cnn_jax.network import Network
from cnn_jax.notation import parse
from cnn_jax.runs.folder import Folder
from cnn_jax.runs.model import TrainedModel
from cnn_jax.runs.task import Task
from cnn_jax.training.config import Config
from cnn_jax.training.fit import fit, initial_states
from cnn_jax.training.optimizer import optax_optimizers, optimizer_of
from cnn_jax.training.union import union

EVERY = (
    "pad1 conv3-4 bn relu lrn3 max2 res( conv3-6:same bn silu drop0.2 conv1-6 bn ):proj tanh sub2 "
    "res( conv3-6:same gelu conv3-6:same droppath0.2 ) conv1-8 leaky0.1 up2 avg2:same dense-12 stanh drop0.3 dense-10"
)


NOT_THESE = ("lbfgs", "optimistic_adam")  # it needs a line search, it is deprecated


def double(tree):
    return jax.tree.map(lambda x: x.astype("float64") if x.dtype == "float32" else x, tree)


def test_the_first_ten_steps_are_those_alone():
    """In float64 to 1e-10, with every kind of layer, dropout masks, statistics, momentum and weight decay included."""
    base = Config(network=EVERY, epochs=1, weight_decay=0.01, label_smoothing=0.1, dropout=0.3)
    trials = Grid(base, {"filters": (2, 4), "seed": (3,)}).trials()
    with jax.enable_x64(True):
        tasks = [Task.of(config, api.load_data(config), devices=1) for config in trials]
        program = [dataclasses.replace(task.program, dtype="float64", implementation="lax") for task in tasks]
        train, validation = tasks[0].train, tasks[0].examples("validation")

        def after_ten(configs, program):
            events = fit(configs, program, train, validation, double(initial_states(configs, program)), {10})
            return [jax.device_get(event.state) for event in next(some for some in events if some[0].step == 10)]

        together = union(program, "vmap")
        assert together.network == tasks[-1].network
        for i, state in enumerate(after_ten(trials, together)):
            (alone,) = after_ten([trials[i]], program[i])
            for ours, theirs in zip(jax.tree.leaves(state), jax.tree.leaves(alone), strict=True):
                np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-10)


def test_every_layer_that_may_be_widened_is_tried_above():
    network = Network((8, 8, 1), parse(EVERY.replace("avg2:same", "gap")))
    tried = {type(node.layer) for node in network.walk()} | {Residual}
    layers = {layer for layer in LAYERS.values() if layer.zero_channels} | {Conv, Pad, Activation, Residual}
    assert {layer.__name__ for layer in tried} == {layer.__name__ for layer in layers}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("conv3-4:g2 dense-10", "conv3-8:g2 dense-10"),
        ("conv3-4 relu dense-10", "conv3-8 tanh dense-10"),
        ("conv3-4 sigmoid dense-10", "conv3-8 sigmoid dense-10"),
        ("conv3-4 dense-10", "conv3-8 relu dense-10"),
        ("conv3-4 dense-10", "conv5-8 dense-10"),
        ("conv3-4 res( conv3-8:same ):padA dense-10", "conv3-4 res( conv3-6:same ):padA dense-10"),
        ("conv3-4 res( conv3-4:same relu ) dense-10", "conv3-4 res( conv3-4:same ) dense-10"),
    ],
)
def test_what_has_no_exact_union(one, other):
    networks = [Network((8, 8, 2), parse(text)) for text in (one, other)]
    assert networks[0].union(networks[1]) is None
    assert networks[1].union(networks[0]) is None
    assert networks[0].union(networks[0]) in (networks[0], None)


def test_of_two_that_are_each_wider_somewhere_the_union_is_wider_than_both():
    one, other = (
        Network((8, 8, 2), parse(text)) for text in ("dense-30 dense-20 dense-10", "dense-9 dense-40 dense-10")
    )
    assert one.union(other) == Network((8, 8, 2), parse("dense-30 dense-40 dense-10"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Specifying a key")
def test_optimizers_that_move_zeros_are_known():
    """Adafactor scales by the size of an array, noisy_sgd adds noise, yogi's first moment does not start at zero."""
    names = [
        "sgd",
        "signsgd",
        "adam",
        "adamw",
        *(f"optax.{name}" for name in optax_optimizers() if name not in NOT_THESE),
    ]
    moved = {name for name in names if not optimizer_of(Config(optimizer=name, clip_norm=0.1))[0].keeps_zeros}
    assert moved == {"optax.adafactor", "optax.noisy_sgd", "optax.yogi"}


def test_dropout_in_a_wider_layer_is_that_of_the_narrow_one():
    """Because each draw of threefry depends only on its place in the flat array."""
    x, key, layer = jnp.ones((5, 3, 2, 7)), jax.random.key(1), Dropout(0.4)
    context = {"train": True, "dropout_key": key}
    for channels in (1, 4, 7):
        alone = layer.apply({}, x[..., :channels], **context)
        wide = jax.jit(lambda n: layer.apply({}, x, channels=n, **context))(channels)
        np.testing.assert_array_equal(wide[..., :channels], alone)


GRID = Grid(
    Config(network="conv3-4 relu max2 drop0.2 dense-16 relu dense-10", epochs=2, devices=1),
    {"filters": (2, 4), "learning_rate": (0.05, 1e30), "seed": (0, 1)},
)


@pytest.fixture(scope="module")
def sweeps(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweeps")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "MAX_TRIAL_BATCH", 5)  # batches of different widths share the program
        return {way: api.sweep(GRID, folder / way, parallel=way, show=False) for way in ("one", "grid")}


def test_a_grid_in_one_program_is_the_grid(sweeps):
    one, grid = (sweeps[way].table.rows for way in ("one", "grid"))
    assert [row.status for row in one] == [row.status for row in grid]
    assert {row.status for row in one} == {"complete", "diverged"}
    for a, b in zip(one, grid, strict=True):
        assert a.parameters == b.parameters
        if a.status == "complete":
            np.testing.assert_allclose(a.validation.loss, b.validation.loss, rtol=1e-4)
    (trials,) = Folder(sweeps["grid"].path).read_json("record.json")["plan"]["programs"]
    assert trials["trials"] == list(range(8))
    assert trials["transform"] == "map"


def test_a_trial_of_it_is_a_run_of_its_own_network(sweeps):
    models = [TrainedModel.load(sweeps[way].path / "best") for way in ("one", "grid")]
    assert models[0].network == models[1].network
    for a, b in zip(*(jax.tree.leaves(model.variables) for model in models), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


def test_a_grid_without_an_exact_union_is_refused(tmp_path):
    grid = Grid(dataclasses.replace(GRID.base, optimizer="optax.yogi", momentum=0.9), {"filters": (2, 4), "seed": (0,)})
    with pytest.raises(RequestError, match=r"parallel = 'grid' needs .* \(docs/grid.md\); Network.* have none"):
        api.sweep(grid, tmp_path / "out", parallel="grid", show=False)
    assert not (tmp_path / "out").exists()
    split = dataclasses.replace(GRID, base=dataclasses.replace(GRID.base, devices=2))
    with pytest.raises(RequestError, match="parallel = 'grid' needs one device per trial"):
        api.sweep(split, tmp_path / "out", parallel="grid", show=False)


@pytest.mark.parametrize(("compile_seconds", "worth"), [(1000.0, True), (1e-6, False)])
@pytest.mark.parametrize("backend", ["cpu", "gpu"])
def test_widths_are_joined_where_compiling_takes_longer_than_computing(backend, compile_seconds, worth, monkeypatch):
    """With times that are given: 4 widths, of which the three narrow ones compute as if they were wide."""
    monkeypatch.setattr(jax, "local_device_count", lambda: 1)
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    monkeypatch.setattr(plan, "seconds_to_compile", lambda *_: compile_seconds)
    monkeypatch.setattr(plan, "_seconds", lambda *_: 0.01)
    base = dataclasses.replace(GRID.base, implementation="lax")
    trials = Grid(base, {"filters": (1, 2, 3, 4), "seed": (0,)}).trials()
    tasks = [Task.of(config, api.load_data(config), devices=1) for config in trials]
    configs, programs = [task.config for task in tasks], [task.program for task in tasks]
    found = plan.make_plan("auto", configs, programs, lambda i: (tasks[i].train, tasks[i].examples("validation")))
    assert [trials.numbers for trials in found] == ([(0, 1, 2, 3)] if worth else [(0,), (1,), (2,), (3,)])
