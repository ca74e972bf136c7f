"""The rule of a verdict, with and without runs that diverge; a verdict is read only if it follows from its pairs."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from cnn_jax.errors import RunError
from cnn_jax.runs.folder import Folder
from cnn_jax.runs.schema import Provenance
from cnn_jax.runs.verdict import Finding, Verdict
from cnn_jax.statistics import detectable
from cnn_jax.study import effect_text

SPREAD = np.array([-1.0, 1.0, -0.5, 0.5, -0.2, 0.2])
ACCURACIES = st.one_of(st.none(), st.floats(0, 100, allow_nan=False))


@pytest.mark.parametrize(
    ("mean", "n", "limits", "answer"),
    [
        (2.0, 6, {}, "supported"),
        (-2.0, 6, {}, "contradicted"),
        (0.1, 6, {}, "undecided"),
        (2.0, 5, {}, "undecided"),
        (-2.0, 5, {}, "undecided"),
        (2.0, 6, {"above": 3.0}, "contradicted"),
        (-2.0, 6, {"above": -3.0}, "supported"),
        (2.0, 6, {"above": 2.1}, "undecided"),
        (2.0, 6, {"above": 1.0, "below": 3.0}, "supported"),
        (2.0, 6, {"above": 1.0, "below": 2.5}, "undecided"),
        (2.0, 6, {"above": 0.0, "below": 1.0}, "contradicted"),
        (2.0, 6, {"above": 3.0, "below": 4.0}, "contradicted"),
        (0.1, 6, {"margin": 1.0}, "equivalent"),
        (0.1, 6, {"margin": 0.5}, "undecided"),
        (0.8, 6, {"margin": 1.5}, "equivalent"),  # although its interval lies above 0
        (2.0, 6, {"margin": 1.5}, "supported"),
        (0.1, 5, {"margin": 9.0}, "undecided"),
    ],
)
def test_the_answer_is_that_of_the_interval(mean, n, limits, answer):
    a, b = ((mean + SPREAD)[:n] + 7.0).tolist(), [7.0] * n
    finding = Finding.paired("x", "", a, b, **limits)
    assert finding.answer == answer
    low, high = stats.ttest_rel(a, b).confidence_interval()
    assert (finding.low, finding.high) == pytest.approx((low, high))
    assert finding.n == n
    if "below" in limits:
        assert finding.p is None
    else:
        p = stats.ttest_1samp(np.subtract(a, b), limits.get("above", 0.0)).pvalue
        assert finding.p == pytest.approx(p)
    assert finding.deviation == pytest.approx(np.std(SPREAD[:n], ddof=1))
    assert finding.detectable == pytest.approx(detectable(finding.deviation, n))


def test_an_exact_finding_holds_or_not():
    assert [Finding.exact("x", "", 1.0, holds).answer for holds in (True, False)] == ["supported", "contradicted"]
    assert effect_text(Finding.exact("x", "points", 1.0, True)) == "1 points"


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(ACCURACIES, ACCURACIES), min_size=1, max_size=12))
def test_a_run_that_diverged_is_counted_and_takes_part_in_no_mean(pairs):
    a, b = ([pair[i] for pair in pairs] for i in (0, 1))
    finding = Finding.paired("x", "points", a, b)
    both = [(x, y) for x, y in pairs if x is not None and y is not None]
    assert (finding.failures.a, finding.failures.b, finding.failures.n) == (a.count(None), b.count(None), len(pairs))
    if len(both) < 2:
        assert (finding.effect, finding.n, finding.answer) == (None, 0, "undecided")
    else:
        alone = Finding.paired("x", "points", *zip(*both, strict=True))
        assert (finding.effect, finding.low, finding.high, finding.answer) == (
            alone.effect, alone.low, alone.high, alone.answer,
        )  # fmt: skip
        assert finding.effect == pytest.approx(np.mean([x - y for x, y in both]), abs=1e-9)
    text = effect_text(finding)
    said = f"{a.count(None)} and {b.count(None)} of {len(pairs)} runs diverged"
    assert (said in text) == (None in a + b)


GOOD, POOR, GONE = [90.0 + x for x in range(8)], [50.0 + x * x for x in range(8)], [None] * 8


@pytest.mark.parametrize(
    ("a", "b", "without", "with_failures"),
    [
        (GOOD, POOR, "supported", "supported"),
        (GOOD, GONE, "undecided", "supported"),
        (GONE, GOOD, "undecided", "contradicted"),
        (GOOD, [None] * 5 + GOOD[5:], "undecided", "supported"),  # Fisher: 0 and 5 of 8, p = 0.026
        (GOOD, [None] * 4 + GOOD[4:], "undecided", "undecided"),  # p = 0.077
        (GOOD[:5], GONE[:5], "undecided", "undecided"),  # too few seeds
        ([*POOR, *POOR], [*GOOD[:6], *[None] * 10], "contradicted", "undecided"),  # the two contradict
    ],
)
def test_failures_decide_only_where_the_rule_says_so(a, b, without, with_failures):
    assert Finding.paired("x", "", a, b).answer == without
    assert Finding.paired("x", "", a, b, failures_decide=True).answer == with_failures


def test_runs_at_chance_keep_their_value_and_are_said():
    finding = Finding.paired("x", "points", GOOD, POOR, at_chance=(0, 2))
    assert finding.effect == Finding.paired("x", "points", GOOD, POOR).effect
    assert effect_text(finding).endswith("n = 8); 0 and 2 of 8 at chance")


PROVENANCE = Provenance((), "scripts/run x.py", "2030-01-02", None, None, (), {}, None, {}, None, {}, ())


def written(tmp_path, finding):
    folder = Folder(tmp_path)
    verdict = Verdict(
        "c", "q?", "r", "digits", tuple(range(8)), False, "pilot", {}, None, ("it is a pilot",), finding, 1.0,
        PROVENANCE, "2030-01-02",
    )  # fmt: skip
    verdict.write(folder)
    return folder, verdict


@pytest.mark.parametrize(
    "finding",
    [
        Finding.paired("x", "points", GOOD, [None, *POOR[1:]], {"median": None}, at_chance=(1, 0)),
        Finding.paired("x", "points", GOOD, GONE, failures_decide=True),
        Finding.paired("x", "", POOR, GOOD, above=-1.5, below=2.0),
        Finding.exact("x", "", 6600.0, True, {"holds": {"a": True}}),
    ],
)
def test_a_verdict_reads_back(tmp_path, finding):
    folder, verdict = written(tmp_path, finding)
    assert Verdict.read(folder) == verdict


@pytest.mark.parametrize(
    "change",
    [
        {"answer": "contradicted"}, {"effect": 41.0}, {"low": 1.0}, {"high": 100.0}, {"p": 1e-9}, {"n": 9},
        {"failures": {"a": 0, "b": 0, "n": 8, "p": 1.0}}, {"above": 60.0}, {"below": 1.0},
        {"interval": "99 % interval"},
    ],
)  # fmt: skip
def test_a_verdict_that_does_not_follow_from_its_pairs_is_refused(tmp_path, change):
    folder, _ = written(tmp_path, Finding.paired("x", "points", GOOD, [None, *POOR[1:]]))
    values = json.loads((tmp_path / "verdict.json").read_text())
    values["finding"] |= change
    (tmp_path / "verdict.json").write_text(json.dumps(values))
    with pytest.raises(RunError, match=r"does not follow from pairs\.csv"):
        Verdict.read(folder)


def test_failures_cannot_be_made_to_decide_afterwards(tmp_path):
    folder, _ = written(tmp_path, Finding.paired("x", "points", GOOD, GONE))
    values = json.loads((tmp_path / "verdict.json").read_text())
    values["finding"]["answer"] = "supported"
    (tmp_path / "verdict.json").write_text(json.dumps(values))
    with pytest.raises(RunError, match="answer should be undecided"):
        Verdict.read(folder)
