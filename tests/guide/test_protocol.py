"""The protocol of docs/protocol.md: fair tuning, registration before training, and what makes a verdict exploratory."""

import dataclasses
import itertools
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cnn_jax.cli import study as cli
from cnn_jax.errors import RequestError
from cnn_jax.runs.verdict import Finding
from cnn_jax.statistics import detectable, seeds_needed
from cnn_jax.study import Question, Registration, Space, Study, blocks, register, run, tuning
from cnn_jax.study.registration import OnData, analysis_code, file_of

SCRIPT = '''"""Is a above b?

Expected: yes, by far.
"""
import beside
'''
NOISE = np.array([0.3, -0.2, 0.1, 0.4, -0.5, 0.2, -0.1, 0.0])
QUESTION = Question("some_claim", "Is a above b?", datasets=("digits",), smallest_effect=0.5, most_seeds=12)


def differs_by(effect, scale=1.0):
    """An investigation whose pairs differ by `effect`, with a known deviation."""

    def investigate(study):
        a = [effect + scale * NOISE[seed % 8] for seed in study.seeds]
        return study.paired("a minus b", "points", a, [0.0] * len(a), {"chosen": {"a": {"learning_rate": 0.1}}})

    return investigate


def git(folder, *arguments):
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True)


@pytest.fixture
def script(tmp_path):
    """An experiment in a repository of its own."""
    folder = tmp_path / "experiments"
    folder.mkdir()
    (folder / "some_claim.py").write_text(SCRIPT)
    (folder / "beside.py").write_text("x = 1\n")
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "experiment")
    return folder / "some_claim.py"


def pilot(script, out, effect=2.0, scale=1.0):
    (study,) = blocks.studies(script, QUESTION, out, block="pilot", common={"show": False})
    return run(study, differs_by(effect, scale))


def registered(script, out, **how):
    registration = register(
        script, QUESTION, "yes", {"a": {"epochs": 3, "network_args": {"depth": 8}}}, [pilot(script, out, **how)]
    )
    git(script.parent, "add", ".")
    git(script.parent, "commit", "-q", "-m", "registration")
    return registration


TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=8)
FIELDS = st.dictionaries(st.sampled_from(["learning_rate", "network", "augment", "epochs"]), st.one_of(
    st.floats(1e-6, 1e6), st.integers(0, 1000), TEXT, st.booleans(), st.lists(st.floats(0, 9), min_size=1, max_size=3),
))  # fmt: skip
ARMS = st.dictionaries(TEXT, FIELDS, max_size=3)
SEEDS = st.lists(st.integers(0, 999), max_size=4).map(tuple)
PARTS = st.builds(
    OnData, dataset=TEXT, pilot_seeds=SEEDS, deviation=st.floats(0, 9), seeds=SEEDS, replication_seeds=SEEDS,
    detectable=st.floats(0, 9), chosen=ARMS, seconds=st.floats(0, 9), needed=st.none() | st.integers(1, 99),
)  # fmt: skip


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.builds(
    Registration, claim=TEXT, question=TEXT, expectation=TEXT, rule=TEXT, statistic=TEXT, unit=TEXT, stopping=TEXT,
    arms=ARMS, analysis=TEXT, data=st.lists(PARTS, min_size=1, max_size=3).map(tuple),
    smallest_effect=st.none() | st.floats(0, 9), path=st.none(),
))  # fmt: skip
def test_what_is_registered_is_read_as_it_was_written(tmp_path, registration):
    """With arms or without (networks that are only looked into have none)."""
    path = tmp_path / "registration.toml"
    registration.write(path)
    assert Registration.read(path) == dataclasses.replace(registration, path=path)


def test_a_verdict_is_registered_if_everything_was_committed_before(script, tmp_path):
    out = tmp_path / "runs"
    registration = registered(script, out)
    assert Registration.read(file_of(script, "some_claim")) == registration
    (study,) = blocks.studies(script, QUESTION, out, common={"show": False})
    assert (study.block, study.seeds) == ("verdict", registration.data[0].seeds)
    assert study.chosen == {"a": {"learning_rate": 0.1}}
    verdict = run(study, differs_by(2.0))
    assert (verdict.standing, verdict.objections) == ("registered", ())
    assert verdict.registration.committed is not None
    (again,) = blocks.studies(script, QUESTION, out, block="replication", common={"show": False})
    assert not set(again.seeds) & set(study.seeds)
    replication = run(again, differs_by(2.0))
    assert replication.standing == "registered"
    assert blocks.agreement(verdict, replication) == "replicated"
    found = blocks.verdicts(out)["digits"]
    assert [found[block].standing for block in ("pilot", "verdict", "replication")] == [
        "exploratory", "registered", "registered",
    ]  # fmt: skip


def uncommitted(script):
    path = file_of(script, "some_claim")
    path.write_text(path.read_text().replace("all of these seeds", "some of these seeds"))


def another_analysis(script):
    script.write_text(SCRIPT + "y = 2\n")


def another_helper(script):
    script.with_name("beside.py").write_text("x = 2\n")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (uncommitted, "some_claim.toml is not committed as it is"),
        (another_analysis, "the code that decides has changed since the registration"),
        (another_helper, "the code that decides has changed since the registration"),
    ],
)
def test_what_changed_after_the_registration_makes_it_exploratory(script, tmp_path, change, said):
    registered(script, tmp_path / "runs")
    change(script)
    (study,) = blocks.studies(script, QUESTION, tmp_path / "runs", common={"show": False})
    verdict = run(study, differs_by(2.0))
    assert (verdict.standing, verdict.objections) == ("exploratory", (said,))


def test_training_before_the_registration_and_other_seeds_and_rules_are_said(script, tmp_path):
    registration = registered(script, tmp_path / "runs")
    seeds = registration.data[0].seeds
    about = (QUESTION, "digits", "verdict")
    later, earlier = "2100-01-01T00:00:00+00:00", "2001-01-01T00:00:00+00:00"
    assert list(registration.objections(*about, seeds, [later])) == []
    (said,) = registration.objections(*about, seeds, [later, earlier])
    assert said.startswith(f"training began at {earlier}, before the registration of ")
    assert list(registration.objections(*about, seeds[:-1], [later])) == ["its seeds are not the registered ones"]
    other = dataclasses.replace(QUESTION, smallest_effect=0.1)
    assert list(registration.objections(other, *about[1:], seeds, [later])) == [
        "question or rule have changed since the registration"
    ]


def test_own_seeds_use_the_registered_arms_and_are_exploratory(script, tmp_path):
    registered(script, tmp_path / "runs")
    (study,) = blocks.studies(script, QUESTION, tmp_path / "runs", seeds=cli.seeds("200:208"), common={"show": False})
    assert study.chosen == {"a": {"learning_rate": 0.1}}
    verdict = run(study, differs_by(2.0))
    assert (verdict.block, verdict.standing) == ("own", "exploratory")
    assert verdict.objections == ("its seeds are not the registered ones",)


@pytest.mark.parametrize(("scale", "bound"), [(0.5, False), (1.0, False), (4.0, True)])
def test_the_number_of_seeds_follows_from_the_pilot(script, tmp_path, scale, bound):
    """Enough for the smallest effect of interest with 80 % power, at least 8, at most what the question allows."""
    (part,) = registered(script, tmp_path / "runs", scale=scale).data
    deviation = scale * NOISE.std(ddof=1)
    assert part.deviation == pytest.approx(deviation)
    needed = seeds_needed(deviation, 0.5, 8).n
    assert part.needed == needed
    assert len(part.seeds) == len(part.replication_seeds) == min(max(needed, 8), 12)
    assert (needed > 12) == bound
    assert part.detectable == pytest.approx(detectable(deviation, len(part.seeds)))


def test_registrations_share_no_seeds_with_each_other_nor_with_pilots(script, tmp_path):
    first = registered(script, tmp_path / "runs")
    with pytest.raises(RequestError, match="a study is registered once"):
        register(script, QUESTION, "", {}, [pilot(script, tmp_path / "runs")])
    other = dataclasses.replace(QUESTION, claim="other_claim")
    script.with_name("other_claim.py").write_text(SCRIPT)
    second = register(script.with_name("other_claim.py"), other, "", {}, [pilot(script, tmp_path / "runs")])
    used = [set(part.seeds) | set(part.replication_seeds) for one in (first, second) for part in one.data]
    assert not used[0] & used[1]
    assert min(min(seeds) for seeds in used) >= 100


def test_a_pilot_with_few_pairs_or_none_is_not_registered(script, tmp_path):
    verdict = pilot(script, tmp_path / "runs")
    few = dataclasses.replace(verdict, finding=Finding.paired("x", "points", [1.0] * 5, [0.0] * 5))
    exact = dataclasses.replace(verdict, finding=Finding.exact("x", "", 1.0, True))
    for one in (few, exact):
        with pytest.raises(RequestError, match="pairs: at least 6 are needed"):
            register(script, QUESTION, "", {}, [one])
    assert not file_of(script, "some_claim").exists()
    with pytest.raises(RequestError, match="some_claim is not registered: cnn-jax study register"):
        blocks.studies(script, QUESTION, tmp_path / "runs", block="replication")


def test_the_deciding_code_is_the_script_its_helpers_and_the_package(script):
    before = analysis_code(script)
    script.with_name("unrelated.py").write_text("z = 1\n")
    assert analysis_code(script) == before
    another_helper(script)
    assert analysis_code(script) != before


@pytest.mark.parametrize("text", ["", "x", "5:", "8:8", "-1:4", "1:2:3", "0"])
def test_seeds_are_a_number_or_a_range(text):
    assert (cli.seeds("3"), cli.seeds("200:203")) == ((0, 1, 2), (200, 201, 202))
    with pytest.raises(RequestError, match="--seeds"):
        cli.seeds(text)


def peak(best, width=1.0):
    """A score with its maximum at `best`, on a logarithmic axis."""
    return lambda value: 0.9 - 0.1 * abs(np.log(value / best)) / width


@settings(max_examples=40, deadline=None)
@given(st.floats(-9, 3), st.floats(-9, 3))
def test_every_arm_gets_equally_many_values_and_an_edge_widens_its_space(one, other):
    spaces = {"a": Space(1e-3, 0.3), "b": Space(1e-3, 0.3)}
    scores = {"a": peak(np.exp(one)), "b": peak(np.exp(other))}
    tuned = tuning.tune(spaces, lambda arm, _, values: [scores[arm](value) for value in values])
    counts = {arm: len(of.tried) for arm, of in tuned.items()}
    assert counts["a"] == counts["b"]
    assert counts["a"] in (8, 12, 16)
    for arm, best in (("a", one), ("b", other)):
        values = sorted(value for value, _ in tuned[arm].tried)
        assert len(set(values)) == len(values)
        assert tuned[arm].chosen == min(values, key=lambda value: abs(np.log(value) - best))
        inside = values[0] < np.exp(best) < values[-1]
        if counts["a"] < 16:
            assert inside or not tuned[arm].on_edge


def test_a_value_that_diverges_is_not_chosen():
    tuned = tuning.tune({"a": Space(1e-3, 0.3)}, lambda _, __, values: [None if v > 0.01 else v for v in values])
    assert tuned["a"].chosen == max(value for value, score in tuned["a"].tried if score is not None)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=5))
def test_the_expected_best_is_the_mean_over_all_draws_with_replacement(values):
    for k, found in enumerate(tuning.expected_best(values), 1):
        draws = itertools.product(values, repeat=k)
        assert found == pytest.approx(np.mean([max(draw) for draw in draws]), abs=1e-9)


def test_the_curve_over_the_budget_and_what_is_flat():
    from cnn_jax.study.comparison import _Curve, _flat

    curve = _Curve((50.0, 70.0, 60.0, 80.0), (1.0, 0.5, 0.6, 0.4), 40)
    assert [curve.best_until(share) for share in (0.125, 0.25, 0.5, 1.0)] == [50.0, 50.0, 70.0, 80.0]
    assert _Curve((), (), 0).best_until(1.0) is None
    assert not _flat([(1.0, 0.5, 0.5, 0.4)])
    assert _flat([(1.0, 0.5, 0.5, 0.499)])
    assert _flat([(1.0, 0.4, 0.6, 0.9)]), "overfitting is no progress"


def test_answers_over_data_sets_are_one_only_where_all_agree():
    assert blocks.combined({"x": "supported", "y": "supported"}) == "supported"
    assert blocks.combined({"x": "supported", "y": "undecided"}) == "supported on x, undecided on y"
    assert blocks.label(str(Path("data") / "cifar10-jpeg.zip")) == "cifar10-jpeg"


def test_a_quick_study_is_on_digits(tmp_path):
    study = Study(QUESTION, tmp_path, quick=True)
    assert (study.dataset, study.seeds, study.config().dataset) == ("digits", (0, 1), "digits")
