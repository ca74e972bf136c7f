"""The verdict of a study: cited as its pairs and its rule give it, and refused where it was forged."""

import dataclasses
import json

import numpy as np
import pytest
from folders import START
from scipy import stats

from cnn_jax.errors import RunError
from cnn_jax.report.cite import cite
from cnn_jax.runs import manifest
from cnn_jax.runs.folder import Folder
from cnn_jax.runs.verdict import Finding, Verdict

A = [90.0, 91.0, 89.5, 92.0, 90.5, 91.5, None]
B = [88.0, 89.5, 88.0, 89.0, None, 89.5, None]


def study(path, finding, **more):
    folder = Folder(path)
    verdict = Verdict(
        claim="pooling", question="Does it help?", rule="the interval lies above 0", dataset="digits", quick=False,
        seeds=tuple(range(7)), block="pilot", options={}, registration=None,
        objections=("it is a pilot",), finding=finding, seconds=1.0, provenance=START,
        finished="2026-11-26T12:00:00+00:00",
    )  # fmt: skip

    dataclasses.replace(verdict, **more).write(folder)
    folder.write_text("code/sweep.py", "the script\n")
    manifest.write(folder)
    return path


@pytest.fixture
def found(tmp_path):
    return study(tmp_path / "study", Finding.paired("test accuracy, a minus b", "points", A, B, above=0.5))


def test_a_finding_is_scipys_test_over_the_seeds_that_finished_in_both():
    finding = Finding.paired("x", "points", A, B, above=0.5)
    both = [(a, b) for a, b in zip(A, B, strict=True) if a is not None and b is not None]
    shift = np.array([a - b for a, b in both])
    interval = stats.ttest_1samp(shift, 0).confidence_interval(0.95)
    assert (finding.low, finding.high) == pytest.approx((interval.low, interval.high))
    assert finding.effect == pytest.approx(shift.mean())
    assert finding.p == pytest.approx(stats.ttest_1samp(shift, 0.5).pvalue)
    assert (finding.n, finding.failures.a, finding.failures.b, finding.failures.n) == (5, 1, 2, 7)
    assert finding.failures.p == pytest.approx(stats.fisher_exact([[1, 6], [2, 5]]).pvalue)
    assert finding.answer == "undecided", "five pairs are too few"


def test_six_pairs_give_an_answer_by_the_margin():
    a, b = [90.0, 91.0, 89.5, 92.0, 90.5, 91.5], [88.0, 89.5, 88.0, 89.0, 89.0, 89.5]
    assert Finding.paired("x", "points", a, b).answer == "supported"
    assert Finding.paired("x", "points", b, a).answer == "contradicted"
    assert Finding.paired("x", "points", a, b, above=1.9).answer == "undecided"
    assert Finding.paired("x", "points", a, b, above=5.0).answer == "contradicted"
    nothing = Finding.paired("x", "points", [None] * 6, b)
    assert (nothing.effect, nothing.answer, nothing.failures.a) == (None, "undecided", 6)


def test_the_citation_says_effect_interval_n_failures_and_rule(found):
    said = cite(found, "text")
    for part in ("Undecided: test accuracy, a minus b: +2 points (95 % t interval", "n = 5", "1 and 2 of 7 runs",
                 "Fisher", "Rule: the interval lies above 0", "digits", "scripts/run"):  # fmt: skip
        assert part in said
    assert f"(run:{found.as_posix()}@" in cite(found, "markdown")
    assert r"\toprule" in cite(found, "latex")


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("effect", 9.9, "effect should be"),
        ("answer", "supported", "answer should be undecided"),
        ("low", 1.0, "low should be"),
        ("n", 7, "n should be 5"),
        ("p", 0.001, "p should be"),
        ("above", -5.0, "p should be"),
        ("failures", {"a": 0, "b": 0, "n": 7, "p": 1.0}, "failures should be"),
        ("effect", None, "effect should be"),
        ("unknown", 1, "unknown"),
    ],
)
def test_a_verdict_that_does_not_follow_from_its_pairs_is_refused(found, name, change, reason):
    """Even with the manifest recomputed."""
    values = json.loads((found / "verdict.json").read_text())
    values["finding"][name] = change
    (found / "verdict.json").write_text(json.dumps(values))
    manifest.write(Folder(found))
    with pytest.raises(RunError, match=reason):
        cite(found, "text")


def test_changed_files_and_quick_runs_are_refused(found, tmp_path):
    (found / "pairs.csv").write_text((found / "pairs.csv").read_text().replace("90.0", "95.0"))
    with pytest.raises(RunError, match=r"does not follow from|is not as it was"):
        cite(found, "text")
    quick = study(tmp_path / "quick", Finding.exact("holds", "", 1.0, True), quick=True)
    with pytest.raises(RunError, match="quick run, which counts for nothing"):
        cite(quick, "text")
    exact = study(tmp_path / "exact", Finding.exact("holds", "", 1.0, True))
    assert "Supported: holds: 1" in cite(exact, "text")
