"""The curvature that `see` draws, beside the Hessian itself."""

from types import SimpleNamespace

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest

from cnn_jax.data import Split
from cnn_jax.insight.landscape import mean_loss
from cnn_jax.losses import LOSSES
from cnn_jax.network import Network
from cnn_jax.notation import parse
from cnn_jax.report.inspect.course import curvature_along


class Writer:
    def find(self, section, shows, careful):
        self.shows = shows

    def draw(self, section, name, caption, figure, **data):
        self.data, self.figure = data, figure()


@pytest.mark.parametrize("text", ["dense-3", "conv2-2 bn relu dense-3"])
@pytest.mark.parametrize("images", [256, 20])
def test_the_largest_eigenvalue_at_checkpoints_is_that_of_the_whole_hessian(text, images):
    network = Network((4, 4, 1), parse(text))
    random = np.random.default_rng(0)
    split = Split(random.integers(0, 256, (images, 4, 4, 1), np.uint8), random.integers(0, 3, images).astype(np.int32))
    history = [(10 * i, network.init(jax.random.key(i))) for i in range(7)]
    trained = SimpleNamespace(
        config=SimpleNamespace(loss="cross_entropy"), normalise=lambda x: jnp.asarray(x / np.float32(255))
    )
    subject = SimpleNamespace(network=network, trained=trained, history=history, key=jax.random.key)
    writer = Writer()
    curvature_along(subject, writer, split)
    assert writer.data["steps"] == [0, 20, 30, 40, 60]
    for step, found in zip(writer.data["steps"], writer.data["largest_eigenvalue"], strict=True):
        variables = history[step // 10][1]
        flat, unravel = jax.flatten_util.ravel_pytree(variables["params"])

        def of(vector, variables=variables, unravel=unravel):
            at = variables | {"params": unravel(vector)}
            return mean_loss(
                network, LOSSES["cross_entropy"], at, trained.normalise(split.images), jnp.asarray(split.labels)
            )

        assert found == pytest.approx(np.linalg.eigvalsh(np.asarray(jax.hessian(of)(flat)))[-1], rel=1e-3)
    assert np.isfinite(writer.data["noise_scale"]).any() == (images == 256)
    assert f"to {writer.data['largest_eigenvalue'][-1]:.3g} over 5 checkpoints" in writer.shows
    assert len(writer.figure.axes) == 3
