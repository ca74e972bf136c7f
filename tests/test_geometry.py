"""Counts and receptive fields of the zoo against the published ones, and against gradients."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnn_jax import geometry, zoo
from cnn_jax.errors import RequestError
from cnn_jax.layers import Conv, Pool
from cnn_jax.network import Network
from cnn_jax.notation import parse
from cnn_jax.variants import with_filters
from cnn_jax.zoo import NETWORKS, families

PUBLISHED = [name for name, entry in NETWORKS.items() if entry.parameters is not None]


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_network_of_the_zoo_has_its_published_count(name):
    """By arithmetic, and by the shapes that `init` would make; nothing is allocated."""
    entry = NETWORKS[name]
    network = entry.network()
    shapes = jax.eval_shape(network.init, jax.random.key(0))["params"]
    assert network.parameters == entry.parameters
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == entry.parameters
    assert entry.source
    assert network.outputs in (10, 1000)


# Where a count is published layer by layer, or a second source exists.
def test_counts_by_layer():
    def counts(name):
        return [node.parameters for node in NETWORKS[name].network().walk() if node.parameters]

    assert counts("lenet5") == [156, 2_416, 48_120, 10_164, 850]
    assert counts("lenet1989") == [1_068, 2_592, 5_790, 310]  # LeCun et al. 1989
    assert counts("lenet5_1998") == [156, 12, 1_516, 32, 48_120, 10_164]  # LeCun et al. 1998, II.B


def fields(network):
    return {row.node.name: row.fields[0] for row in geometry.rows(network)}


def test_receptive_fields_of_alexnet():
    """Araujo, Norris & Sim 2019, table: size/stride, and the effective padding of the last pool."""
    found = fields(NETWORKS["alexnet"].network())
    assert [(found[n].size, found[n].jump) for n in ("conv1", "max1", "conv2", "conv3")] == [
        (11, 4), (19, 8), (51, 8), (99, 16),
    ]  # fmt: skip
    assert (found["conv4"].size, found["conv5"].size) == (131, 163)
    assert found["max3"] == geometry.Field(195, 32, 64)


def test_receptive_fields_of_vgg16():
    found = fields(NETWORKS["vgg16"].network())
    sliding = [field.size for name, field in found.items() if name.startswith(("conv", "max"))]
    assert sliding == [3, 5, 6, 10, 14, 16, 24, 32, 40, 44, 60, 76, 92, 100, 132, 164, 196, 212]
    assert found["max5"] == geometry.Field(212, 32, 90)
    assert fields(NETWORKS["vgg11"].network())["max5"].size == 150


@pytest.mark.parametrize(("depth", "first", "third"), [(50, 483, 427), (101, 1027, 971), (152, 1507, 1451)])
def test_receptive_fields_of_imagenet_resnets(depth, first, third):
    """Stride on the first 1x1 as published, and on the 3x3 as torchvision."""
    for stride_on, size in (("first 1x1", first), ("3x3", third)):
        network = Network((224, 224, 3), families.resnet(depth, stride_on=stride_on))
        last = list(fields(network).values())[-3]
        assert (last.size, last.jump) == (size, 32)


def test_effective_padding_of_resnet50():
    """241 with the stem's pool padded by 1 on both sides, 239 as TensorFlow pads it, by 0 and 1."""
    layers = families.resnet(50, stride_on="first 1x1")
    assert layers[3] == Pool("max", 3, 2, padding=1)
    assert fields(Network((224, 224, 3), layers))["res16"].padding == 241
    as_tensorflow = (*layers[:3], Pool("max", 3, 2, padding="same"), *layers[4:])
    assert fields(Network((224, 224, 3), as_tensorflow))["res16"].padding == 239


@pytest.mark.parametrize(
    ("name", "layer", "size", "jump"),
    [
        ("resnet18", "res8", 435, 32), ("resnet34", "res16", 899, 32), ("resnet20", "res9", 81, 4),
        ("resnet56", "res27", 249, 4), ("allcnn", "conv9", 27, 4),
        ("lenet5", "conv1", 5, 1), ("lenet5", "avg1", 6, 2), ("lenet5", "conv2", 14, 2), ("lenet5", "avg2", 16, 4),
        ("lenet5", "conv3", 32, 4),
    ],
)  # fmt: skip
def test_receptive_fields_by_calculation(name, layer, size, jump):
    found = fields(NETWORKS[name].network())[layer]
    assert (found.size, found.jump) == (size, jump)


def test_multiply_adds_of_vgg16():
    """15.347 G in the convolutions (Araujo et al. count 2 operations each and biases: 30.71 G), 15.470 G in all."""
    network = NETWORKS["vgg16"].network()
    convolutions = sum(node.multiply_adds for node in network.walk() if isinstance(node.layer, Conv))
    biases = sum(np.prod(node.output) for node in network.walk() if isinstance(node.layer, Conv))
    assert round(convolutions / 1e9, 3) == 15.347
    assert round((2 * convolutions + biases) / 1e9, 2) == 30.71
    assert round(network.multiply_adds / 1e9, 3) == 15.470


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 9999))
def test_the_field_of_a_unit_is_where_its_gradient_is(seed):
    """On random stacks of positive weights the pixels of non-zero gradient are size, jump, padding and centre."""
    random = np.random.default_rng(seed)
    tokens = []
    for _ in range(random.integers(1, 4)):
        k, s, p = random.integers(1, 4), random.integers(1, 3), random.integers(0, 2)
        tokens.append(random.choice([f"conv{k}-2/{s}:pad{min(p, k - 1)}:nobias", f"avg{k}/{s}", f"conv{k}-1:same"]))
    network = Network((24, 24, 1), parse(" ".join(tokens)))
    variables = jax.tree.map(jnp.ones_like, network.init(jax.random.key(0)))
    row = geometry.rows(network)[-1]
    height, width, _ = row.node.output
    y, x = int(random.integers(height)), int(random.integers(width))

    def unit(image):
        return network.activations(variables, image)[row.node.name][0, y, x, 0]

    seen = np.asarray(jax.grad(unit)(jnp.zeros((1, 24, 24, 1)))[0, :, :, 0]) != 0
    for axis, at, field in ((1, y, row.fields[0]), (0, x, row.fields[1])):
        first = at * field.jump - field.padding
        expected = [i for i in range(first, first + field.size) if 0 <= i < 24]
        inside = list(np.flatnonzero(seen.any(axis)))
        assert set(inside) <= set(expected)
        assert field.centre(at) == first + (field.size - 1) / 2
        if all("/" not in token or "/1" in token for token in tokens):
            assert inside == expected  # without strides there are no gaps between the taps


def test_describe_is_the_contract():
    described = geometry.describe(NETWORKS["lenet5"].network())
    assert json.loads(json.dumps(described)) == described
    assert described["input"] == [32, 32, 1]
    assert [layer["name"] for layer in described["layers"]] == [
        "conv1", "tanh1", "avg1", "conv2", "tanh2", "avg2", "conv3", "tanh3", "dense1", "tanh4", "dense2",
    ]  # fmt: skip
    assert described["layers"][0] == {
        "name": "conv1", "kind": "conv", "output": [28, 28, 6], "receptive_field": 5, "jump": 1, "parameters": 156,
        "multiply_adds": 117_600,
    }  # fmt: skip
    assert described["parameters"] == 61_706


def test_the_guides_volumes():
    """Two and three 5x5x3 filters make 28x28x2 and 28x28x3; one makes 784 · 75 = 58,800 multiply-adds."""
    for filters in (1, 2, 3):
        network = Network((32, 32, 3), parse(f"conv5-{filters}"))
        assert network.nodes[0].output == (28, 28, filters)
        assert network.multiply_adds == 58_800 * filters
    assert np.prod((480, 480, 3)) == 691_200


def test_a_zoo_network_meets_other_data():
    network = zoo.build("lenet5", (28, 28, 1), 26)
    assert [node.name for node in network.walk()][:2] == ["pad1", "conv1"]
    assert network.outputs == 26
    assert zoo.build("nin", (32, 32, 3), 7).outputs == 7
    assert zoo.build("lenet5", (28, 28, 3), 10).nodes[1].output == (28, 28, 6)
    with pytest.raises(RequestError, match="dense2: the network ends in 10 logits, but the data has 7 classes"):
        zoo.build("conv3-4 dense-5 dense-10", (28, 28, 1), 7)
    with pytest.raises(RequestError, match=r"network 'lenet6' is unknown \(did you mean lenet5"):
        zoo.build("lenet6", (28, 28, 1), 10)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_of_the_zoo_is_built_for_data(name):
    height, width, channels = NETWORKS[name].input_shape
    fixed = name == "lenet5_1998"  # its output layer has the codes of ten digits
    assert zoo.build(name, (height, width, channels), 10 if fixed else 7).outputs == (10 if fixed else 7)
    if fixed:
        with pytest.raises(RequestError, match="rbf1: the network ends in 10 logits, but the data has 7 classes"):
            zoo.build(name, (32, 32, 1), 7)


def test_filters_scale_in_proportion():
    """The contract: round(its count × N / the first's), at least 1, a multiple of its groups; logits keep theirs."""
    layers = parse("conv5-8 conv5-16 res( conv3-16:same ) conv3-12:g4 conv3-1 dense-64 conv1-10")
    scaled = with_filters(layers[:-1], 3)
    assert [layer.features for layer in scaled if isinstance(layer, Conv)] == [3, 6, 4, 1]
    assert scaled[2].body[0].features == 6
    assert scaled[-1].features == 64
    assert with_filters(parse("conv3-8 conv1-10 gap"), 16)[1].features == 10
    with pytest.raises(RequestError, match="no convolution"):
        with_filters(parse("dense-10"), 4)
