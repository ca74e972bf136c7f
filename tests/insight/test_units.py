"""Units, receptive fields, synthesis, tuning: against brute force, arithmetic and known filters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from initial import variables_of

from cnn_jax.errors import RequestError
from cnn_jax.insight import fields, tuning, units
from cnn_jax.layers import Conv, Dense
from cnn_jax.network import Network
from cnn_jax.notation import parse
from cnn_jax.zoo import build
from cnn_jax.zoo.families import cifar_resnet, vgg

KEY = jax.random.key(3)


def made(text, shape=(8, 8, 1), n=200):
    network = Network(shape, parse(text))
    return network, variables_of(network), np.random.default_rng(1).normal(size=(n, *shape)).astype(np.float32)


def test_the_strongest_patches_are_those_of_a_full_search():
    network, variables, images = made("conv3-4:same relu max2 conv3-5 dense-3")
    found = units.strongest(network, variables, images, ["conv1", "conv2", "dense1"], count=4)
    outputs = network.activations(variables, jnp.asarray(images))
    for layer, one in found.items():
        maps = np.asarray(outputs[layer])
        maps = maps.reshape(len(images), *(maps.shape[1:] if maps.ndim == 4 else (1, 1, maps.shape[-1])))
        for unit in range(maps.shape[-1]):
            largest = maps[..., unit].reshape(len(images), -1).max(1)
            order = np.argsort(-largest, kind="stable")[:4]
            assert one.images[unit].tolist() == order.tolist()
            np.testing.assert_allclose(one.values[unit], largest[order], rtol=1e-5)
            at = one.images[unit], one.rows[unit], one.columns[unit]
            np.testing.assert_allclose(maps[..., unit][at], one.values[unit], rtol=1e-5)


def test_a_patch_is_all_that_a_unit_sees():
    """Changing every pixel outside of the box leaves the unit as it is; the box of a border unit reaches out."""
    network, variables, images = made("conv3-4:same relu max2 conv3-5:same", n=10)
    one = units.strongest(network, variables, images, ["conv2"], count=1)["conv2"]
    for unit in range(5):
        image, box = images[one.images[unit, 0]], one.boxes[unit, 0]
        assert (box[1] - box[0], box[3] - box[2]) == (8, 8)
        top, bottom, left, right = np.clip(box, 0, 8)
        other = np.full_like(image, 5.0)
        other[top:bottom, left:right] = image[top:bottom, left:right]
        found = network.activations(variables, jnp.asarray(other[None]))["conv2"]
        value = found[0, one.rows[unit, 0], one.columns[unit, 0], unit]
        np.testing.assert_allclose(value, one.values[unit, 0], rtol=1e-5)
    patch = units.cut(np.ones((8, 8, 1)), (-2, 6, 3, 11), 0.25)
    expected = np.full((8, 8, 1), 0.25)
    expected[2:8, 0:5] = 1
    np.testing.assert_array_equal(patch, expected)
    assert (units.cut(np.ones((8, 8, 1)), (-9, -1, 0, 8), 0.0) == 0).all()


@pytest.mark.parametrize("text", ["dense-3", "conv3-4 relu max2 dense-3", "conv3-4 relu gap dense-3:nobias"])
def test_votes_sum_to_the_logits(text):
    network, variables, images = made(text, n=5)
    found = units.votes(network, variables, jnp.asarray(images))
    logits = network.apply(variables, jnp.asarray(images))
    np.testing.assert_allclose(found.contributions.sum(1) + found.bias, logits, rtol=1e-4, atol=1e-5)
    kernel = np.asarray(variables["params"]["dense1"]["kernel"])
    np.testing.assert_allclose(found.contributions, found.features[:, :, None] * kernel, rtol=1e-6)


def test_what_is_not_there_is_refused_in_words():
    network, variables, images = made("conv3-4 relu gap", n=2)
    with pytest.raises(RequestError, match="ends in gap1, not in a dense layer"):
        units.votes(network, variables, jnp.asarray(images))
    with pytest.raises(RequestError, match="unit 4 of conv1 does not exist; it has 0 to 3"):
        units.check_units(network.node("conv1"), (0, 4))
    with pytest.raises(RequestError, match="no convolution"):
        units.first_filters(Network((8, 8, 1), (Dense(3),)), {})


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("lenet5", marks=pytest.mark.slow),
        pytest.param("vgg16 to its fourth pool", marks=pytest.mark.slow),
        pytest.param("resnet20", marks=pytest.mark.slow),
        "strides",
    ],
)
def test_the_three_receptive_fields_agree_where_theory_says_so(name):
    """Arithmetic is the support of the gradient exactly; the effective field is never larger."""
    if name == "lenet5":
        network = build(name, (32, 32, 1), 10)
    elif name == "resnet20":
        network = Network((32, 32, 3), cifar_resnet(20, 2))
    elif name == "strides":
        network = Network((33, 40, 1), parse("conv5-2/2:pad1 max3/2:same conv3-2:d2 avg2:ceil conv2-2 dense-3"))
    else:
        network = Network((128, 128, 3), vgg(16, 2)[:24])
    variables = variables_of(network)
    images = jnp.asarray(np.random.default_rng(1).normal(size=(4, *network.input_shape)).astype(np.float32))
    found = fields.receptive_fields(network, variables, images)
    assert [one.layer for one in found] == [node.name for node in network.walk()]
    for one in found:
        assert one.support == one.closed_form, one
        area = np.prod([high - low for low, high in one.closed_form])
        assert one.effective**2 <= area + 1e-6, one
    if name == "lenet5":
        assert [one.size[0] for one in found if one.kind == "conv"] == [5, 14, 32]
    if name == "resnet20":
        assert found[-3].size == (81, 81)  # before the global pool: larger than the image
        assert found[-3].closed_form == ((0, 32), (0, 32))


def test_the_effective_field_of_averages_is_the_power_of_the_kernel():
    """Of k layers that average 3x3 without a nonlinearity the influence is the k-fold convolution of a box: exactly."""
    network = Network((21, 21, 1), tuple(Conv(1, 3) for _ in range(4)))
    average = {"kernel": jnp.full((3, 3, 1, 1), 1 / 9), "bias": jnp.zeros(1)}
    variables = {"params": {f"conv{i}": average for i in range(1, 5)}, "batch_stats": {}}
    profile = np.ones(1)
    for _ in range(4):
        profile = np.convolve(profile, np.ones(3) / 3)
    influence = np.outer(profile, profile)
    expected = np.sqrt((influence > (1 - 0.9545) * influence.max()).sum())
    found = fields.receptive_fields(network, variables, jnp.zeros((1, 21, 21, 1)))[-1]
    assert found.effective == pytest.approx(expected)
    assert found.size == (9, 9)


def gabor(angle, frequency, size=15, spread=3.0):
    y, x = np.mgrid[:size, :size] - size // 2
    along = x * np.cos(np.deg2rad(angle)) + y * np.sin(np.deg2rad(angle))
    return np.exp(-(x**2 + y**2) / (2 * spread**2)) * np.cos(2 * np.pi * frequency * along)


def test_tuning_of_known_filters():
    """The response of a linear unit to a grating is the magnitude of its filter's Fourier transform there; a Gabor
    filter prefers its own orientation and frequency; a round filter prefers none."""
    size = 15
    y, x = np.mgrid[:size, :size] - size // 2
    kernels = [gabor(40, 0.2), gabor(120, 0.1), np.exp(-(x**2 + y**2) / 8.0), np.zeros((size, size))]
    network = Network((size, size, 1), (Conv(4, size, bias=False),))
    kernel = np.stack(kernels, -1)[:, :, None].astype(np.float32)
    found = tuning.tuning(network, {"params": {"conv1": {"kernel": jnp.asarray(kernel)}}, "batch_stats": {}}, ["conv1"])
    one = found["conv1"]
    for i, orientation in enumerate(one.orientations):
        for j, frequency in enumerate(one.frequencies):
            along = x * np.cos(np.deg2rad(orientation)) + y * np.sin(np.deg2rad(orientation))
            transform = np.exp(2j * np.pi * frequency * along).ravel() @ kernel.reshape(-1, 4)
            # eight phases miss the largest by at most cos(22.5 degrees)
            assert (one.responses[:, i, j] <= np.abs(transform) + 1e-3).all()
            assert (one.responses[:, i, j] >= np.cos(np.pi / 8) * np.abs(transform) - 1e-3).all()
    assert one.preferred[:2].tolist() == [40, 120]
    np.testing.assert_allclose(one.frequency[:2], [0.2, 0.1])
    assert (one.selectivity[:2] > 0.5).all()
    assert one.selectivity[2] < 0.05
    assert np.isnan(one.selectivity[3])
    assert np.isnan(one.preferred[3])
    assert one.bandwidth[0] < 60 < one.bandwidth[2]


def test_selectivity_and_bandwidth_of_curves_written_down():
    orientations = np.arange(0, 180, 10.0)
    only_one = np.where(orientations == 30, 2.0, 0.0)
    everywhere = np.full(18, 3.0)
    triangle = np.maximum(0, 1 - np.abs((orientations - 90) / 40))
    curves = np.stack([only_one, everywhere, triangle])
    np.testing.assert_allclose(tuning.selectivity(orientations, curves)[:2], [1, 0], atol=1e-12)
    found = tuning.summarised(orientations, np.array([0.1]), curves[:, :, None])
    np.testing.assert_allclose(found.bandwidth, [10, 180, 40])
    assert found.preferred.tolist() == [30, 0, 90]
