"""Modules of other libraries, explained: the real packages, against the same network of this one."""

import functools
import os
import re

import flax.linen as linen_module
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from commands import ROOT
from flax import nnx
from initial import variables_of

from cnn_jax.errors import RequestError
from cnn_jax.insight import adapters, attribution, cam, functions, rules, sampling
from cnn_jax.network import Network
from cnn_jax.notation import parse

os.environ.setdefault("KERAS_BACKEND", "jax")  # before it is imported
NETWORK = Network((6, 6, 2), parse("conv3-4 relu dense-3"))
VARIABLES = variables_of(NETWORK)
IMAGES = jnp.asarray(np.random.default_rng(0).normal(size=(2, 6, 6, 2)), jnp.float32)
TARGETS = jnp.array([0, 2])
CONV, DENSE = VARIABLES["params"]["conv1"], VARIABLES["params"]["dense1"]


class Stack(linen_module.Module):
    @linen_module.compact
    def __call__(self, x):
        x = linen_module.relu(linen_module.Conv(4, (3, 3), padding="VALID")(x))
        return linen_module.Dense(3)(x.reshape(len(x), -1))


class NNXStack(nnx.Module):
    def __init__(self, rngs):
        self.conv = nnx.Conv(2, 4, (3, 3), padding="VALID", rngs=rngs)
        self.dense = nnx.Linear(64, 3, rngs=rngs)

    def __call__(self, x):
        return self.dense(nnx.relu(self.conv(x)).reshape(len(x), -1))


def of_linen():
    return adapters.linen(Stack()), {"params": {"Conv_0": CONV, "Dense_0": DENSE}}


def of_nnx():
    model = NNXStack(nnx.Rngs(0))
    for layer, arrays in ((model.conv, CONV), (model.dense, DENSE)):
        layer.kernel[...], layer.bias[...] = arrays["kernel"], arrays["bias"]
    return adapters.nnx(model)


def of_equinox():
    equinox = pytest.importorskip("equinox")

    class Model(equinox.Module):
        conv: equinox.nn.Conv2d
        dense: equinox.nn.Linear

        def __call__(self, image):
            maps = jax.nn.relu(self.conv(image))
            return self.dense(maps.transpose(1, 2, 0).ravel())

    key = jax.random.key(0)
    model = Model(equinox.nn.Conv2d(2, 4, 3, key=key), equinox.nn.Linear(64, 3, key=key))
    arrays = (
        CONV["kernel"].transpose(3, 2, 0, 1), CONV["bias"][:, None, None], DENSE["kernel"].T, DENSE["bias"],
    )  # fmt: skip
    places = lambda m: (m.conv.weight, m.conv.bias, m.dense.weight, m.dense.bias)  # noqa: E731
    return adapters.equinox(equinox.tree_at(places, model, arrays))


def of_keras():
    keras = pytest.importorskip("keras", exc_type=ImportError)
    layers = [keras.layers.Conv2D(4, 3, activation="relu"), keras.layers.Flatten(), keras.layers.Dense(3)]
    model = keras.Sequential([keras.Input((6, 6, 2)), *layers])
    model.set_weights([np.asarray(a[name]) for a in (CONV, DENSE) for name in ("kernel", "bias")])
    return adapters.keras(model)


def of_plain():
    def stack(params, images):
        maps = jax.lax.conv_general_dilated(
            images, params["filters"], (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        maps = jnp.maximum(maps + params["offsets"][None, None, None], 0)
        return maps.reshape(len(images), -1) @ params["weights"] + params["bias"][None]

    return stack, {
        "filters": CONV["kernel"], "offsets": CONV["bias"], "weights": DENSE["kernel"], "bias": DENSE["bias"],
    }  # fmt: skip


KEY, SEGMENTS, BASELINES = jax.random.key(0), sampling.grid(6, 6, 2), IMAGES[::-1] / 2
COLUMNS = {
    "`Network`": lambda: (NETWORK, VARIABLES), "Linen": of_linen, "NNX": of_nnx, "Equinox": of_equinox,
    "Keras": of_keras, "plain function": of_plain,
}  # fmt: skip
NEEDS_LAYERS = {f"`cam.{name}`": getattr(cam, name) for name in (
    "grad_cam", "hires_cam", "layer_cam", "grad_cam_plus_plus", "score_cam", "eigen_cam"
)} | {"`attribution.layer_conductance`": attribution.layer_conductance}  # fmt: skip
METHODS = {
    "`attribution.gradient`": attribution.gradient,
    "`attribution.gradient_times_input`": attribution.gradient_times_input,
    "`attribution.smooth_grad`": functools.partial(attribution.smooth_grad, key=KEY, samples=4),
    "`attribution.integrated_gradients`": lambda *given: attribution.integrated_gradients(*given)[0],
    "`attribution.occlusion`": attribution.occlusion,
    "`sampling.expected_gradients`": lambda *given: sampling.expected_gradients(*given, BASELINES, KEY, 4),
    "`sampling.feature_ablation`": lambda *given: sampling.feature_ablation(*given, SEGMENTS),
    "`sampling.shapley_sampling`": lambda *given: sampling.shapley_sampling(*given, SEGMENTS, KEY, 3),
    "`sampling.lime`": lambda *given: sampling.lime(*given, SEGMENTS, KEY, 40),
    "`sampling.rise`": lambda *given: sampling.rise(*given, KEY, 20, 3),
    "`rules.guided_backpropagation`": rules.guided_backpropagation,
    "`rules.deconvnet`": rules.deconvnet,
    "`rules.relevance`": functools.partial(rules.relevance, rule=rules.Relevance("gamma", "epsilon", 1e-3)),
    "`rules.deep_lift`": rules.deep_lift,
    **NEEDS_LAYERS,
}


def table():
    """The cells of the table of docs/insight.md: what each method explains."""
    text = (ROOT / "docs" / "insight.md").read_text()
    head, _, *rows = re.search(r"<!-- methods -->\n((?:\|.*\n)+)", text)[1].splitlines()
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in (head, *rows)]
    return cells[0][1:], {row[0]: row[1:] for row in cells[1:]}


@jax.numpy_rank_promotion("allow")  # Keras relies on it
@pytest.mark.parametrize("column", COLUMNS)
def test_a_method_explains_a_module_of_another_library_as_the_same_network_here_or_refuses_it(column):
    """As the table says, which names every method."""
    columns, rows = table()
    assert (columns, list(rows)) == (list(COLUMNS), list(METHODS))
    function, params = COLUMNS[column]()
    np.testing.assert_allclose(function(params, IMAGES), NETWORK(VARIABLES, IMAGES), rtol=1e-4, atol=1e-5)
    for name, method in METHODS.items():
        of_layer = {"layer": "Conv_0" if column == "Linen" else "conv1"} if name in NEEDS_LAYERS else {}
        if rows[name][columns.index(column)] != "yes":
            with pytest.raises(RequestError, match=r"no named layers|networks of this package alone"):
                method(function, params, IMAGES, TARGETS, **of_layer)
            continue
        ours = method(NETWORK, VARIABLES, IMAGES, TARGETS, **({"layer": "conv1"} if of_layer else {}))
        theirs = method(function, params, IMAGES, TARGETS, **of_layer)
        np.testing.assert_allclose(theirs, ours, rtol=1e-3, atol=1e-4, err_msg=name)


def test_a_function_of_ones_own_names_its_layers():
    stack, params = of_plain()

    def named(params, images, shifts):
        return {"whole": stack(params, images) + shifts.get("whole", 0)}

    function = functions.WithActivations(named)
    np.testing.assert_allclose(function(params, IMAGES), NETWORK(VARIABLES, IMAGES), rtol=1e-4, atol=1e-5)
    assert list(function.activations(params, IMAGES)) == ["whole"]


def test_the_layers_of_a_linen_module_have_names():
    function, params = of_linen()
    found = function.activations(params, IMAGES)
    assert list(found) == ["Conv_0", "Dense_0", "output"]
    np.testing.assert_allclose(found["Conv_0"], NETWORK.activations(VARIABLES, IMAGES)["conv1"], rtol=1e-4, atol=1e-5)
    for method in cam.METHODS.values():
        theirs = method(function, params, IMAGES, TARGETS, layer="Conv_0")
        ours = method(NETWORK, VARIABLES, IMAGES, TARGETS, layer="conv1")
        np.testing.assert_allclose(theirs, ours, rtol=1e-3, atol=1e-4)
    with pytest.raises(RequestError, match="layer 'conv1' does not exist; there are Conv_0, Dense_0, output"):
        cam.grad_cam(function, params, IMAGES, TARGETS, layer="conv1")


def test_a_submodule_that_is_called_twice_has_two_names():
    class Twice(linen_module.Module):
        @linen_module.compact
        def __call__(self, x):
            dense = linen_module.Dense(2)
            return dense(dense(x.reshape(len(x), -1)[:, :2]))

    function = adapters.linen(Twice())
    params = Twice().init(jax.random.key(0), IMAGES)
    assert list(function.activations(params, IMAGES)) == ["Dense_0", "Dense_0'", "output"]
