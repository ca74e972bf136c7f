"""The rule of a verdict, what an experiment leaves, and that every variant of every comparison can be built."""

import dataclasses
import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from cnn_jax import lab
from cnn_jax.errors import RequestError
from cnn_jax.lab.study import SMALL, Comparison, Finding, Question, Study, run, sentence
from cnn_jax.runs.prepared import Prepared
from cnn_jax.training.config import Config

GUIDE = Path(__file__).resolve().parents[2] / "experiments" / "guide"
sys.path.insert(0, str(GUIDE))

QUESTION = Question("some_claim", "Is it so?")
SPREAD = np.array([-1.0, 1.0, -0.5, 0.5, -0.2, 0.2])


@pytest.mark.parametrize(
    ("mean", "n", "above", "verdict"),
    [
        (2.0, 6, 0.0, "supported"),
        (-2.0, 6, 0.0, "not supported"),
        (0.1, 6, 0.0, "inconclusive"),
        (2.0, 5, 0.0, "inconclusive"),
        (-2.0, 5, 0.0, "inconclusive"),
        (2.0, 6, 3.0, "not supported"),
        (-2.0, 6, -3.0, "supported"),
        (2.0, 6, 2.1, "inconclusive"),
    ],
)
def test_the_verdict_is_that_of_the_interval(mean, n, above, verdict):
    a, b = (mean + SPREAD)[:n] + 7.0, np.full(n, 7.0)
    found = Finding.paired("x", "", a, b, above=above)
    assert found.verdict == verdict
    low, high = stats.ttest_rel(a, b).confidence_interval()
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.p == pytest.approx(stats.ttest_1samp(a - b, above).pvalue)
    assert found.n == n


def test_an_exact_finding_holds_or_not():
    assert [Finding.exact("x", "", 1.0, holds).verdict for holds in (True, False)] == ["supported", "not supported"]
    assert "n = 1" not in sentence({**dataclasses.asdict(Finding.exact("x", "", 1.0, True))})


def test_what_was_found_is_not_asked_again_unless_the_question_is_another(tmp_path):
    calls = []

    def investigate(study):
        calls.append(study)
        return Finding.paired("x", "points", (1 + SPREAD).tolist(), [0.0] * 6)

    study = Study(QUESTION, tmp_path / "out", seeds=tuple(range(6)))
    first = run(study, investigate)
    assert run(study, investigate) == first
    assert len(calls) == 1
    assert (first["verdict"], first["claim"], first["n"]) == ("supported", "some_claim", 6)
    assert {"command", "git", "device", "versions", "seconds", "rule"} <= set(first)
    for change, word in (({"dataset": "digits"}, "dataset"), ({"quick": True}, "quick"), ({"seeds": (0,)}, "seeds"),
                         ({"options": {"image": "x.png"}}, "options")):  # fmt: skip
        with pytest.raises(RequestError, match=f"with another {word}"):
            run(dataclasses.replace(study, **change), investigate)


COMPARISONS = {
    path.stem: module.COMPARISON
    for path in sorted(GUIDE.glob("*.py"))
    if path.stem not in ("all", "book") and hasattr(module := importlib.import_module(path.stem), "COMPARISON")
}


@pytest.mark.parametrize("name", COMPARISONS)
def test_every_variant_can_be_built(name):
    """Quick runs train two of them only."""
    comparison: Comparison = COMPARISONS[name]
    assert {comparison.better, comparison.worse} <= set(comparison.variants)
    digits = lab.dataset(Config(dataset="digits", image_size=28))
    for fields in comparison.variants.values():
        own = {**SMALL, **comparison.base, **fields}
        rates = own.pop("learning_rates", comparison.learning_rates)
        assert list(rates) == sorted(set(rates))
        config = Config(**own, dataset="digits", image_size=28, learning_rate=rates[0])
        assert Prepared.of(config, digits, devices=1).network.outputs == 10


def test_depth_compares_equal_numbers_of_parameters():
    digits = lab.dataset(Config(dataset="digits", image_size=28))
    for name in ("depth", "architecture"):
        sizes = [
            Prepared.of(Config(**fields, image_size=28), digits, devices=1).network.parameters
            for fields in COMPARISONS[name].variants.values()
        ]
        assert max(sizes) / min(sizes) < 1.03, (name, sizes)
