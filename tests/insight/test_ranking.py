"""The ranking of explanations: known on a linear network, and as a command over the seeds of a sweep."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from initial import variables_of

from cnn_jax import api
from cnn_jax.cli import see
from cnn_jax.errors import RequestError
from cnn_jax.grids.grid import Grid
from cnn_jax.insight import attribution, ranking
from cnn_jax.network import Network
from cnn_jax.notation import parse
from cnn_jax.runs.model import TrainedModel
from cnn_jax.training.config import Config

KEY = jax.random.key(3)


def test_a_picture_and_a_random_map_are_not_trusted_and_what_is_exact_is_first():
    network = Network((8, 8, 1), parse("dense-3"))
    images = jax.random.rademacher(KEY, (32, 8, 8, 1), jnp.float32)
    methods = {
        "gradient x input": attribution.gradient_times_input,
        "a picture": lambda f, params, images, classes: jnp.broadcast_to(
            jax.random.normal(KEY, (1, 8, 8, 1)), images.shape
        ),
        "noise": lambda f, params, images, classes: jax.random.normal(
            jax.random.fold_in(KEY, (1e6 * jnp.abs(params["params"]["dense1"]["kernel"]).sum()).astype(int)),
            images.shape,
        ),
    }
    networks = [ranking.measured(network, variables_of(network, i), images, methods, KEY, 2) for i in range(3)]
    found = ranking.ranked(networks)
    assert found[0].method == "gradient x input"
    assert found[0].trusted
    assert found[0].place == 1.0
    others = {one.method: one for one in found[1:]}
    assert not others["a picture"].depends_on_weights
    assert others["a picture"].measures["randomisation"].difference == pytest.approx(1)
    assert others["noise"].depends_on_weights
    assert not others["noise"].faithful
    assert all(measure.n == 3 for measure in found[0].measures.values())
    (alone, *_) = ranking.ranked(networks[:1])
    assert alone.measures["deletion"].n == 32
    assert alone.measures["deletion"].difference == pytest.approx(networks[0][alone.method]["deletion"].mean())


def test_methods_that_cannot_explain_a_network_say_so():
    plain, odd = (Network((8, 8, 1), parse(text)) for text in ("conv3-4 relu gap dense-3", "conv3-4 lrn5 dense-3"))
    for network, missing in ((plain, False), (odd, True)):
        methods, refused = ranking.candidates(network, variables_of(network), jnp.zeros((1, 8, 8, 1)), KEY)
        assert ("relevance propagation" not in methods) == missing
        assert any(line.startswith("relevance propagation: ") for line in refused) == missing


def test_the_networks_of_a_sweep_are_those_of_its_chosen_cell(tmp_path, capsys):
    base = Config(network="conv3-8:same relu max2 dense-10", epochs=2, devices=1)
    grid = Grid(base, {"learning_rate": (1e-6, 0.1), "seed": (0, 1)})
    api.sweep(grid, tmp_path / "sweep", show=False)
    models = TrainedModel.of_seeds(tmp_path / "sweep")
    assert [(m.config.learning_rate, m.config.seed) for m in models] == [(0.1, 0), (0.1, 1)]
    (best,) = TrainedModel.of_seeds(tmp_path / "sweep" / "best")
    assert any(
        np.array_equal(m.variables["params"]["conv1"]["kernel"], best.variables["params"]["conv1"]["kernel"])
        for m in models
    )
    see.command([str(tmp_path / "sweep"), "--rank", "--quiet"])
    text = capsys.readouterr().out
    record = json.loads((tmp_path / "sweep" / "insight" / "ranking.json").read_text())
    assert (tmp_path / "sweep" / "insight" / "ranking.md").read_text() == text
    assert [n["seed"] for n in record["networks"]] == [0, 1]
    assert "n = 2 networks, 32 images of each" in text
    for one in record["methods"]:
        (line,) = [line for line in text.splitlines() if line.startswith(f"| {one['method']} |")]
        assert ("| yes |" in line) == one["trusted"]
        assert f"{one['measures']['ROAD']['difference']:+.2f}" in line
    with pytest.raises(RequestError, match="--rank needs a run"):
        see.command([str(tmp_path / "weights.npz"), "--rank", "--network", "lenet1989"])
