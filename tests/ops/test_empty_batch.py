"""A batch of no images: the right empty shapes and zero gradients from every layer and operation, no crash."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnn_jax import notation, ops
from cnn_jax.layers import RadialBasis
from cnn_jax.network import Network
from cnn_jax.ops import Window
from cnn_jax.ops.native import library

NATIVE = pytest.param("native", marks=pytest.mark.skipif(not library.available(), reason="no compiler"))
every = pytest.mark.parametrize("implementation", [pytest.param("lax", marks=pytest.mark.slow), "canonical", NATIVE])

TEXT = (
    "conv3-4:same relu max2 bn relu conv3-4:pad1:g2:d2 max3/2:pad1:ceil res( conv3-8:same ):padA avg2:same sub2 "
    "res( conv1-6 ):proj pad1 lrn3 stanh drop0.5 dense-5 dense-4"
)


@every
def test_a_network_of_every_layer_takes_no_images(implementation):
    layers = (*notation.parse(TEXT), RadialBasis(((1, -1, 1, -1), (-1, 1, 1, 1))))
    network = Network((16, 16, 3), layers)
    with ops.using(implementation):
        variables = network.init(jax.random.key(0))
        images = jnp.zeros((0, 16, 16, 3))

        def loss(params, images):
            logits, stats = network.apply_train(
                variables | {"params": params}, images, key=jax.random.key(1), mask=jnp.ones(images.shape[0])
            )
            return logits.sum(), stats

        for apply in (network.apply, jax.jit(network.apply)):
            logits = apply(variables, images)
            assert (logits.shape, logits.dtype) == ((0, 2), jnp.float32)
        outputs = jax.jit(network.activations)(variables, images)
        assert {name: x.shape for name, x in outputs.items()} == {n.name: (0, *n.output) for n in network.walk()}
        of_params, stats = jax.jit(jax.grad(loss, has_aux=True))(variables["params"], images)
        for leaf in jax.tree.leaves(of_params):
            np.testing.assert_array_equal(leaf, 0)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(stats))
        of_images = jax.jit(jax.grad(lambda x: network.apply(variables, x).sum()))(images)
        assert of_images.shape == images.shape
        side_by_side = jax.jit(jax.vmap(network.apply, (None, 0)))
        assert side_by_side(variables, jnp.zeros((3, *images.shape))).shape == (3, 0, 2)
        assert side_by_side(variables, jnp.zeros((0, 2, 16, 16, 3))).shape == (0, 2, 2)


@every
def test_every_operation_takes_no_images(implementation):
    rows, columns = Window.along(9, 3, 2, 1), Window.along(8, 3, 1, "same")
    kernel, bias = jnp.ones((3, 3, 2, 4)), jnp.ones(4)
    images, mask = jnp.zeros((0, 9, 8, 2)), jnp.zeros(0)
    operations = {
        "convolution": (lambda x, k: ops.convolution(x, k, rows, columns), (0, 5, 8, 4)),
        "pooled": (lambda x, k: ops.convolution_pooled(x, k, bias, rows, columns, 1, 2, True), (0, 2, 4, 4)),
        "max": (lambda x, k: ops.max_pool(x, rows, columns), (0, 5, 8, 2)),
        "average": (lambda x, k: ops.average_pool(x, rows, columns), (0, 5, 8, 2)),
        "affine": (lambda x, k: ops.affine(x, bias[:2], bias[:2], True), (0, 9, 8, 2)),
        "mean": (lambda x, k: ops.moments(x, mask)[0], (2,)),
        "variance": (lambda x, k: ops.moments(x, mask)[1], (2,)),
    }
    with ops.using(implementation):
        for name, (operation, shape) in operations.items():
            for run in (operation, jax.jit(operation)):
                made = run(images, kernel)
                assert made.shape == shape, name
                np.testing.assert_array_equal(made, np.zeros(shape), name)
            value, (of_images, of_kernel) = jax.value_and_grad(
                lambda x, k, operation=operation: operation(x, k).sum(), (0, 1)
            )(images, kernel)
            assert (value, of_images.shape) == (0, images.shape), name
            np.testing.assert_array_equal(of_kernel, 0, name)
