"""The forward and backward pass in a real browser: JAX's, for every layer that it knows."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from browser import chromium
from initial import variables_of

from cnn_jax.errors import RequestError
from cnn_jax.network import Network
from cnn_jax.notation import parse
from cnn_jax.report import assets
from cnn_jax.report.inspect.program import ProgramWriter
from cnn_jax.zoo import NETWORKS, layers_of

NETWORK_TEXTS = [
    "conv5-6 tanh avg2 conv3-4:same stanh max2 dense-12 sigmoid dense-3",
    "conv3-8:same:nobias bn relu res( conv3-8:same:g2 bn gelu conv3-8:same scale0.5 ) silu gap dense-4",
    "conv3-4/2:pad1 relu6 res( conv3-8/2:same bn elu conv3-8:same bn ):proj mish gap dense-3",
    "conv3-4:same hardswish res( conv3-8/2:same hardsigmoid conv3-8:same ):padA leaky0.1 dense-2",
    "pad2 conv3-4:d2 prelu cat( conv1-2 | conv3-3:same relu | ) max3/2:pad1 drop0.5 dense-5",
    "dwconv3/2:same:m2 relu conv1-5:ws gate0.3 avg3/2:ceil gap dense-3:nobias",
]


def executed(browser, network, variables, image, targets):
    """Logits, and gradients of some, as the browser computes them."""
    writer = ProgramWriter(network)
    given = json.dumps({
        "program": writer.program(variables), "weights": writer.weights(variables),
        "image": np.asarray(image, float).ravel().tolist(), "targets": targets,
    })  # fmt: skip
    return browser.run(
        f"const given = {given};"
        "const all = Compute.weightsOf(given.program, Compute.decode(given.weights));"
        "const values = Compute.forward(given.program, all, Float64Array.from(given.image));"
        "const gradients = given.targets.map(t => Array.from(Compute.backward(given.program, all, values, t)));"
        "return [Array.from(values.at(-1)), gradients];"
    )


def test_logits_and_gradients_are_those_of_jax(tmp_path):
    (tmp_path / "page.html").write_text(f"<!doctype html><title>c</title><script>{assets.text('compute.js')}</script>")
    networks = [Network((13, 11, 2), parse(text)) for text in NETWORK_TEXTS]
    networks += [Network(NETWORKS[name].input_shape, layers_of(name)) for name in ("lenet5", "lenet1989")]
    with chromium(tmp_path / "profile") as browser:
        browser.open(tmp_path / "page.html")
        for network in networks:
            variables = variables_of(network, 3)
            random = np.random.default_rng(0)
            stats = {
                name: {"mean": random.normal(size=x["mean"].shape), "variance": 0.5 + random.random(x["mean"].shape)}
                for name, x in variables["batch_stats"].items()
            }
            variables = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), {**variables, "batch_stats": stats})
            image = jnp.asarray(random.normal(size=(1, *network.input_shape)), jnp.float32)
            targets = [0, network.outputs - 1]
            logits, gradients = executed(browser, network, variables, image, targets)
            with jax.default_matmul_precision("highest"):
                expected = network(variables, image)[0]
                slopes = [jax.grad(lambda x, t=t: network(variables, x)[0, t])(image)[0] for t in targets]  # noqa: B023
            np.testing.assert_allclose(logits, expected, atol=1e-4, rtol=1e-4)
            for found, slope in zip(gradients, slopes, strict=True):
                np.testing.assert_allclose(np.reshape(found, slope.shape), slope, atol=1e-4, rtol=1e-3)
        assert browser.console() == []


def test_a_layer_that_a_browser_does_not_know_is_named():
    with pytest.raises(RequestError, match=r"lrn1 \(lrn\) does not run in a browser"):
        ProgramWriter(Network((8, 8, 1), parse("conv3-4 lrn3 dense-2")))
