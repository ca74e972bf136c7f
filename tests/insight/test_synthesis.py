"""Images made for units: against optima that are known, and against the strongest natural images."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from initial import variables_of

from cnn_jax import api
from cnn_jax.data import load
from cnn_jax.insight import synthesis, units
from cnn_jax.layers import Dense
from cnn_jax.network import Network
from cnn_jax.notation import parse
from cnn_jax.runs.model import TrainedModel
from cnn_jax.runs.weights import TRAINED
from cnn_jax.training.config import Config

KEY = jax.random.key(5)
SPAN = (-1.0, 2.0)


def made(text, shape=(12, 12, 3)):
    network = Network(shape, parse(text))
    return network, variables_of(network)


def test_an_image_made_for_a_linear_unit_is_black_and_white_by_the_signs_of_its_weights():
    network = Network((6, 6, 2), (Dense(3),))
    variables = variables_of(network)
    found = synthesis.maximise(network, variables, "dense1", jnp.array([0, 2]), KEY, SPAN)
    weights = np.asarray(variables["params"]["dense1"]["kernel"]).T[[0, 2]]
    best = np.where(weights > 0, SPAN[1], SPAN[0])
    optimum = (best * weights).sum(1)
    assert (found.reached > 0.97 * optimum).all()
    assert (found.reached <= optimum * (1 + 1e-5)).all()
    assert np.asarray(found.images).min() >= SPAN[0]
    assert np.asarray(found.images).max() <= SPAN[1]
    clear = np.abs(weights) > 0.3 * np.abs(weights).max()
    assert (np.abs(np.asarray(found.images).reshape(2, -1) - best)[clear] < 0.3).mean() > 0.95


@pytest.mark.parametrize("target", ["unit", "channel"])
def test_synthesis_is_a_function_of_its_key_and_says_what_it_reaches(target):
    network, variables = made("conv3-4:same relu max2 conv3-6:same relu max2 dense-3")
    recipe = synthesis.Recipe(steps=48, restarts=1)
    for layer, count in (("relu2", 6), ("dense1", 3)):
        chosen = jnp.arange(count)
        once = synthesis.maximise(network, variables, layer, chosen, KEY, SPAN, target, recipe)
        again = synthesis.maximise(network, variables, layer, chosen, KEY, SPAN, target, recipe)
        np.testing.assert_array_equal(once.images, again.images)
        output = np.asarray(network.activations(variables, once.images)[layer])
        if output.ndim == 4:
            output = output.mean((1, 2)) if target == "channel" else np.asarray(units.middle(output))
        np.testing.assert_allclose(once.reached, output[np.arange(count), np.arange(count)], rtol=1e-4, atol=1e-5)
        assert (once.reached >= once.before).all()


def test_fourier_coefficients_are_those_of_a_real_image():
    """Of one coefficient a wave of its frequency, with an amplitude of one over it."""
    for y, x in ((0, 1), (2, 3)):
        z = np.zeros((1, 12, 7, 1, 2), np.float32)
        z[0, y, x, 0, 0] = 1
        found = np.asarray(synthesis._from_fourier(jnp.asarray(z), (12, 12, 1)))[0, ..., 0]
        rows, columns = np.mgrid[:12, :12]
        wave = np.cos(2 * np.pi * (y * rows + x * columns) / 12)
        amplitude = 2 / 144 * 12 / 4 / (np.hypot(y, x) / 12)
        np.testing.assert_allclose(found, amplitude * wave, atol=1e-5)


def test_jitter_is_bounded_by_the_receptive_field():
    network, _ = made("conv3-4:same relu max2 conv3-6:same relu max2 dense-3")
    assert [synthesis.field_size(network, layer) for layer in ("conv1", "max1", "conv2", "dense1")] == [3, 4, 8, 12]


def test_diverse_images_differ_more_than_those_of_restarts():
    network, variables = made("conv3-6:same relu max2 conv3-6:same relu")
    recipe = synthesis.Recipe(steps=96, restarts=1)

    def likeness(images):
        maps = np.asarray(network.activations(variables, images)["relu2"]).reshape(len(images), -1, 6)
        grams = np.einsum("npa,npb->nab", maps, maps).reshape(len(images), -1)
        grams /= np.linalg.norm(grams, axis=1, keepdims=True)
        return (grams @ grams.T)[np.triu_indices(len(images), 1)].mean()

    plain = synthesis.diverse(network, variables, "relu2", jnp.array(1), KEY, SPAN, 3, 0.0, recipe=recipe)
    apart = synthesis.diverse(network, variables, "relu2", jnp.array(1), KEY, SPAN, 3, 3.0, recipe=recipe)
    assert likeness(apart.images) < likeness(plain.images)


def test_between_two_units_the_ends_are_theirs():
    network, variables = made("conv3-6:same relu max2 conv3-6:same relu")
    recipe = synthesis.Recipe(steps=96, restarts=1)
    found = synthesis.between(network, variables, "relu2", (jnp.array(0), jnp.array(1)), KEY, SPAN, 3, recipe=recipe)
    means = np.asarray(network.activations(variables, found.images)["relu2"]).mean((1, 2))[:, :2]
    assert means[0, 0] == means[:, 0].max()
    assert means[2, 1] == means[:, 1].max()


def test_a_caricature_excites_a_layer_as_the_image_does_and_more():
    network, variables = made("conv3-6:same relu max2 conv3-6:same relu dense-3")
    images = jnp.asarray(np.random.default_rng(0).uniform(*SPAN, (2, 12, 12, 3)), jnp.float32)
    found = synthesis.caricature(network, variables, "relu2", images, KEY, SPAN, recipe=synthesis.Recipe(steps=128))
    before, after = (
        np.asarray(network.activations(variables, x)["relu2"]).reshape(2, -1) for x in (images, found.images)
    )
    lengths = np.linalg.norm(before, axis=1)
    assert ((before * after).sum(1) / lengths > 1.2 * lengths).all()
    cosine = (before * after).sum(1) / lengths / np.linalg.norm(after, axis=1)
    assert (cosine > 0.6).all()


NETWORKS = {
    "relu": "conv3-8:same relu max2 conv3-12:same relu max2 dense-16 relu dense-10",
    "tanh": "conv5-6:same tanh avg2 conv3-8:same tanh dense-10",
    "residual": "conv3-8:same bn relu res( conv3-8:same bn relu conv3-8:same bn ) relu gap dense-10",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", [*NETWORKS, "lenet1989"])
def test_images_made_for_units_reach_more_than_the_strongest_natural_ones(name, tmp_path):
    """All units of all convolutions, norms and dense layers, over all images; a unit that neither excites is dead."""
    if name == "lenet1989":
        trained = TrainedModel.of_weights(TRAINED / "lenet1989.safetensors", "lenet1989")
        images = load("digits", image_size=16).train.images
    else:
        run = api.train(Config(network=NETWORKS[name], epochs=5, devices=1), tmp_path / "run", show=False)
        trained, images = TrainedModel.load(run.path), load("digits").train.images
    inputs = trained.normalise(images)
    layers = [node.name for node in trained.network.walk() if node.parameters]
    natural = units.strongest(trained.network, trained.variables, inputs, layers, 1)
    span = synthesis.span_of(trained.mean, trained.std)
    exceeded = dead = 0
    for layer in layers:
        best = natural[layer].values[:, 0]
        found = synthesis.maximise(trained.network, trained.variables, layer, jnp.arange(len(best)), KEY, span)
        reached = np.asarray(found.reached)
        dead += int(((reached <= 0) & (best <= 0)).sum())
        exceeded += int((reached >= best * (1 - 1e-5)).sum()) - int(((reached <= 0) & (best <= 0)).sum())
    total = sum(len(natural[layer].values) for layer in layers)
    assert exceeded >= 0.95 * (total - dead), (exceeded, dead, total)
