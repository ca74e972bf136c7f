"""Weights between distant layers, silenced and patched units, and sparse dictionaries."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from initial import variables_of

from cnn_jax.errors import RequestError
from cnn_jax.insight import adapters, circuits, dictionary
from cnn_jax.insight.functions import WithActivations, selected
from cnn_jax.losses import cross_entropy
from cnn_jax.network import Network
from cnn_jax.notation import parse

KEY = jax.random.key(7)
NETWORK = Network((8, 8, 2), parse("conv3-3:same relu max2 conv3-4:same relu dense-5"))
VARIABLES = variables_of(NETWORK)
IMAGES = jax.random.normal(KEY, (4, 8, 8, 2))
TARGETS = jnp.array([0, 3, 1, 4])


def test_expanded_weights_are_those_of_the_network_without_nonlinearities():
    linear = Network((8, 8, 2), parse("conv3-3:same avg2 conv3-4:same dense-5"))
    renamed = {
        collection: {name: layers[name] for name in ("conv1", "conv2", "dense1") if name in layers}
        for collection, layers in VARIABLES.items()
    }
    for upper, place in (("conv2", np.s_[:, 2, 2]), ("dense1", np.s_[:])):
        found = np.asarray(circuits.expanded_weights(NETWORK, VARIABLES, "conv1", upper))
        outputs = [linear.activations(renamed, x) for x in (IMAGES, jnp.zeros_like(IMAGES))]
        seen = np.asarray(outputs[0]["conv1"] - outputs[1]["conv1"])
        expected = np.asarray(outputs[0][upper] - outputs[1][upper])[place]
        np.testing.assert_allclose(np.einsum("uhwc,nhwc->nu", found, seen), expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(RequestError, match="'dense1' is not below layer 'conv1'"):
        circuits.expanded_weights(NETWORK, VARIABLES, "dense1", "conv1")


def test_a_silenced_unit_is_one_whose_weights_to_the_next_layer_are_gone():
    found = np.asarray(circuits.ablation(NETWORK, VARIABLES, IMAGES, TARGETS, "max1"))
    whole = np.asarray(selected(NETWORK(VARIABLES, IMAGES), TARGETS))
    for unit in range(3):
        kernel = VARIABLES["params"]["conv2"]["kernel"].at[:, :, unit].set(0)
        params = {**VARIABLES["params"], "conv2": {**VARIABLES["params"]["conv2"], "kernel": kernel}}
        without = np.asarray(selected(NETWORK({**VARIABLES, "params": params}, IMAGES), TARGETS))
        np.testing.assert_allclose(found[:, unit], whole - without, atol=1e-5)
    mean = NETWORK.activations(VARIABLES, IMAGES)["max1"].mean((0, 1, 2))
    to_mean = np.asarray(circuits.ablation(NETWORK, VARIABLES, IMAGES, TARGETS, "max1", mean))
    assert np.abs(to_mean - found).max() > 1e-3


def test_a_patched_unit_has_the_values_of_the_other_image():
    others = IMAGES[::-1]
    found = np.asarray(circuits.patching(NETWORK, VARIABLES, IMAGES, others, TARGETS, "relu2"))
    kernel, bias = (np.asarray(VARIABLES["params"]["dense1"][name]) for name in ("kernel", "bias"))
    own, other = (np.asarray(NETWORK.activations(VARIABLES, x)["relu2"]) for x in (IMAGES, others))
    for unit in range(4):
        mixed = own.copy()
        mixed[..., unit] = other[..., unit]
        change = (mixed - own).reshape(4, -1) @ kernel
        np.testing.assert_allclose(found[:, unit], change[np.arange(4), TARGETS], atol=1e-5)
    assert bias.shape == (5,)
    same = circuits.patching(NETWORK, VARIABLES, IMAGES, IMAGES, TARGETS, "relu2")
    np.testing.assert_allclose(same, 0, atol=1e-5)


def test_units_of_a_linen_module_are_silenced_too():
    import flax.linen as nn

    class Small(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.relu(nn.Conv(3, (3, 3))(x))
            x = nn.Dense(4)(x.reshape(len(x), -1))
            return nn.Dense(5)(x)

    variables = Small().init(KEY, IMAGES)
    found = circuits.ablation(adapters.linen(Small()), variables, IMAGES, TARGETS, "Dense_0")
    hidden = Small().apply(variables, IMAGES, capture_intermediates=True)[1]["intermediates"]["Dense_0"]["__call__"][0]
    kernel = variables["params"]["Dense_1"]["kernel"]
    expected = np.asarray(hidden)[:, :, None] * np.asarray(kernel)[None]
    np.testing.assert_allclose(found, expected[np.arange(4), :, TARGETS], atol=1e-5)


def test_a_dictionary_finds_the_features_that_outputs_are_made_of():
    """More sparse features than channels, in random directions: found with a cosine above 0.9 in the
    mean, where random directions have less than 0.8."""
    random = np.random.default_rng(0)
    directions = random.normal(size=(12, 8))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    codes = random.exponential(size=(6000, 12)) * (random.random((6000, 12)) < 0.08)
    outputs = jnp.asarray(codes @ directions, jnp.float32)
    found = dictionary.fit(outputs[:5000], KEY, 24, sparsity=0.15, steps=4000)
    np.testing.assert_allclose(np.linalg.norm(found.decoder, axis=1), 1, rtol=1e-5)
    best = np.abs(directions @ np.asarray(found.decoder).T).max(1)
    by_chance = np.linalg.qr(random.normal(size=(24, 8)))[0]
    by_chance = by_chance / np.linalg.norm(by_chance, axis=1, keepdims=True)
    assert best.mean() > 0.9
    assert np.abs(directions @ by_chance.T).max(1).mean() < 0.8
    weights = jnp.asarray(random.normal(size=(8, 3)), jnp.float32)
    function = WithActivations(
        lambda params, images, shifts: {
            "layer": (hidden := images.reshape(len(images), 8) + shifts.get("layer", 0)), "logits": hidden @ params
        }
    )  # fmt: skip
    held = outputs[5000:].reshape(-1, 2, 2, 2)
    labels = (held.reshape(-1, 8) @ weights).argmax(1)
    judged = dictionary.quality(found, function, weights, "layer", held, labels, cross_entropy)
    assert judged.explained > 0.8
    assert judged.active < 4
    assert judged.recovered > 0.8
    features = np.asarray(found.encode(held.reshape(-1, 8)))
    assert judged.dead == pytest.approx((features == 0).all(0).mean())
    again = found.decode(found.encode(held.reshape(-1, 8)))
    rest = np.square(np.asarray(again) - np.asarray(held).reshape(-1, 8)).sum()
    total = np.square(np.asarray(held).reshape(-1, 8) - np.asarray(held).reshape(-1, 8).mean(0)).sum()
    assert judged.explained == pytest.approx(1 - rest / total, abs=1e-4)
