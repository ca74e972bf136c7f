"""Layers and their derivatives are torch's in float64 (see torch_layers.py)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch_layers

from cnn_jax.network import Network
from cnn_jax.notation import parse

with np.load(torch_layers.FILE) as file:
    EXPECTED = {key: file[key] for key in file if key != "versions"}
NAMES = list(dict.fromkeys(key.rpartition(" | ")[0] for key in EXPECTED))


@pytest.mark.parametrize("text", NAMES)
def test_a_layer_computes_what_torch_computes(text):
    given = {key.rpartition(" | d ")[2]: value for key, value in EXPECTED.items() if key.startswith(f"{text} | d ")}
    with jax.enable_x64(True):
        images = jnp.asarray(torch_layers.numbers(f"{text} input", torch_layers.SHAPE))
        network = Network(torch_layers.SHAPE[1:], parse(text))
        last = network.nodes[-1].name
        arrays = {
            n: jnp.asarray(torch_layers.numbers(f"{text} {n}", v.shape)) for n, v in given.items() if n != "input"
        }
        shapes = jax.eval_shape(network.init, jax.random.key(0))
        assert {key: leaf.shape for key, leaf in shapes["params"].get(last, {}).items()} == {
            key: array.shape for key, array in arrays.items()
        }
        stats = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), shapes["batch_stats"])
        expected = EXPECTED[f"{text} | output"]

        def function(images, arrays):
            params = {last: arrays} if arrays else {}
            logits, _ = network.apply_train({"params": params, "batch_stats": stats}, images, key=jax.random.key(0))
            return logits.reshape(expected.shape)

        output, pullback = jax.vjp(function, images, arrays)
        of_images, of_arrays = pullback(jnp.asarray(torch_layers.numbers(f"{text} cotangent", expected.shape)))
        np.testing.assert_allclose(output, expected, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(of_images, given["input"], rtol=1e-9, atol=1e-9)
        for name, value in of_arrays.items():
            np.testing.assert_allclose(value, given[name], rtol=1e-9, atol=1e-9, err_msg=name)
