"""Rules for any function: what is found by tracing it are the layers of the same network here."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from initial import variables_of

from cnn_jax.errors import RequestError
from cnn_jax.insight import rules
from cnn_jax.insight.rules import Relevance, ReLURule
from cnn_jax.insight.traced import Traced
from cnn_jax.network import Network
from cnn_jax.notation import parse

NETWORK = Network((8, 8, 2), parse("conv3-4:same bn relu max2 res( conv3-4:same tanh conv3-4:same ) relu avg2 dense-3"))
IMAGES = jnp.asarray(np.random.default_rng(0).normal(size=(3, 8, 8, 2)), jnp.float32)
TARGETS = jnp.array([0, 2, 1])
EACH = [
    ReLURule("guided"), ReLURule("deconvnet"), *(Relevance(rule, rule) for rule in (
        "epsilon", "gamma", "alpha_beta", "z_plus"
    )),
]  # fmt: skip


class Residual(nn.Module):
    """The network above, in Linen, with a convolution under `nn.remat`, and ReLUs written in three ways."""

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(4, (3, 3))(x)
        x = jnp.maximum(nn.BatchNorm(use_running_average=True)(x), 0)
        x = nn.max_pool(x, (2, 2), (2, 2))
        branch = nn.Conv(4, (3, 3))(jnp.tanh(nn.remat(nn.Conv)(4, (3, 3), name="first")(x)))
        x = jax.jit(nn.relu)(branch + x)
        return nn.Dense(3)(nn.avg_pool(x, (2, 2), (2, 2)).reshape(len(x), -1))


def weights():
    """The same random numbers for both, also for the statistics of the batch norm."""
    ours = variables_of(NETWORK)
    names = {"conv1": "Conv_0", "bn1": "BatchNorm_0", "conv2": "first", "conv3": "Conv_1", "dense1": "Dense_0"}
    mean, variance = jnp.arange(4) / 7, jnp.arange(1, 5) / 3
    ours["batch_stats"]["bn1"] = {"mean": mean, "variance": variance}
    theirs = {names[name]: arrays for name, arrays in ours["params"].items()}
    return ours, {"params": theirs, "batch_stats": {"BatchNorm_0": {"mean": mean, "var": variance}}}


@pytest.mark.parametrize("rule", EACH, ids=str)
def test_the_derivative_under_a_rule_is_that_of_the_network(rule):
    ours, theirs = weights()
    given = IMAGES, TARGETS, rule
    expected = rules.ruled_gradient(NETWORK, ours, *given)
    found = rules.ruled_gradient(Residual().apply, theirs, *given)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * float(jnp.abs(expected).max()))
    assert not np.allclose(found, jax.grad(lambda x: Residual().apply(theirs, x)[jnp.arange(3), TARGETS].sum())(IMAGES))


@pytest.mark.parametrize("rule", EACH, ids=str)
def test_values_are_those_of_the_function(rule):
    _, params = weights()
    plain, ruled = Residual().apply, Traced(Residual().apply, rule)
    np.testing.assert_allclose(ruled(params, IMAGES), plain(params, IMAGES), rtol=1e-4, atol=1e-4)


def test_relevance_adds_up_to_the_logit_without_biases():
    def stack(params, x):
        return nn.relu(x.reshape(len(x), -1) @ params[0]) @ params[1]

    key = jax.random.key(0)
    params = jax.random.normal(key, (128, 9)), jax.random.normal(key, (9, 3))
    found = rules.relevance(stack, params, IMAGES, TARGETS, Relevance(epsilon=1e-9))
    logits = stack(params, IMAGES)[jnp.arange(3), TARGETS]
    np.testing.assert_allclose(found.sum((1, 2, 3)), logits, rtol=1e-4)


def gated(params, x):
    return (x * jax.nn.sigmoid(x @ params)).sum((1, 2))


def looped(params, x):
    return jax.lax.scan(lambda y, _: (nn.relu(y @ params), None), x, None, 2)[0].sum((1, 2))


@pytest.mark.parametrize(
    ("function", "rule", "words"),
    [
        (gated, Relevance(), "relevance propagation has no rule for mul"),
        (lambda params, x: jnp.exp(x @ params).sum((1, 2)), Relevance(), "relevance propagation has no rule for exp"),
        (looped, ReLURule("guided"), "no rule can stand for what is in a loop"),
    ],
)
def test_what_has_no_rule_is_refused_by_its_name(function, rule, words):
    with pytest.raises(RequestError, match=words):
        rules.ruled_gradient(function, jnp.eye(2), IMAGES, jnp.array([0, 1, 1]), rule)


def test_a_gate_is_no_obstacle_to_a_rule_for_relus():
    targets = jnp.array([0, 1, 1])
    found = rules.guided_backpropagation(gated, jnp.eye(2), IMAGES, targets)
    np.testing.assert_allclose(
        found, jax.grad(lambda x: gated(jnp.eye(2), x)[jnp.arange(3), targets].sum())(IMAGES), rtol=1e-5
    )
