"""A config is refused for what it cannot be, and written down whole."""

import dataclasses
import hashlib
import json

import pytest

from cnn_jax.cli.options import GROUPS
from cnn_jax.errors import RequestError
from cnn_jax.grids.grid import Grid, next_values
from cnn_jax.training.config import Config, differences


def test_a_config_survives_json():
    layers = [{"layer": "Conv", "features": 4, "size": 3}, {"layer": "Dense", "features": 10}]
    config = Config(network=layers, decay_epochs=(1.0, 2.5), schedule="step", filters=4)
    assert Config.from_json(json.loads(json.dumps(config.to_json()))) == config
    assert Config.from_json({}) == Config()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"learning_rat": 0.1}, "'learning_rat' is unknown \\(did you mean 'learning_rate'\\?\\); fields are network,"),
        ({"epochs": 1.5}, "epochs = 1.5 has the wrong type; expected a whole number"),
        ({"epochs": True}, "epochs = True has the wrong type"),
        ({"epochs": 0}, "epochs = 0 must be at least 1"),
        ({"learning_rate": -1}, "learning_rate = -1.0 must be a positive number"),
        ({"learning_rate": "fast"}, "learning_rate = 'fast' has the wrong type; expected a number"),
        (
            {"optimizer": "lamb"},
            "optimizer 'lamb' is unknown.* there are sgd, signsgd, adam, adamw, muon, .*those of optax",
        ),
        ({"batch_size": 10, "accumulate": 3}, "batch_size 10 does not split in accumulate = 3 parts"),
        ({"schedule": "step"}, "schedule 'step' needs decay_epochs"),
        ({"decay_epochs": [1]}, "decay_epochs belong to schedule 'step'"),
        ({"schedule": "step", "decay_epochs": [2, 1]}, "decay_epochs = .* must be positive and increasing"),
        ({"ema": 1.0}, r"ema = 1.0 must be in \[0, 1\)"),
        ({"filters": "8"}, "filters = '8' has the wrong type; expected a whole number or null"),
        ([], "a config is a JSON object"),
        ({"augment": "alternate"}, "augmentation 'alternate' is unknown; there are flip, alternate_flip, crop<pad>"),
        ({"augment": "crop" + "9" * 6000}, r"augmentation 'crop9{50,}.*' is unknown"),
        ({"augment": "mixup0.00"}, "augmentation 'mixup0.00' is no mixup<alpha>: alpha must be a number above 0"),
        ({"augment": "flip crop2 flip"}, "augment = 'flip crop2 flip' lists flip twice"),
        ({"augment": "resized_crop0.08"}, "resized_crop cuts windows out of the stored images: it needs stream = True"),
        ({"augment": "flip resized_crop0.1", "stream": True}, "resized_crop acts when an image is read, so it comes"),
        ({"augment": "mixup0.4", "batch_size": 1}, "mixup needs a batch_size of at least 2"),
        ({"network": "conv3"}, "network 'conv3' is unknown"),
        ({"network": "conv3-4 dens-10"}, "network token 'dens-10' is unknown"),
        ({"network": " "}, "network is empty"),
        ({"network": []}, "network is empty"),
        ({"network": [{"layer": "Dense"}]}, "Dense: missing"),
        ({"network": "dense-10", "filters": 4}, "no convolution whose filters could be set"),
        ({"learning_rate": 1e-46}, "learning_rate = 1e-46 is 0 in float32, in which training computes"),
        ({"learning_rate": 1e39}, r"learning_rate = 1e\+39 is inf in float32"),
        ({"weight_decay": 1e-60}, "weight_decay = 1e-60 is 0 in float32"),
        ({"momentum": 0.99999999}, r"momentum = 0.99999999 is 1 in float32, .* it must be in \[0, 1\)"),
        ({"nesterov": True, "momentum": 0}, "nesterov never acts without momentum"),
        ({"optimizer": "signsgd", "momentum": 0, "clip_norm": 1}, "clip_norm never acts on signsgd without momentum"),
        ({"decay_factor": 0.5}, "decay_factor belongs to schedule 'step', not to 'constant'"),
        ({"schedule": "onecycle", "warmup_epochs": 1}, "schedule 'onecycle' has a warm-up of its own"),
        ({"warmup_epochs": 10.5}, "warmup_epochs = 10.5 is more than the 10 epochs of the run"),
        ({"schedule": "step", "decay_epochs": [5, 10]}, "after epoch 10 never acts in a run of 10 epochs"),
        (
            {"schedule": "step", "decay_epochs": [1, 5], "warmup_epochs": 2},
            "a decay after epoch 1 lies in the warm-up of 2 epochs",
        ),
    ],
)
def test_a_config_that_cannot_be_is_refused(values, message):
    with pytest.raises(RequestError, match=message):
        Config.from_json(values)


def test_a_config_from_python_is_checked_like_one_from_a_file():
    with pytest.raises(RequestError, match="optimizer 'rmsprop' is unknown"):
        Config(optimizer="rmsprop")
    assert Config(learning_rate=1).learning_rate == 1.0


def test_what_acts_is_accepted():
    """The neighbours of what is refused."""
    for values in (
        {"schedule": "step", "decay_epochs": (9.5, 9.5), "decay_factor": 0.5, "warmup_epochs": 9.5},
        {"warmup_epochs": 10},
        {"nesterov": True, "optimizer": "adam"},
        {"optimizer": "signsgd", "momentum": 0, "clip_norm": 1, "weight_decay": 0.1},
        {"augment": "flip crop2 cutout3 mixup.4", "batch_size": 2},
        {"network": "resnet20", "filters": 8},
        {"learning_rate": 2e-38, "momentum": 0.9999999},
    ):
        assert Config(**values).to_json() == Config().to_json() | json.loads(json.dumps(values))


def test_differences_name_the_fields():
    assert differences(Config(), Config(epochs=3, seed=1)) == ["epochs: 10 -> 3", "seed: 0 -> 1"]


def test_every_field_of_a_config_is_read():
    """A field that no code outside config.py mentions is a field nobody reads."""
    import dataclasses
    import inspect
    import re
    from pathlib import Path

    import cnn_jax

    root = Path(cnn_jax.__file__).parent
    code = "\n".join(path.read_text() for path in root.rglob("*.py") if path.name != "config.py") + inspect.getsource(
        Config.build
    )
    names = [field.name for field in dataclasses.fields(Config)]
    assert [name for name in names if not re.search(rf"(config|base|self)\.{name}\b", code)] == []


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        (
            {"seed": (0,), "optimiser": ("sgd",)},
            "axis 'optimiser' is no field of the config; there are network, network_args.<name>,",
        ),
        ({"seed": (0,), "momentum": (0.9, 0.9)}, "axis momentum lists a value twice"),
        ({"seed": (0,), "momentum": (0.9, 1.5)}, "momentum = 1.5 must be in"),
        ({"seed": (0,), "momentum": ()}, "axis momentum has no value"),
        ({"seed": (0,), "split_seed": (0, 1)}, "^split_seed cannot be an axis: the split is the same for all trials$"),
        ({"seed": (0,), "validation": (9,)}, "^validation cannot be an axis: all trials share one split$"),
        ({"momentum": (0.9,)}, "needs the axis seed"),
    ],
)
def test_a_grid_that_cannot_be_is_refused(axes, message):
    with pytest.raises(RequestError, match=message):
        Grid(Config(), axes)


def test_a_grid_is_every_combination_and_survives_json():
    grid = Grid(Config(epochs=2), {"learning_rate": (0.1, 0.2), "filters": (4, 8), "seed": (0, 1, 2)})
    trials = grid.trials()
    assert len(trials) == len(set(trials)) == 12
    assert [(t.learning_rate, t.filters, t.seed) for t in trials[:4]] == [
        (0.1, 4, 0),
        (0.1, 4, 1),
        (0.1, 4, 2),
        (0.1, 8, 0),
    ]
    assert {t.epochs for t in trials} == {2}
    assert Grid.from_json(json.loads(json.dumps(grid.to_json()))) == grid
    assert Grid(Config(), {"seed": (0,)}).cells() == [{"learning_rate": 0.01}]
    ordered = Grid(Config(), {"momentum": (0.5,), "learning_rate": (0.1,), "seed": (0,)})
    assert ordered.cell_axes == ("momentum", "learning_rate"), "the order that was asked for"
    for values in ([], {"epochs": 2}, {"axes": [1]}):
        with pytest.raises(RequestError, match="a run's config with an object 'axes' of lists"):
            Grid.from_json(values)


def test_the_trials_of_a_grid_come_before_its_final_fit():
    grid = Grid(Config(final_fit=True), {"seed": (0, 1)})
    assert [trial.final_fit for trial in grid.trials()] == [False, False]
    assert grid.base.final_fit


def test_the_hash_of_a_grid_is_that_of_its_sorted_json():
    grid = Grid(Config(), {"learning_rate": (0.1, 0.2), "seed": (0,)})
    text = json.dumps(grid.to_json(), sort_keys=True)
    assert grid.hash() == hashlib.sha256(text.encode()).hexdigest()[:12]
    assert grid.hash() == Grid(Config(), {"seed": (0,), "learning_rate": (0.1, 0.2)}).hash()
    assert grid.hash() != Grid(Config(), {"learning_rate": (0.1, 0.3), "seed": (0,)}).hash()


@pytest.mark.parametrize(
    ("values", "best", "expected"),
    [
        ((0.01, 0.1, 1.0), 0.1, None), ((0.01, 0.1, 1.0), 1.0, ("upper", 10.0)),
        ((0.01, 0.1, 1.0), 0.01, ("lower", 0.001)),
        ((4, 8, 16), 16, ("upper", 32)), ((4, 8), 4, ("lower", 2)), ((1, 2), 1, None), ((0.5,), 0.5, None),
        ((0.0, 0.1, 0.2), 0.2, ("upper", 0.4)), ((0.0, 0.1), 0.1, ("upper", 0.2)), ((0.0, 0.1), 0.0, ("lower", -0.1)),
        ((0, 2), 2, ("upper", 4)), ((2, 4), 2, ("lower", 1)), ((1, 2.5), 2.5, ("upper", 6.2)),
    ],
)  # fmt: skip
def test_the_value_to_add_at_an_edge(values, best, expected):
    assert next_values(values, best) == expected


def test_every_field_is_an_option():
    named = [name for names in GROUPS.values() for name in names]
    assert sorted(named) == sorted(field.name for field in dataclasses.fields(Config))
