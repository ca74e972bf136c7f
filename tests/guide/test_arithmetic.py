"""The claims of the guide that are arithmetic."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from initial import variables_of

from cnn_jax.layers import Activation, Conv, Dense, Pool
from cnn_jax.losses import cross_entropy, squared_error
from cnn_jax.network import Network
from cnn_jax.notation import parse
from cnn_jax.training.step import batches, epoch_order
from cnn_jax.zoo import NETWORKS


def test_the_softmax_example_is_a_distribution():
    """[0 .1 .1 .75 0 0 0 0 0 .05], and the logits that a softmax makes it of."""
    example = np.array([0, 0.1, 0.1, 0.75, 0, 0, 0, 0, 0, 0.05])
    assert example.sum() == pytest.approx(1.0)
    assert example.min() >= 0
    logits = jnp.log(jnp.asarray(example, jnp.float32))
    np.testing.assert_allclose(jax.nn.softmax(logits), example, atol=1e-6)
    assert float(logits[3]) != pytest.approx(0.75)  # a dense layer's own output is no probability


def test_the_classic_stack_is_in_the_zoo():
    """Convolution, ReLU, convolution, ReLU, pool, ReLU, convolution, ReLU, pool, fully connected; and the ReLU behind a
    ReLU and a max pool changes nothing."""
    network = NETWORKS["guide"].network()
    kinds = [type(node.layer) for node in network.nodes]
    assert kinds == [Conv, Activation, Conv, Activation, Pool, Activation, Conv, Activation, Pool, Dense]
    variables = variables_of(network)
    images = jax.random.normal(jax.random.key(1), (3, 32, 32, 3))
    layers = list(network.layers)
    without = Network(network.input_shape, tuple(layers[:5] + layers[6:]))
    np.testing.assert_array_equal(network.apply(variables, images), without.apply(variables, images))
    dense_first = Network((32, 32, 3), parse("dense-20 relu dense-10"))  # the first layer need not be a convolution
    assert dense_first.outputs == 10


def test_the_loss_of_the_guide():
    """Label 3 as [0 0 0 1 0 0 0 0 0 0]; ½ Σ (target - output)² at outputs of a tenth is 0.45, cross-entropy ln 10."""
    one_hot = jax.nn.one_hot(jnp.array([3]), 10)
    assert one_hot[0].tolist() == [0, 0, 0, 1, 0, 0, 0, 0, 0, 0]
    logits, label = jnp.zeros((1, 10)), jnp.array([3])
    by_hand = 0.5 * sum((float(target) - 0.1) ** 2 for target in one_hot[0])
    assert float(squared_error(logits, label)[0]) == pytest.approx(by_hand, rel=1e-6) == pytest.approx(0.45)
    assert float(cross_entropy(logits, label)[0]) == pytest.approx(np.log(10))


@pytest.mark.parametrize(("examples", "batch", "steps"), [(60_000, 128, 469), (1000, 100, 10), (7, 3, 3)])
def test_an_epoch_is_a_pass_and_not_a_step(examples, batch, steps):
    """One pass over the training set shows every image once, in as many steps as there are batches."""
    epoch = batches(epoch_order(0, 0, examples), batch, 1)
    assert epoch.positions.shape[0] == steps
    shown = epoch.positions[epoch.mask > 0]
    assert sorted(shown.tolist()) == list(range(examples))
