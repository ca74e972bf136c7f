"""What a study leaves and does not do twice, how single experiments judge, and that every variant can be built."""

import dataclasses
import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from made import CHANCE, Told

from cnn_jax.data import Dataset
from cnn_jax.errors import RequestError
from cnn_jax.runs.task import Task
from cnn_jax.study import Comparison, Finding, Question, Study, percentages, run
from cnn_jax.training.config import Config

GUIDE = Path(__file__).resolve().parents[2] / "experiments" / "guide"
sys.path.insert(0, str(GUIDE))

import divergence  # noqa: E402
import learning_rate  # noqa: E402

QUESTION = Question("some_claim", "Is it so?")
SEEDS = tuple(range(8))


def test_what_was_found_is_not_asked_again_unless_the_question_is_another(tmp_path):
    calls = []

    def investigate(study):
        calls.append(study)
        return Finding.paired("x", "points", [1.0, 1.5, 2.0, 1.2, 1.1, None], [0.0] * 6)

    study = Study(QUESTION, tmp_path / "out", seeds=tuple(range(6)))
    first = run(study, investigate)
    assert run(study, investigate) == first
    assert len(calls) == 1
    assert (first.finding.answer, first.claim, first.finding.n) == ("undecided", "some_claim", 5)
    assert first.rule == QUESTION.decision
    for change, word in (({"dataset": "digits"}, "dataset"), ({"quick": True}, "quick"), ({"seeds": (0,)}, "seeds"),
                         ({"options": {"image": "x.png"}}, "options")):  # fmt: skip
        with pytest.raises(RequestError, match=f"with another {word}"):
            run(dataclasses.replace(study, **change), investigate)


def told(tmp_path, question, ends):
    return Told(question, tmp_path, seeds=SEEDS, show=False, ends=ends)


def too_high(high):
    """The middle rate reaches 80 to 87 %, the largest `high` by seed, all others 60 %."""

    def ends(cell, seed):
        rate = cell["learning_rate"]
        return high[seed] if rate == 3.0 else (0.80 + 0.01 * seed if rate == 0.03 else 0.6)

    return ends


@pytest.mark.parametrize(
    ("high", "answer", "n", "diverged", "chance"),
    [
        ([None] * 8, "supported", 0, 8, 0),  # nothing to compare, but Fisher says it
        ([CHANCE] * 8, "supported", 8, 0, 8),  # at chance: the measured accuracies say it
        ([None] * 3 + [CHANCE] * 5, "undecided", 5, 3, 5),  # 3 of 8 are too few, and so are 5 pairs
        ([None] * 5 + [0.9] * 3, "supported", 3, 5, 0),
        ([0.9 + 0.001 * i * i for i in range(8)], "contradicted", 8, 0, 0),
        ([0.7, 0.95, 0.8, 0.9, 0.7, 0.95, 0.8, 0.9], "undecided", 8, 0, 0),
    ],
)
def test_a_rate_that_is_too_high_is_judged_by_failures_and_by_accuracies(tmp_path, high, answer, n, diverged, chance):
    finding = learning_rate.investigate(told(tmp_path, learning_rate.QUESTION, too_high(high)))
    assert (finding.answer, finding.n) == (answer, n)
    assert (finding.failures.a, finding.failures.b) == (0, diverged)
    assert finding.at_chance == (0, chance)
    assert finding.more["diverged"]["3"] == diverged
    measured = [100 * (0.80 + 0.01 * seed) - 100 * x for seed, x in enumerate(high) if x is not None]
    if n > 1:
        assert finding.effect == pytest.approx(np.mean(measured))
    assert json.loads(json.dumps(finding.more))["best"] is not None
    assert (tmp_path / "figure.png").stat().st_size > 5000


@pytest.mark.parametrize("how", [None, CHANCE])
def test_a_run_fails_by_diverging_or_at_chance_and_the_two_stay_apart(tmp_path, how):
    """Width w fails from the rate 1.6 / w on: the slope is exactly -1; some seeds a step earlier."""

    def ends(cell, seed):
        limit = 1.6 / cell["filters"] / (2 if seed == 3 else 1)
        return how if cell["learning_rate"] >= limit * 0.999 else 0.8

    finding = divergence.investigate(told(tmp_path, divergence.QUESTION, ends))
    assert finding.answer == "supported"
    assert finding.effect == pytest.approx(1.0)
    other = {None: "at_chance", CHANCE: "diverged"}[how]
    assert finding.more[f"runs, {other}"] == 0
    own = {None: "diverged", CHANCE: "at_chance"}[how]
    assert finding.more[f"runs, {own}"] == finding.more["runs, fails"] > 0
    assert finding.more[f"median of the lowest rate, {own}"] == {"4": 0.4, "8": 0.2, "16": 0.1, "32": 0.05}
    assert finding.more[f"median of the lowest rate, {other}"] == dict.fromkeys(("4", "8", "16", "32"), 12.8)


def test_the_networks_of_a_sweep(studied):
    """One that diverged has no network and no accuracy; one at chance has both, but has learned nothing."""
    study, outcome = studied.study, studied.outcome
    networks = study.finished(outcome)
    by_seed = {seed.seed: seed for seed in outcome.seeds}
    assert set(networks) == {seed for seed, one in by_seed.items() if one.status == "complete"}
    assert set(study.learned(outcome)) == {seed for seed, one in by_seed.items() if one.at_chance is False}
    assert set(study.learned(outcome)) < set(networks)
    counts = study.left_out(outcome)
    assert sum(counts.values()) + len(study.learned(outcome)) == outcome.n
    accuracy = percentages(outcome)
    assert {seed for seed, x in accuracy.items() if x is not None} == set(networks)


COMPARISONS = {
    path.stem: module.COMPARISON
    for path in sorted(GUIDE.glob("*.py"))
    if path.stem not in ("all", "book", "classic")
    and hasattr(module := importlib.import_module(path.stem), "COMPARISON")
}
EQUAL = ("pooling", "padding", "robustness", "preservation", "overfitting", "depth", "architecture", "augmentation")


def parameters(comparison, name):
    colour = np.zeros((2, 32, 32, 3), np.uint8)
    images = Dataset.from_arrays(
        np.repeat(colour, 10, 0), np.arange(20) % 10, test=(colour, np.arange(2)), validation=2
    )
    config = Config(**{**comparison.fields(name), "validation": None, "train_examples": None})
    return Task.of(config, images, devices=1).network.parameters


@pytest.mark.parametrize("name", COMPARISONS)
def test_every_variant_can_be_built(name):
    """Quick runs train two of them only. Where the claim is about something else, sizes are equal."""
    comparison: Comparison = COMPARISONS[name]
    assert {comparison.better, comparison.worse} <= set(comparison.variants)
    sizes = {variant: parameters(comparison, variant) for variant in comparison.variants}
    if name in EQUAL and name != "depth":
        assert len(set(sizes.values())) == 1, sizes
    spaces = [comparison.space_of(variant) for variant in comparison.variants]
    assert all(space.low < space.high for space in spaces)
