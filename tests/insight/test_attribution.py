"""Every method against a computation of its own: a network with a known answer, a loop in NumPy, a theorem."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from initial import variables_of

from cnn_jax.errors import RequestError
from cnn_jax.insight import attribution, cam, rules
from cnn_jax.layers import Activation, Conv, Dense, GlobalPool, Pool, Residual
from cnn_jax.network import Network
from cnn_jax.notation import parse
from cnn_jax.zoo import build

KEY = jax.random.key(7)


def made(text, shape=(8, 8, 2), seed=0):
    network = Network(shape, parse(text))
    images = np.random.default_rng(seed + 1).normal(size=(3, *shape)).astype(np.float32)
    return network, variables_of(network, seed), jnp.asarray(images), jnp.array([0, 2, 1])


@pytest.fixture(scope="module")
def linear():
    """A network whose logits are W x + b, and W as maps of the images' shape, one for each class."""
    network, variables, images, classes = made("dense-3")
    maps = np.asarray(variables["params"]["dense1"]["kernel"]).T.reshape(3, 8, 8, 2)
    return (network, variables, images, classes), maps[np.asarray(classes)]


def test_of_a_linear_network_every_gradient_is_its_weights(linear):
    given, weights = linear
    images = np.asarray(given[2])
    for method in (attribution.gradient, rules.guided_backpropagation, rules.deconvnet):
        np.testing.assert_allclose(method(*given), weights, rtol=1e-6)
    np.testing.assert_allclose(attribution.smooth_grad(*given, key=KEY), weights, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(attribution.gradient_times_input(*given), weights * images, rtol=1e-6)
    found, gap = attribution.integrated_gradients(*given)
    np.testing.assert_allclose(found, weights * images, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(gap, 0, atol=1e-5)


def test_occlusion_is_a_loop_over_squares(linear):
    given, weights = linear
    images = np.asarray(given[2])
    total, covered = np.zeros((3, 8, 8)), np.zeros((8, 8))
    for y in (0, 2, 4, 6):
        for x in (0, 2, 4, 6):
            square = np.s_[:, y : y + 3, x : x + 3]
            total[square] += (weights * (images - 0.5))[square].sum((1, 2, 3))[:, None, None]
            covered[square[1:]] += 1
    found = attribution.occlusion(*given, size=3, stride=2, fill=0.5)
    np.testing.assert_allclose(found[..., 0], total / covered, rtol=1e-4, atol=1e-5)


def test_the_rules_of_relus_by_hand():
    """Two dense layers with a ReLU between: gradient, guided and deconvnet written out."""
    network, variables, images, classes = made("dense-20 relu dense-3")
    first, second = (np.asarray(variables["params"][name]["kernel"]) for name in ("dense1", "dense2"))
    inside = np.asarray(images).reshape(3, -1) @ first
    signal = second.T[np.asarray(classes)]
    passed, positive = inside > 0, signal > 0
    for method, kept in (
        (attribution.gradient, passed),
        (rules.guided_backpropagation, passed & positive),
        (rules.deconvnet, positive),
    ):
        expected = (np.where(kept, signal, 0) @ first.T).reshape(3, 8, 8, 2)
        np.testing.assert_allclose(method(network, variables, images, classes), expected, rtol=1e-4, atol=1e-5)


def test_the_deconvnet_unpools_to_where_the_maximum_stood():
    network = Network((4, 4, 1), (Pool("max", 2), Dense(1)))
    variables = variables_of(network)
    images = jnp.arange(16.0).reshape(1, 4, 4, 1).at[0, 0, 0, 0].set(99)
    expected = np.zeros((4, 4))
    for (y, x), weight in zip([(0, 0), (1, 3), (3, 1), (3, 3)], variables["params"]["dense1"]["kernel"][:, 0]):  # noqa: B905
        expected[y, x] = weight
    found = rules.deconvnet(network, variables, images, jnp.array([0]))
    np.testing.assert_allclose(found[0, ..., 0], expected)


def test_grad_cam_before_a_global_pool_is_the_class_activation_map():
    """Selvaraju et al. 2017, 3.1: there the weights of Grad-CAM are those of the last layer, over the area."""
    network = Network((8, 8, 2), (Conv(5, 3), Activation("relu"), GlobalPool(), Dense(3)))
    variables = variables_of(network)
    images = jax.random.normal(KEY, (3, 8, 8, 2))
    classes = np.array([0, 2, 1])
    maps = np.asarray(network.activations(variables, images)["relu1"])
    weights = np.asarray(variables["params"]["dense1"]["kernel"]).T[classes] / 36
    expected = np.maximum((maps * weights[:, None, None]).sum(-1), 0)
    assert cam.grad_cam_layer(network) == "relu1"
    found = cam.grad_cam(network, variables, images, jnp.asarray(classes), "relu1")
    np.testing.assert_allclose(found[..., 0], expected, rtol=1e-4, atol=1e-6)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000))
def test_integrated_gradients_are_complete(seed):
    """The gap that is returned is the sum of the map against the difference of two logits, and tanh has a small one."""
    network, variables, images, classes = made("conv3-4 tanh avg2 dense-10 tanh dense-3", seed=seed)
    found, gap = attribution.integrated_gradients(network, variables, images, classes)
    logits = [np.asarray(network.apply(variables, x))[np.arange(3), classes] for x in (images, jnp.zeros_like(images))]
    sums = np.asarray(found).sum((1, 2, 3))
    np.testing.assert_allclose(gap, sums - (logits[0] - logits[1]), atol=2e-5)
    assert np.abs(gap).max() < 1e-3


def test_smooth_grad_is_the_mean_of_gradients_of_noisy_images():
    network, variables, images, classes = made("conv3-4 relu max2 dense-3")
    spread = np.asarray(images).reshape(3, -1)
    spread = 0.2 * (spread.max(1) - spread.min(1))[:, None, None, None]
    gradients = [
        attribution.gradient(network, variables, images + spread * jax.random.normal(key, images.shape), classes)
        for key in jax.random.split(KEY, 4)
    ]
    found = attribution.smooth_grad(network, variables, images, classes, key=KEY, noise=0.2, samples=4)
    np.testing.assert_allclose(found, np.mean(gradients, axis=0), rtol=1e-4, atol=1e-5)


def test_a_rule_changes_the_derivative_alone():
    network, variables, images, classes = made("conv3-4:same relu max2 conv3-6 bn relu gap dense-3")
    both = jnp.concatenate([images, jnp.zeros_like(images)])
    relevance = [rules.Relevance(rule, rule) for rule in ("epsilon", "gamma", "alpha_beta", "z_plus")]
    for rule in (*map(rules.ReLURule, ("guided", "deconvnet", "redirected")), rules.DeepLift(), *relevance):
        np.testing.assert_allclose(
            network.apply(variables, both, rule=rule), network.apply(variables, both), rtol=1e-4, atol=1e-4
        )
    fused = jax.grad(lambda x: network.apply(variables, x)[jnp.arange(3), classes].sum())(images)
    np.testing.assert_allclose(attribution.gradient(network, variables, images, classes), fused, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "name", [pytest.param("resnet8", marks=pytest.mark.slow), "lenet5", "guide", "plain", "residual with projection"]
)
def test_every_method_on_every_kind_of_network(name):
    if name == "resnet8":
        from cnn_jax.zoo.families import cifar_resnet

        network = Network((16, 16, 3), cifar_resnet(8, 4, 10))
    elif name == "plain":
        network = Network((16, 16, 3), parse("conv3-4 relu dense-10"))
    elif name == "residual with projection":
        body = Residual((Conv(6, 3, 2, padding=1), Activation("relu")), "proj")
        network = Network((16, 16, 3), (Conv(4, 3), body, GlobalPool(), Dense(10)))
    else:
        network = build(name, (28, 28, 1) if name == "lenet5" else (32, 32, 3), 10)
    variables = variables_of(network)
    images = jnp.asarray(np.random.default_rng(1).normal(size=(2, *network.input_shape)).astype(np.float32))
    named = attribution.methods(network, KEY)
    assert len(named) == 8
    for method in named.values():
        found = np.asarray(method(network, variables, images, jnp.array([1, 2])))
        assert found.shape[:3] == images.shape[:3]
        assert np.isfinite(found).all()
        assert (found != 0).any()


def test_one_unit_of_a_layer():
    network, variables, images, _ = made("conv3-4 relu max2 dense-3")
    at = {"units": jnp.array([1, 3, 0]), "rows": jnp.array([0, 2, 1]), "columns": jnp.array([2, 0, 1])}
    found = attribution.of_unit(network, variables, images, "conv1", **at)
    kernel = np.asarray(variables["params"]["conv1"]["kernel"])
    expected = np.zeros((3, 8, 8, 2))
    for i, (unit, y, x) in enumerate([(1, 0, 2), (3, 2, 0), (0, 1, 1)]):
        expected[i, y : y + 3, x : x + 3] = kernel[..., unit]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    whole = functools.partial(attribution.of_unit, network, variables, images, "dense1")
    zeros = jnp.zeros(3, int)
    classes = jnp.array([2, 1, 0])
    np.testing.assert_allclose(
        whole(classes, zeros, zeros), attribution.gradient(network, variables, images, classes), rtol=1e-5, atol=1e-6
    )


def test_a_layer_without_maps_is_refused_in_words():
    network, *given = made("conv3-4 relu dense-3")
    with pytest.raises(
        RequestError, match="'dense1' has no maps, its output is \\(3,\\); layers with maps: conv1, relu1"
    ):
        cam.grad_cam(network, *given, layer="dense1")
    with pytest.raises(RequestError, match="layer 'conv9' does not exist; there are conv1, relu1, dense1"):
        cam.grad_cam(network, *given, layer="conv9")
