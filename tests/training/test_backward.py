"""Modified backward passes: feedback alignment, the sign of the gradient, noise on it."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_step import NETWORK, run_steps

from cnn_jax.layers import Conv, Dense
from cnn_jax.network import Network
from cnn_jax.notation import parse
from cnn_jax.training import rules
from cnn_jax.training.config import Config

KEY = jax.random.key(5)
LAYERS = ((Dense(7), (4,)), (Conv(3, 3, padding="same"), (6, 5, 2)), (Conv(4, 3, stride=2, groups=2), (7, 7, 2)))


def pulled(layer, variables, x, signal, **context):
    """The value, and the signal's derivatives with respect to the variables and the input."""
    value, back = jax.vjp(lambda v, x: layer.apply(v, x, **context), variables, x)
    return value, *back(signal)


@pytest.mark.parametrize(("layer", "shape"), LAYERS)
def test_feedback_changes_what_goes_back_to_the_input_and_nothing_else(layer, shape):
    x = jax.random.normal(jax.random.key(0), (3, *shape))
    one, two = (layer.init(jax.random.key(seed), x) for seed in (1, 2))
    signal = jax.random.normal(jax.random.key(3), layer.apply(one, x).shape)
    value, to_kernel, to_input = pulled(layer, one, x, signal, feedback_key=KEY)
    plain_value, plain_kernel, plain_input = pulled(layer, one, x, signal)
    np.testing.assert_array_equal(value, plain_value)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6), to_kernel, plain_kernel)
    assert np.abs(to_input - plain_input).max() > 0.1

    other = pulled(layer, two, x, signal, feedback_key=KEY)[2]
    np.testing.assert_allclose(to_input, other, rtol=1e-6, atol=1e-6)  # whatever the kernel is
    assert np.abs(to_input - pulled(layer, one, x, signal, feedback_key=jax.random.key(6))[2]).max() > 0.1


def test_the_gradient_of_a_network_is_that_of_lillicraps_equations():
    """Two dense layers: the error goes back through B, a fixed matrix, found here from what one layer sends back."""
    network = Network((1, 1, 4), parse("dense-5 relu dense-3"))
    variables = network.init(jax.random.key(0))
    x = jax.random.normal(jax.random.key(1), (6, 1, 1, 4))
    error = np.asarray(jax.random.normal(jax.random.key(2), (6, 3)))

    def objective(params):
        return (network.apply_train({"params": params}, x, key=KEY, feedback_key=KEY)[0] * error).sum()

    got = jax.grad(objective)(variables["params"])
    last = {"params": variables["params"]["dense2"]}
    own = jax.random.fold_in(KEY, 1)  # the second layer with weights
    sent = [pulled(Dense(3), last, jnp.zeros((1, 5)), jnp.eye(3)[i : i + 1], feedback_key=own)[2][0] for i in range(3)]
    hidden = np.asarray(x).reshape(6, 4) @ np.asarray(variables["params"]["dense1"]["kernel"])
    back = (error @ np.stack(sent)) * (hidden > 0)
    np.testing.assert_allclose(got["dense1"]["kernel"], np.asarray(x).reshape(6, 4).T @ back, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(got["dense2"]["kernel"], np.maximum(hidden, 0).T @ error, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "change",
    [{"backward": "feedback_alignment"}, {"optimizer": "signsgd", "learning_rate": 0.002}, {"gradient_noise": 1e-4}],
)
def test_a_modified_backward_pass_learns_and_is_another(change):
    base = Config(batch_size=16, learning_rate=0.05)
    losses, state = run_steps(dataclasses.replace(base, **change), NETWORK, 60)
    plain, plain_state = run_steps(base, NETWORK, 60)
    assert losses[0] == pytest.approx(plain[0], rel=1e-6)  # the first forward pass is the same
    assert losses[-8:].mean() < losses[:8].mean()
    kernels = [s.params["conv1"]["kernel"] for s in (state, plain_state)]
    assert np.abs(kernels[0] - kernels[1]).max() > 1e-4


def test_the_sign_is_that_of_the_momentum():
    transformation = rules.signsgd(0.25, momentum=0.5, nesterov=False, weight_decay=0.0)
    gradients = [{"kernel": jnp.asarray([1.0, -4.0, 0.0])}, {"kernel": jnp.asarray([-0.4, 1.0, 0.0])}]
    state = transformation.init(gradients[0])
    for gradient, expected in zip(gradients, ([1, -1, 0], [1, -1, 0]), strict=True):
        got, state = transformation.update(gradient, state, gradient)
        np.testing.assert_array_equal(got["kernel"], -0.25 * np.asarray(expected))


def test_noise_has_the_variance_it_should():
    """One step with and without: the difference of the parameters over the learning rate is the noise."""
    network = Network((8, 8, 1), parse("dense-200 relu dense-10"))
    base = Config(batch_size=64, learning_rate=0.1, momentum=0.0)
    variance = 0.04
    steps = [run_steps(dataclasses.replace(base, gradient_noise=v), network, 2)[1].params for v in (0.0, variance)]
    noise = (np.asarray(steps[1]["dense1"]["kernel"]) - np.asarray(steps[0]["dense1"]["kernel"])) / 0.1
    expected = variance * (1 + 2**-0.55)  # of the first two steps; the gradients hardly differ
    assert noise.var() == pytest.approx(expected, rel=0.15)
