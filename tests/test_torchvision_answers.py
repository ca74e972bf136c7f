"""Networks with torchvision's weights answer what torchvision answered (see torchvision_outputs.py)."""

import jax
import numpy as np
import pytest
import torchvision_outputs

from cnn_jax.runs import weights
from cnn_jax.zoo import NETWORKS

slow = pytest.mark.slow
QUICK = ("alexnet", "resnet18", "mobilenet_v3_small")
MODELS = [pytest.param(name, marks=() if name in QUICK else slow) for name in torchvision_outputs.MODELS]


@pytest.mark.parametrize("name", MODELS)
def test_outputs_are_torchvisions(name):
    """From the very names and shapes of its state dict, to a ten-thousandth of the largest logit."""
    with np.load(torchvision_outputs.FILE) as file:
        expected, lines = file[name], [line.split() for line in file[f"{name} state"]]
    arrays = torchvision_outputs.state({key: tuple(map(int, shape)) for key, *shape in lines})
    network = NETWORKS[{"alexnet": "alexnet_owt"}.get(name, name)].network()
    like = jax.eval_shape(lambda: network.init(jax.random.key(0)))
    variables = weights.fitted(network, like, arrays, "a state dict")
    outputs = jax.jit(network.apply)(variables, torchvision_outputs.image().transpose(0, 2, 3, 1))
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=1e-4 * np.abs(expected).max())
