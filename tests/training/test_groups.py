"""Rates and decays by group, Muon, and the layer that is computed from the training images."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from cnn_jax.data import Dataset
from cnn_jax.errors import RequestError
from cnn_jax.network import Network
from cnn_jax.notation import parse
from cnn_jax.runs.task import Task
from cnn_jax.training.config import Config
from cnn_jax.training.optimizer import optimizer_of
from cnn_jax.training.state import Program, hparams_of

NETWORK = Network((8, 8, 1), parse("conv3-4 bn relu dwconv3 ln gap dense-6 relu dense-3"))


def updates_of(config, steps=3):
    """The parameters after some steps with gradients that are functions of the step alone."""
    program = Program.of(config, NETWORK, 1)
    params = NETWORK.init(jax.random.key(0))["params"]
    transformation = program.optimizer(config.learning_rate, hparams_of(config))
    state = transformation.init(params)
    for step in range(steps):
        gradient = jax.tree.map(lambda leaf, t=step: jnp.cos(t + jnp.arange(leaf.size)).reshape(leaf.shape), params)
        updates, state = transformation.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
    return params


def groups_by_hand(layer, array):
    """The most special group of each array of NETWORK, from the words of the documentation."""
    if layer == "dense2":
        return "head"
    if layer in ("bn1", "ln1"):
        return "norms"
    return "filters" if layer in ("conv1", "dwconv1") and array == "kernel" else "biases" if array == "bias" else None


def test_each_array_learns_at_the_rate_of_its_group():
    """Plain SGD with a factor is plain SGD at another learning rate, and 0 freezes."""
    factors = {"head": 3.0, "norms": 0.5, "filters": 0.0, "biases": 2.0}
    plain = {"optimizer": "sgd", "momentum": 0.0}
    found = updates_of(Config(**plain, learning_rate=0.1, rates=factors))
    at = {f: updates_of(Config(**plain, learning_rate=0.1 * f)) for f in (3.0, 0.5, 1e-12, 2.0, 1.0)}
    for layer, arrays in found.items():
        for array, value in arrays.items():
            factor = factors.get(groups_by_hand(layer, array), 1.0)
            np.testing.assert_allclose(value, at[factor or 1e-12][layer][array], rtol=1e-5, atol=1e-6)
    named = {**factors, "dense2": 1.0, "dense2/bias": 2.0}  # a name goes before a group
    own = updates_of(Config(**plain, learning_rate=0.1, rates=named))
    np.testing.assert_allclose(own["dense2"]["kernel"], at[1.0]["dense2"]["kernel"], rtol=1e-5)
    np.testing.assert_allclose(own["dense2"]["bias"], at[2.0]["dense2"]["bias"], rtol=1e-5)


def test_decay_by_group_is_in_the_gradient_and_reaches_biases():
    """One step of plain SGD: p - rate · (g + decay · p)."""
    before = jax.tree.map(lambda leaf: leaf + 0.5, NETWORK.init(jax.random.key(0))["params"])
    config = Config(optimizer="sgd", momentum=0.0, learning_rate=0.1, decays={"biases": 0.2, "head": 0.3})
    transformation = Program.of(config, NETWORK, 1).optimizer(0.1, hparams_of(config))
    zero = jax.tree.map(jnp.zeros_like, before)
    updates, _ = transformation.update(zero, transformation.init(before), before)
    for layer, arrays in updates.items():
        for array, update in arrays.items():
            group = groups_by_hand(layer, array)
            in_biases = array == "bias" and group != "head"  # no decay is named for norms, so theirs are biases
            decay = 0.3 if group == "head" else 0.2 if in_biases else 0.0
            np.testing.assert_allclose(update, -0.1 * decay * before[layer][array], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rates": {"conv9": 1.0}}, "'conv9' is no group of parameters of this network; there are biases, norms"),
        ({"rates": {"head": -1.0}}, "must be at least 0"),
        ({"decays": {"head": 0.1}, "weight_decay": 0.1}, "leave out weight_decay"),
    ],
)
def test_a_group_that_is_none_is_refused(fields, message):
    with pytest.raises(RequestError, match=message):
        Program.of(Config(**fields), NETWORK, 1)


def muon_by_hand(kernel, gradients, rate, momentum, iterations, unit_norm):
    """The polynomial a·s + b·s³ + c·s⁵ on the singular values s, which is what the iteration computes without a
    decomposition (Jordan 2024): in float64."""
    velocity = np.zeros_like(kernel)
    for gradient in gradients:
        velocity = momentum * velocity + gradient
        matrix = (gradient + momentum * velocity).reshape(-1, kernel.shape[-1])
        left, values, right = np.linalg.svd(matrix, full_matrices=False)
        values = values / np.linalg.norm(matrix)
        for _ in range(iterations):
            values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
        if unit_norm:
            kernel = kernel * np.sqrt(kernel.shape[-1]) / np.linalg.norm(kernel)
        kernel = kernel - rate * ((left * values) @ right).reshape(kernel.shape)
    return kernel


@pytest.mark.parametrize("shape", [(3, 3, 2, 5), (1, 1, 3, 8)])
@pytest.mark.parametrize("unit_norm", [False, True])
def test_muon_is_a_polynomial_of_the_singular_values(shape, unit_norm):
    random = np.random.RandomState(0)
    kernel, gradients = random.normal(size=shape), random.normal(size=(3, *shape))
    config = Config(
        optimizer="muon", momentum=0.6, nesterov=True, learning_rate=0.2,
        optimizer_args={"iterations": 3, "unit_norm": unit_norm},
    )  # fmt: skip
    with jax.enable_x64(True):
        params = {"conv1": {"kernel": jnp.asarray(kernel)}}
        transformation = optimizer_of(config)[0](0.2, jax.tree.map(np.float64, hparams_of(config)))
        state = transformation.init(params)
        for gradient in gradients:
            updates, state = transformation.update({"conv1": {"kernel": jnp.asarray(gradient)}}, state, params)
            params = optax.apply_updates(params, updates)
    expected = muon_by_hand(kernel, gradients, 0.2, 0.6, 3, unit_norm)
    np.testing.assert_allclose(params["conv1"]["kernel"], expected, rtol=1e-4, atol=1e-5)


def test_what_is_no_filter_is_trained_by_sgd():
    given = {"learning_rate": 0.1, "nesterov": True}
    muon = updates_of(Config(optimizer="muon", optimizer_args={"sgd_momentum": 0.7}, momentum=0.5, **given))
    sgd = updates_of(Config(optimizer="sgd", momentum=0.7, **given))
    for layer, array in (("dense1", "kernel"), ("conv1", "bias"), ("bn1", "scale")):
        np.testing.assert_allclose(muon[layer][array], sgd[layer][array], rtol=1e-6)
    assert np.abs(muon["conv1"]["kernel"] - sgd["conv1"]["kernel"]).max() > 0.01


def test_whitened_patches_of_the_training_images_are_uncorrelated():
    """Half of the maps have the identity as their second moments (less what epsilon takes), the others are their
    negatives; the kernel is the data's alone, and training leaves it."""
    random = np.random.RandomState(1)
    images = np.cumsum(random.uniform(0, 20, (300, 8, 8, 3)), 1).clip(0, 255).astype(np.uint8)  # neighbours are alike
    dataset = Dataset.from_arrays(images, random.randint(0, 3, 300))
    config = Config(network="whiten2:epsilon=0.0000001 relu gap dense-3", batch_size=64)
    states = [Task.of(dataclasses.replace(config, seed=seed), dataset, devices=1).initial_state() for seed in (0, 1)]
    kernels = [np.asarray(state.batch_stats["whiten1"]["kernel"]) for state in states]
    np.testing.assert_array_equal(*kernels)
    network = Task.of(config, dataset, devices=1).network
    normalised = (dataset.train.images / 255.0 - dataset.mean) / dataset.std
    variables = {"params": states[0].params, "batch_stats": states[0].batch_stats}
    maps = np.asarray(network.activations(variables, jnp.asarray(normalised, jnp.float32))["whiten1"], float)
    flat = maps.reshape(-1, 24)
    np.testing.assert_allclose(flat[:, 12:], -flat[:, :12], atol=1e-5)
    np.testing.assert_allclose(flat[:, :12].T @ flat[:, :12] / len(flat), np.eye(12), atol=0.02)
    with pytest.raises(RequestError, match="it can only be the first layer"):
        Network((8, 8, 3), parse("relu whiten2"))


def test_dirac_filters_pass_the_channels_on():
    from cnn_jax.layers import INITIALISERS

    network = Network((6, 6, 3), parse("conv3-5:same:nobias"))
    variables = network.init(jax.random.key(0), INITIALISERS["dirac"](1.0))
    images = jax.random.normal(jax.random.key(1), (2, 6, 6, 3))
    maps = network.activations(variables, images)["conv1"]
    np.testing.assert_allclose(maps[..., :3], images, atol=1e-6)
