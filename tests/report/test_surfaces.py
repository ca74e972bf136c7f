"""The loss that `see` draws is the run's own."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest

from cnn_jax.data import Split
from cnn_jax.losses import LOSSES
from cnn_jax.network import Network
from cnn_jax.notation import parse
from cnn_jax.report.inspect.overview import POINTS, loss_surfaces
from cnn_jax.training.config import Config


class FigureWriter(dict):
    """Keeps what is drawn: name -> (caption, labels of the axes, data), and what a section says that it shows."""

    def find(self, section, shows, careful):
        self.shows = shows

    def draw(self, section, name, caption, figure, **data):
        self[name] = (
            caption,
            [label for axes in figure().axes for label in (axes.get_ylabel(), axes.get_xlabel())],
            data,
        )


def softmax(logits):
    raised = np.exp(logits - logits.max(1, keepdims=True))
    return raised / raised.sum(1, keepdims=True)


@pytest.mark.parametrize(
    ("name", "title", "of"),
    [
        ("cross_entropy", "cross-entropy (nats)", lambda p, target: -(target * np.log(p)).sum(1)),
        ("squared_error", "half squared error", lambda p, target: 0.5 * ((target - p) ** 2).sum(1)),
    ],
)
def test_the_surfaces_are_those_of_the_runs_loss(name, title, of):
    """The loss before the step, and that in the middle of the plane and at the end of the path, by NumPy."""
    network = Network((4, 4, 1), parse("dense-3"))
    history = [(i, network.init(jax.random.key(i))) for i in range(3)]
    random = np.random.default_rng(0)
    split = Split(random.integers(0, 256, (20, 4, 4, 1), np.uint8), random.integers(0, 3, 20).astype(np.int32))
    trained = SimpleNamespace(config=Config(loss=name, label_smoothing=0.1), normalise=lambda x: x / np.float32(255))
    subject = SimpleNamespace(
        network=network, trained=trained, history=history, variables=history[-1][1], key=jax.random.key,
        request=SimpleNamespace(seed=0),
    )  # fmt: skip
    album = FigureWriter()
    loss_surfaces(subject, album, split)

    def mean(variables):
        layer = variables["params"]["dense1"]
        logits = split.images.reshape(20, 16) / 255 @ np.asarray(layer["kernel"]) + np.asarray(layer["bias"])
        return of(softmax(logits), np.eye(3)[split.labels]).mean()

    assert album["loss-along-gradient"][2]["losses"][0] == pytest.approx(mean(history[0][1]), rel=1e-5)
    middle = album["loss-plane"][2]["losses"][POINTS // 2, POINTS // 2]
    assert middle == pytest.approx(mean(history[-1][1]), rel=1e-5)
    assert LOSSES[name].title == title
    assert f"the run's own loss ({title})" in album["loss-along-gradient"][0]
    losses, rates = album["loss-along-gradient"][2]["losses"], album["loss-along-gradient"][2]["rates"]
    best = losses.argmin()
    assert f"the loss of {losses[0]:.3g} falls to {losses[best]:.3g} at a rate of {rates[best]:.2g}." in album.shows
    for drawn in album:
        assert any(f"mean {title}" in label for label in album[drawn][1]), drawn
