"""At chance: a property of the scored weights, whatever the training loss was, beside a measured accuracy."""

import math

import numpy as np
import pytest
from folders import evaluation
from PIL import Image
from scipy import stats

from cnn_jax import api
from cnn_jax.grids.grid import Grid
from cnn_jax.runs.task import at_chance
from cnn_jax.training.config import Config

LABELS = np.array([0] * 30 + [1] * 10)
ENTROPY = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))


def scored(correct, loss, labels=LABELS):
    return evaluation(correct / len(labels), len(labels), loss)


def test_both_must_hold_no_better_loss_and_no_better_accuracy():
    assert at_chance("cross_entropy", LABELS, scored(30, ENTROPY + 1e-6))
    assert not at_chance("cross_entropy", LABELS, scored(30, ENTROPY - 1e-6))
    assert at_chance("cross_entropy", LABELS, scored(30, 9.0))
    assert not at_chance("cross_entropy", LABELS, scored(40, 9.0)), "sure mistakes elsewhere make a loss, not chance"
    assert at_chance("squared_error", LABELS, scored(30, 0.5 * (1 - 0.75**2 - 0.25**2)))


@pytest.mark.parametrize("labels", [LABELS, np.arange(200) % 10, np.zeros(5, int)])
def test_the_accuracy_is_compared_by_an_exact_binomial_test_at_one_percent(labels):
    share, n = np.bincount(labels).max() / len(labels), len(labels)
    for correct in range(n + 1):
        above = stats.binom.sf(correct - 1, n, share) <= 0.01
        assert at_chance("cross_entropy", labels, scored(correct, 99.0, labels)) is not above


def test_a_short_run_that_learned_is_complete(tmp_path):
    """Its mean training loss over the epoch, 2.47, is above the entropy of the labels, 2.30."""
    run = api.train(Config(epochs=1, learning_rate=0.001, batch_size=32), tmp_path / "run", show=False)
    assert (run.status, run.result.at_chance) == ("complete", False)
    assert run.result.validation.accuracy > 0.5
    assert run.result.test.examples == 269


def test_a_run_that_answers_frequencies_is_at_chance_and_scored(tmp_path):
    config = Config(network="conv3-4:same relu max2 dense-10", epochs=2, learning_rate=3.0, devices=1)
    run = api.train(config, tmp_path / "run", show=False)
    assert (run.status, run.result.at_chance) == ("complete", True)
    assert run.result.test.accuracy < 0.15
    assert "at chance" in (run.path / "report.html").read_text()


@pytest.fixture(scope="module")
def two_classes(tmp_path_factory):
    """40 dark and 40 bright images."""
    folder = tmp_path_factory.mktemp("images") / "two"
    random = np.random.default_rng(0)
    for name, level in (("bright", 200), ("dark", 60)):
        (folder / name).mkdir(parents=True)
        for i in range(40):
            pixels = np.clip(random.normal(level, 20, (8, 8)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i:02d}.png")
    return str(folder)


@pytest.mark.slow
@pytest.mark.parametrize("regulariser", [{"augment": "mixup0.4"}, {"label_smoothing": 0.4}])
def test_mixed_images_and_smoothed_labels_are_no_divergence(two_classes, tmp_path, regulariser):
    base = Config(
        network="conv3-4 relu dense-2", dataset=two_classes, epochs=6, batch_size=8, learning_rate=0.05, devices=1,
        **regulariser,
    )  # fmt: skip
    done = api.sweep(Grid(base, {"learning_rate": (1e-5, 0.05), "seed": (0, 1)}), tmp_path / "out", show=False)
    assert done.table.chosen == {"learning_rate": 0.05}
    assert [row.status for row in done.table.rows] == ["complete"] * 4
    assert done.table.medians[1] == 1.0
    assert "diverged" not in " ".join(done.table.remarks())
