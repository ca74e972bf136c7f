"""The weights that the package contains: each card is true, and training can start from them."""

import hashlib
import json

import jax
import numpy as np
import pytest

from cnn_jax.data import load
from cnn_jax.errors import RequestError
from cnn_jax.runs import weights
from cnn_jax.runs.model import TrainedModel
from cnn_jax.runs.task import Task
from cnn_jax.training.config import Config

CARDS = {file.stem: json.loads(file.read_text()) for file in sorted(weights.TRAINED.glob("*.json"))}


@pytest.mark.parametrize("name", CARDS)
def test_a_card_is_that_of_its_file(name):
    content = (weights.TRAINED / f"{name}.safetensors").read_bytes()
    assert len(content) < 1_000_000
    assert hashlib.sha256(content).hexdigest() == CARDS[name]["sha256"]
    model = TrainedModel.of_weights(f"zoo:{name}", CARDS[name]["network"])
    assert model.network.parameters == CARDS[name]["parameters"]


@pytest.mark.parametrize("name", CARDS)
def test_weights_classify_as_many_test_images_as_their_card_says(name, real_data):
    card = CARDS[name]
    model = TrainedModel.of_weights(f"zoo:{name}", card["network"])
    test = load(card["data"], data_dir=real_data, image_size=card["recipe"].get("image_size")).test
    correct = sum(
        round(model.accuracy(test.images[i : i + 1000], test.labels[i : i + 1000]) * len(test.labels[i : i + 1000]))
        for i in range(0, len(test), 1000)
    )
    assert len(test) == card["test_images"]
    assert abs(correct - card["correct"]) <= 1  # another processor rounds differently


def test_training_starts_from_them():
    config = Config(network="lenet1989", image_size=16, init="zoo:lenet1989")
    state = Task.of(config, load("digits", image_size=16), devices=1).initial_state()
    model = TrainedModel.of_weights("zoo:lenet1989", "lenet1989")
    jax.tree.map(np.testing.assert_array_equal, state.params, model.variables["params"])


def test_weights_that_are_not_there_are_refused_with_those_that_are():
    with pytest.raises(RequestError, match=r"zoo:alexnet: there are no weights of 'alexnet'; there are .*lenet1989"):
        weights.read("zoo:alexnet")
