"""Layers and networks: one table of all layers drives the tests that concern each of them."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.flatten_util import ravel_pytree

from cnn_jax import layers, notation
from cnn_jax.errors import RequestError
from cnn_jax.layers import (
    BatchNorm,
    Blur,
    ChannelScale,
    Concatenate,
    Conv,
    ConvTranspose,
    Dense,
    Depthwise,
    Dropout,
    DropPath,
    Gate,
    GlobalPool,
    GroupNorm,
    LayerNorm,
    LeakyReLU,
    LocalResponseNorm,
    Pad,
    Pool,
    PReLU,
    RadialBasis,
    Residual,
    SqueezeExcite,
    Subsample,
    Upsample,
    Whiten,
)  # fmt: skip
from cnn_jax.network import Network
from cnn_jax.notation import from_json, parse, to_json
from cnn_jax.zoo import NETWORKS
from cnn_jax.zoo.historic import DIGIT_CODES

TABLE = {
    "Conv": [
        Conv(6, 3), Conv(4, 3, stride=2, padding="same"), Conv(4, 2, padding=1, dilation=2, bias=False),
        Conv(4, 3, groups=2), Conv(3, 3, connections=((0, 1), (1, 3), (0, 2, 3))), Conv(2, 3, bias_per_position=True),
        Conv(4, 3, standardised=True), Conv(4, 1, padding="same", columns=3),
    ],
    "Whiten": [Whiten(2)],
    "Depthwise": [Depthwise(3), Depthwise(3, 2, padding="same", multiplier=2, bias=False)],
    "ConvTranspose": [ConvTranspose(3, 2, 2), ConvTranspose(5, 4, 2, padding=1, bias=False)],
    "Blur": [Blur(3), Blur(4), Blur(5, 1)],
    "Upsample": [Upsample(2), Upsample(3, "bilinear")],
    "Pool": [Pool("max", 2), Pool("avg", 3, 2, padding="same"), Pool("max", 3, 2, padding=1, ceil=True)],
    "Subsample": [Subsample(2)],
    "GlobalPool": [GlobalPool()],
    "Pad": [Pad(2), Pad(1, value=-1.0)],
    "Activation": [layers.Activation(kind) for kind in layers.ACTIVATIONS],
    "LeakyReLU": [LeakyReLU(0.1)],
    "PReLU": [PReLU()],
    "BatchNorm": [BatchNorm(), BatchNorm(scale=False)],
    "LayerNorm": [LayerNorm()],
    "GroupNorm": [GroupNorm(2), GroupNorm(1)],
    "SqueezeExcite": [SqueezeExcite(2), SqueezeExcite(3, "silu", "hardsigmoid")],
    "ChannelScale": [ChannelScale(0.1)],
    "Gate": [Gate(0.5)],
    "DropPath": [DropPath(0.25)],
    "LocalResponseNorm": [LocalResponseNorm(3), LocalResponseNorm(4)],
    "Dropout": [Dropout(0.5)],
    "Dense": [Dense(5), Dense(5, bias=False), Dense(5, scale=0.25)],
    "RadialBasis": [RadialBasis((tuple([1] * 144), tuple([-1] * 144)))],
    "Concatenate": [
        Concatenate(((Conv(3, 1),), (Conv(2, 3, padding=1), BatchNorm()), (), (Pool("max", 3, 1, padding=1),))),
        Concatenate(((Dense(3),), (GlobalPool(), Dense(2)))),
    ],
    "Residual": [
        Residual((Conv(4, 3, padding="same"),)),
        Residual((Conv(6, 3, 2, padding=1, bias=False), BatchNorm()), "proj"),
        Residual((Conv(7, 3, 2, padding=1), layers.Activation("relu")), "padA"),
        Residual((Conv(4, 3, padding=1), Residual((Conv(4, 1),)), layers.Activation("tanh"))),
    ],
}  # fmt: skip
ALL = [layer for entries in TABLE.values() for layer in entries]
SHAPE = (6, 6, 4)


def test_the_table_has_every_layer():
    assert {*TABLE, "Wrapped"} == set(layers.LAYERS)


@pytest.mark.parametrize("layer", ALL, ids=[f"{type(one).__name__}{i}" for i, one in enumerate(ALL)])
def test_every_layer(layer):
    """Shape and count by arithmetic are those of the arrays; finite gradients; bfloat16 in, bfloat16 inside."""
    network = Network(SHAPE, (layer,))
    variables = network.init(jax.random.key(0))
    images = jax.random.normal(jax.random.key(1), (3, *SHAPE))
    outputs = network.activations(variables, images)
    assert [(name, value.shape[1:]) for name, value in outputs.items()] == [(n.name, n.output) for n in network.walk()]
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == network.parameters
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(variables))
    half = network.activations(variables, images.astype(jnp.bfloat16))
    assert {value.dtype for value in half.values()} == {jnp.dtype(jnp.bfloat16)}

    def loss(params):
        train = {**variables, "params": params}
        return jnp.square(network.apply_train(train, images, key=jax.random.key(2))[0]).sum()

    for path, gradient in jax.tree_util.tree_leaves_with_path(jax.jit(jax.grad(loss))(variables["params"])):
        assert jnp.isfinite(gradient).all(), path
        assert (gradient != 0).any(), path
    assert from_json(to_json((layer,))) == (layer,)


def test_batch_norm_is_the_papers_formula_and_keeps_running_statistics():
    x = np.random.default_rng(0).normal(2.0, 3.0, size=(5, 4, 4, 2)).astype(np.float32)
    network = Network((4, 4, 2), (BatchNorm(momentum=0.75),))
    variables = network.init(jax.random.key(0))
    out, stats = network.apply_train(variables, jnp.asarray(x), key=jax.random.key(0))
    mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
    np.testing.assert_allclose(out.reshape(x.shape), (x - mean) / np.sqrt(variance + 1e-5), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(stats["bn1"]["mean"], 0.25 * mean, rtol=1e-5)
    np.testing.assert_allclose(stats["bn1"]["variance"], 0.75 + 0.25 * variance, rtol=1e-5)
    inference = network.apply({"params": variables["params"], "batch_stats": {"bn1": stats["bn1"]}}, jnp.asarray(x))
    expected = (x - 0.25 * mean) / np.sqrt(0.75 + 0.25 * variance + 1e-5)
    np.testing.assert_allclose(inference.reshape(x.shape), expected, rtol=1e-4, atol=1e-5)


def test_masked_examples_have_no_part_in_batch_norm():
    network = Network((4, 4, 2), parse("bn conv3-2"))
    variables = network.init(jax.random.key(0))
    x = jax.random.normal(jax.random.key(1), (6, 4, 4, 2))
    mask = jnp.asarray([1, 1, 1, 1, 0, 0.0])
    masked, masked_stats = network.apply_train(variables, x, key=jax.random.key(0), mask=mask)
    subset, subset_stats = network.apply_train(variables, x[:4], key=jax.random.key(0))
    np.testing.assert_allclose(masked[:4], subset, rtol=1e-5, atol=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), masked_stats, subset_stats)


def test_local_response_norm_is_the_papers_sum():
    x = np.random.default_rng(0).normal(size=(2, 3, 3, 7))
    out = LocalResponseNorm(5, alpha=0.1).apply({}, jnp.asarray(x, jnp.float32))
    expected = np.empty_like(x)
    for i in range(7):
        around = x[..., max(0, i - 2) : min(6, i + 2) + 1]
        expected[..., i] = x[..., i] / (2.0 + 0.1 * (around**2).sum(-1)) ** 0.75
    np.testing.assert_allclose(out, expected, rtol=1e-5)


def test_dropout_keeps_the_mean_and_is_off_outside_training():
    network = Network((40, 40, 1), parse("drop0.3 gap"))
    images = jnp.ones((64, 40, 40, 1))
    assert (network.apply({"params": {}}, images) == 1.0).all()
    first, _ = network.apply_train({"params": {}}, images, key=jax.random.key(0))
    assert float(first.mean()) == pytest.approx(1.0, abs=0.01)
    assert (first != network.apply_train({"params": {}}, images, key=jax.random.key(1))[0]).any()
    two = Network((8, 8, 1), parse("drop0.5 drop0.5"))
    outputs, _ = two.apply_train({"params": {}}, jnp.ones((50, 8, 8, 1)), key=jax.random.key(0))
    assert float((outputs > 0).mean()) == pytest.approx(0.25, abs=0.03)  # two layers, two masks


def test_the_scaled_tanh_is_the_papers():
    """LeCun et al. 1998, appendix A: f(a) = A tanh(S a) with A = 1.7159 and S = 2/3, so that f(1) = 1 and f(-1) = -1,
    and the second derivative is largest there; by the standard library's tanh."""
    stanh = layers.ACTIVATIONS["stanh"]
    at = np.linspace(-4, 4, 33)
    expected = [1.7159 * math.tanh(2 * x / 3) for x in at]
    np.testing.assert_allclose(stanh(jnp.asarray(at, jnp.float32)), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(stanh(jnp.asarray([1.0, -1.0])), [1.0, -1.0], atol=1e-4)
    bends = jax.vmap(jax.grad(jax.grad(stanh)))(jnp.linspace(0, 3, 301))
    assert float(jnp.linspace(0, 3, 301)[jnp.abs(bends).argmax()]) == pytest.approx(1.0, abs=0.03)


def test_the_output_of_lenet_is_minus_the_distance_to_each_drawing():
    """LeCun et al. 1998, II.B: a unit is the squared Euclidean distance to its code, of +1 for ink and -1 for paper,
    and the smallest wins. The codes here are those of the network of 1998, whose drawings have less ink than paper."""
    codes = np.array(DIGIT_CODES)
    assert codes.shape == (10, 84)
    assert set(codes.ravel().tolist()) == {-1, 1}
    assert ((codes > 0).mean(1) < 0.5).all()
    assert codes[1].reshape(12, 7)[:, 3].tolist() == [1] * 12  # the stem of the 1
    assert codes[7].reshape(12, 7)[0].tolist() == [1] * 7  # the bar of the 7
    x = np.random.default_rng(0).normal(size=(5, 84))
    expected = [[-sum((value - c) ** 2 for value, c in zip(row, code, strict=True)) for code in codes] for row in x]
    found = RadialBasis(DIGIT_CODES).apply({}, jnp.asarray(x, jnp.float32))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    network = NETWORKS["lenet5_1998"].network()
    assert network.layers[-1] == RadialBasis(DIGIT_CODES)
    drawings = RadialBasis(DIGIT_CODES).apply({}, jnp.asarray(codes, jnp.float32))
    assert (drawings.argmax(1) == np.arange(10)).all()
    np.testing.assert_array_equal(np.diag(drawings), 0)


def test_the_padded_shortcut_is_option_a():
    """He et al. 2016, 3.3 and 4.1: every second position from the first on, zeros for the new channels, half of them
    before and half after, as the authors' torch code has it. The body is silent here, so that the shortcut is all."""
    body = (Conv(9, 3, 2, padding=1, bias=False),)
    network = Network((7, 6, 4), (Residual(body, "padA"),))
    x = np.random.default_rng(0).normal(size=(2, 7, 6, 4)).astype(np.float32)
    found = network.apply({"params": {"conv1": {"kernel": jnp.zeros((3, 3, 4, 9))}}}, jnp.asarray(x))
    expected = np.zeros((2, 4, 3, 9), np.float32)
    for i in range(4):
        for j in range(3):
            for channel in range(4):
                expected[:, i, j, 2 + channel] = x[:, 2 * i, 2 * j, channel]  # 5 new channels: 2 before, 3 after
    np.testing.assert_array_equal(found.reshape(expected.shape), expected)


def test_he_initialisation_has_the_papers_variance():
    network = Network((8, 8, 64), parse("conv3-128 dense-10"))
    params = network.init(jax.random.key(0))["params"]
    assert float(params["conv1"]["kernel"].std()) == pytest.approx(np.sqrt(2 / (9 * 64)), rel=0.02)
    assert float(params["dense1"]["kernel"].std()) == pytest.approx(np.sqrt(2 / (36 * 128)), rel=0.02)


def test_a_connection_table_is_a_full_convolution_with_zeros():
    table = ((0, 1), (1, 3), (0, 2, 3))
    sparse = Network(SHAPE, (Conv(3, 3, connections=table),))
    variables = sparse.init(jax.random.key(0))
    kernel = np.zeros((3, 3, 4, 3), np.float32)
    weights = iter(np.moveaxis(np.asarray(variables["params"]["conv1"]["kernel"]), -1, 0))
    for f, channels in enumerate(table):
        for channel in channels:
            kernel[:, :, channel, f] = next(weights)
    full = Network(SHAPE, (Conv(3, 3),))
    images = jax.random.normal(jax.random.key(1), (2, *SHAPE))
    expected = full.apply({"params": {"conv1": {"kernel": jnp.asarray(kernel), "bias": jnp.zeros(3)}}}, images)
    np.testing.assert_allclose(sparse.apply(variables, images), expected, rtol=1e-5, atol=1e-6)


def test_the_network_is_its_layers_one_after_the_other():
    """By hand for a small network, with the names that results speak of."""
    network = Network((6, 6, 1), parse("conv3-2 relu max2 dense-3"))
    variables = network.init(jax.random.key(0))
    image = jax.random.normal(jax.random.key(1), (1, 6, 6, 1))
    maps = np.zeros((4, 4, 2))
    for i in range(4):
        for j in range(4):
            patch = np.asarray(image[0, i : i + 3, j : j + 3])
            maps[i, j] = (patch[..., None] * variables["params"]["conv1"]["kernel"]).sum((0, 1, 2))
    pooled = np.maximum(maps, 0).reshape(2, 2, 2, 2, 2).max((1, 3))
    expected = pooled.reshape(-1) @ variables["params"]["dense1"]["kernel"]
    found = network.activations(variables, image)
    assert list(found) == ["conv1", "relu1", "max1", "dense1"]
    np.testing.assert_allclose(found["max1"][0], pooled, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["dense1"][0], expected, rtol=1e-4, atol=1e-5)


def test_gradients_are_the_numeric_ones():
    """Every parameter of a network with all that is differentiable, in float64, by central differences."""
    with jax.enable_x64(True):
        text = "conv3-3:same bn tanh avg2 res( conv3-3/2:pad1:nobias bn ):proj lrn3 sub2 silu dense-4"
        network = Network((8, 8, 2), parse(text))
        variables = jax.tree.map(lambda x: x.astype(jnp.float64), network.init(jax.random.key(0)))
        images = jax.random.normal(jax.random.key(1), (3, 8, 8, 2), jnp.float64)

        @jax.jit
        def loss(params):
            logits, _ = network.apply_train({**variables, "params": params}, images, key=jax.random.key(2))
            return jnp.sin(logits).sum()

        gradient = jax.grad(loss)(variables["params"])
        flat, unravel = ravel_pytree(variables["params"])
        analytic, _ = ravel_pytree(gradient)
        directions = jax.random.normal(jax.random.key(3), (12, flat.size), jnp.float64)
        step = 1e-6
        for direction in directions:
            numeric = (loss(unravel(flat + step * direction)) - loss(unravel(flat - step * direction))) / (2 * step)
            assert float(numeric) == pytest.approx(float(analytic @ direction), rel=1e-6, abs=1e-7)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("conv35-4 dense-10", r"conv1: a window of 35 does not fit its input of 32: .* = -2"),
        ("max2 max2 max2 conv5-3", r"conv1: a window of 5 does not fit its input of 4"),
        ("dense-10 conv3-4", r"conv1: its input \(10,\) has no height and width"),
        ("conv3-0", "conv1: 0 filters: at least 1"),
        ("conv3-4:g2", "conv1: 3 input channels and 4 filters do not split in 2"),
        ("res( conv3-3 )", "res1: the identity shortcut makes 32x32x3 of 32x32x3 but the body makes 30x30x3"),
        ("drop1.5", r"drop1: dropout rate 1.5 must lie in \[0, 1\)"),
        ("dense-0", "dense1: 0 units"),
        ("conv3-4/0", "conv1: size 3, stride 0"),
        ("", "a network needs at least one layer"),
    ],
)
def test_a_network_that_cannot_be_is_refused(text, message):
    with pytest.raises(RequestError, match=message):
        Network((32, 32, 3), parse(text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("conv5", "token 'conv5' is unknown; tokens are .*conv<size>-<features>"),
        ("conv5-4:g", "option ':g' is unknown; valid here: :valid :same :pad<padding> :g<groups> :d<dilation> :nobias"),
        ("max2:nobias", "option ':nobias' is unknown"),
        ("conv3-4:same:pad1", "sets its padding twice"),
        ("relu:same", "option ':same' is unknown; valid here: none"),
        ("res( conv3-3", r"'res\(' without '\)'"),
        (") conv3-3", r"'\)' without 'res\('"),
        ("res( relu ):projection", "option ':projection' is unknown; valid here: :proj :padA"),
    ],
)
def test_text_that_is_no_network_is_refused_with_what_would_be_right(text, message):
    with pytest.raises(RequestError, match=message):
        parse(text)


def test_json_that_is_no_network_is_refused():
    with pytest.raises(RequestError, match="is no layer"):
        from_json([{"layer": "Convolution"}])
    with pytest.raises(RequestError, match="Conv has no field 'filters'; it has features, size"):
        from_json([{"layer": "Conv", "filters": 3}])
    with pytest.raises(RequestError, match="Conv: missing"):
        from_json([{"layer": "Conv", "features": 3}])
    with pytest.raises(RequestError, match="Dense features = '10' has the wrong type; expected a whole number"):
        from_json([{"layer": "Dense", "features": "10"}])
    with pytest.raises(RequestError, match="Conv padding = 'foo' has the wrong type; expected 'valid' or 'same' or"):
        from_json([{"layer": "Conv", "features": 3, "size": 3, "padding": "foo"}])
    with pytest.raises(RequestError, match="is no layer"):
        from_json([{"layer": []}])
    with pytest.raises(RequestError, match="Residual body = 3 has the wrong type"):
        from_json([{"layer": "Residual", "body": 3}])


paddings = st.sampled_from(["valid", "same"]) | st.integers(0, 3)
sizes = st.integers(1, 7)
simple_layers = st.one_of(
    st.builds(
        Conv, features=st.integers(1, 64), size=sizes, stride=st.integers(1, 3), padding=paddings,
        dilation=st.integers(1, 3), groups=st.integers(1, 4), bias=st.booleans(),
    ),
    st.builds(Pool, kind=st.sampled_from(["max", "avg"]), size=sizes, padding=paddings, ceil=st.booleans()),
    st.builds(layers.Activation, kind=st.sampled_from(sorted(layers.ACTIVATIONS))),
    st.builds(Dropout, rate=st.integers(0, 999).map(lambda n: n / 1000)),
    st.builds(Dense, features=st.integers(1, 99), bias=st.booleans()),
    st.builds(Pad, amount=st.integers(0, 5), value=st.floats(-3, 3)),
    st.builds(LocalResponseNorm, size=sizes, beta=st.floats(0.1, 2.0), alpha=st.floats(1e-12, 1.0)),
    st.builds(Subsample, size=sizes),
    st.sampled_from([BatchNorm(), GlobalPool(), Pool("max", 3, 2), Pool("avg", 2, 1)]),
)  # fmt: skip
any_layer = st.recursive(
    simple_layers,
    lambda inner: st.builds(
        Residual, body=st.lists(inner, min_size=1, max_size=3).map(tuple),
        shortcut=st.sampled_from(["identity", "proj", "padA"]),
    ),
    max_leaves=4,
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.lists(any_layer, min_size=1, max_size=6).map(tuple))
def test_text_and_json_give_back_the_network(network):
    assert parse(notation.format(network)) == network
    assert from_json(to_json(network)) == network


def test_what_text_cannot_say_is_refused_and_not_lost():
    for layer in (Conv(1, 3, connections=((0,),)), RadialBasis(((1, -1), (-1, 1)))):
        with pytest.raises(RequestError, match="JSON form"):
            notation.format((layer,))
        assert from_json(to_json((layer,))) == (layer,)
