"""The table of metrics: each against NumPy, under masks; evaluations to JSON and back."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnn_jax import metrics
from cnn_jax.errors import RequestError
from cnn_jax.losses import LOSSES
from cnn_jax.metrics import METRICS, EpochMetrics, Evaluation


@settings(max_examples=8, deadline=None)
@given(st.integers(1, 12), st.integers(2, 9), st.integers(0, 2**16), st.integers(0, 3))
def test_the_totals_of_batches_are_the_means_of_all_examples(n, classes, seed, padding):
    """Split in two anywhere, with padding of NaN, as if in one."""
    random = np.random.default_rng(seed)
    logits, labels = random.normal(size=(n, classes)).astype(np.float32), random.integers(0, classes, n)
    losses = np.asarray(LOSSES["cross_entropy"](jnp.asarray(logits), jnp.asarray(labels)))
    total = metrics.zero()
    for part in np.array_split(np.arange(n), 2):
        slots = np.concatenate([part, np.zeros(padding, int)]).astype(int)
        mask = np.concatenate([np.ones(len(part)), np.zeros(padding)]).astype(np.float32)
        here = np.where(mask[:, None] > 0, logits[slots], np.nan).astype(np.float32)
        lost = np.where(mask > 0, losses[slots], np.nan).astype(np.float32)
        if len(slots):
            total = total + metrics.totals(*map(jnp.asarray, (lost, here, labels[slots].astype(np.int32), mask)))
    rank = (logits > np.take_along_axis(logits, labels[:, None], 1)).sum(1)
    expected = {"accuracy": (rank == 0).mean(), "loss": losses.mean(), "top5_accuracy": (rank < 5).mean()}
    assert total.means() == pytest.approx(expected, rel=1e-5)
    assert expected.keys() == METRICS.keys(), "a new metric needs its independent computation here"
    assert int(total.examples) == n


def test_logits_that_are_no_numbers_are_wrong():
    logits = jnp.full((2, 10), jnp.nan)
    totals = metrics.totals(jnp.zeros(2), logits, jnp.array([3, 4]), jnp.ones(2))
    assert totals.means()["top5_accuracy"] == 0.0


def test_metrics_as_a_reader_sees_them():
    assert METRICS["accuracy"].text(0.93125) == "93.12 %"
    assert METRICS["loss"].text(0.5) == "0.5000 nats"
    assert metrics.metric_of("test.top5_accuracy") is METRICS["top5_accuracy"]
    assert metrics.scores()[:3] == ("test.accuracy", "test.loss", "test.top5_accuracy")
    assert {"validation.accuracy", "validation.loss"} <= set(metrics.scores())
    assert {name: metric.higher_is_better for name, metric in METRICS.items()} == {
        "accuracy": True, "loss": False, "top5_accuracy": True
    }  # fmt: skip
    assert [METRICS[name].difference_unit for name in ("accuracy", "loss")] == ["points", "nats"]


def test_an_evaluation_is_read_strictly():
    good = Evaluation({"accuracy": 0.5, "loss": 1.25, "top5_accuracy": 1.0}, 8)
    assert Evaluation.from_json(good.to_json()) == good
    older = {"accuracy": 0.5, "loss": 1.25, "examples": 8}  # from before a metric was added to the table
    assert Evaluation.from_json(older).accuracy == 0.5
    for change in (
        {"accuracy": None}, {"accuracy": 1.01}, {"accuracy": -0.1}, {"loss": float("nan")}, {"examples": 0},
        {"examples": 8.0}, {"examples": True}, {"other": 1.0}, {"loss": "1"},
    ):  # fmt: skip
        with pytest.raises(RequestError):
            Evaluation.from_json(good.to_json() | change)


def test_the_smallest_evaluation_is_one_image_that_is_wrong():
    values = {"accuracy": 0.0, "loss": 0.5, "top5_accuracy": 0.0, "examples": 1}
    assert Evaluation.from_json(values).to_json() == values


def test_an_evaluation_says_its_own_numbers():
    totals = metrics.totals(
        jnp.asarray([1.0, 2.0, 6.0]), jnp.eye(3) * 5, jnp.asarray([0, 1, 0]), jnp.asarray([1.0, 1.0, 1.0])
    )
    evaluation = Evaluation.of(metrics.zero() + totals)
    assert (evaluation.examples, evaluation.correct, evaluation.loss) == (3, 2, 3.0)
    assert evaluation.accuracy == pytest.approx(2 / 3)
    assert {name: total.dtype.kind for name, total in metrics.zero().sums.items()} == {
        name: total.dtype.kind for name, total in totals.sums.items()
    }


def test_the_best_epoch_is_the_earliest_of_the_highest_validation_accuracy():
    def epoch(number, accuracy):
        score = Evaluation({"accuracy": accuracy, "loss": 1.0, "top5_accuracy": 1.0}, 4)
        return EpochMetrics(number, 10 * number, score, score, 0.1)

    run = [epoch(1, 0.5), epoch(2, 0.75), epoch(3, 0.75), epoch(4, 0.25)]
    assert max(run, key=lambda metrics: metrics.rank).epoch == 2
    assert run[0].seconds == 0.0


def test_a_line_of_metrics_is_read_as_it_was_written():
    scores = [Evaluation({"accuracy": 0.5, "loss": 1.25, "top5_accuracy": 1.0}, n) for n in (8, 4)]
    for validation in (scores[1], None):
        line = EpochMetrics(2, 10, scores[0], validation, 0.1, 3.5)
        assert EpochMetrics.from_json(line.to_json()) == line
    with pytest.raises(RequestError):
        EpochMetrics.from_json(line.to_json() | {"more": 1})
    with pytest.raises(RequestError):
        EpochMetrics.from_json({key: value for key, value in line.to_json().items() if key != "step"})
