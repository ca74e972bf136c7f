"""Results as citations, notes checked against them, comparisons by seed: of a real sweep and of spoilt copies."""

import csv
import json
import shutil
import statistics

import pytest
from scipy import stats

from cnn_jax import lab
from cnn_jax.data import load
from cnn_jax.errors import RequestError, RunError
from cnn_jax.report.cite import FORMS, cite
from cnn_jax.report.compare import compare
from cnn_jax.report.note import check, stamp
from cnn_jax.runs import record
from cnn_jax.runs.outcome import digest
from cnn_jax.sweep.grid import Grid
from cnn_jax.training.config import Config

CLEAN = {
    "commit": "0123456789abcdef0123456789abcdef01234567",
    "dirty": False,
    "modified": [],
    "untracked": [],
    "diff": "",
}
BASE = Config(network="conv3-4 relu max2 dense-10", epochs=3, batch_size=64)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a sweep of two cells and six seeds, another of one cell, and a run."""
    out = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(record, "git_state", lambda: dict(CLEAN))
        seeds, how = tuple(range(6)), {"show": False, "parallel": "one"}
        lab.sweep(Grid(BASE, {"learning_rate": (0.02, 0.1), "seed": seeds}), out / "grid", **how)
        lab.sweep(Grid(BASE, {"learning_rate": (0.1,), "seed": (0, 1, 2)}), out / "three", **how)
        lab.train(BASE, out / "run", show=False)
    return out


@pytest.fixture
def copied(made, tmp_path):
    """The same, to be spoilt."""
    shutil.copytree(made, tmp_path / "made")
    return tmp_path / "made"


def scored(sweep):
    with (sweep / "best" / "seeds.csv").open() as file:
        return [float(row["test_accuracy"]) for row in csv.DictReader(file)]


def edit(path, change):
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def test_the_sentence_says_what_the_files_say(made):
    values = scored(made / "grid")
    said = cite(made / "grid", "text")
    assert f"{100 * statistics.median(values):.2f} %" in said
    assert "median of n = 6 seeds" in said
    interval = f"{100 * min(values):.2f} – {100 * max(values):.2f} %"  # of six values, by order statistics
    assert f"95% interval of the median {interval}" in said
    for part in (
        f"{len(load('digits').test)} test images",
        "digits",
        "0123456789ab",
        "CPU",
        "jax",
        "20",
        "scripts/run",
    ):
        assert part in said


def test_three_seeds_have_a_range_and_one_run_has_no_interval(made):
    assert "median of n = 3 seeds, range" in cite(made / "three", "text")
    assert "n = 1: no interval" in cite(made / "run", "text")
    for form in FORMS:
        assert "–" not in cite(made / "run", form).replace("| – |", "")


def test_a_row_for_a_paper(made):
    row = cite(made / "grid", "latex")
    assert row.count(r"\\") == 2
    assert r"\%" in row
    assert " %" not in row.replace(r"\%", "")


def test_bibtex_has_the_software_the_data_the_network_and_the_optimizer(made, copied):
    entries = cite(made / "grid", "bibtex")
    for part in ("@software{cnn_jax,", CLEAN["commit"], "{alpaydin1998optical,", "{sutskever2013importance,"):
        assert part in entries
    assert "lecun" not in entries
    edit(copied / "run" / "config.json", lambda c: c.update(network="lenet5"))
    edit(copied / "run" / "record.json", lambda r: r["config"].update(network="lenet5"))
    assert "{lecun1998gradient," in cite(copied / "run", "bibtex")


def dirty(kept):
    def change(folder):
        edit(folder / "record.json", lambda r: r["git"].update(dirty=True, modified=["cnn_jax/layers.py"]))
        if kept:
            (folder / "uncommitted.diff").write_text("a difference")

    return change


def score_another(folder):
    result = json.loads((folder / "trials" / "0000" / "result.json").read_text())
    chosen = json.loads((folder / "trials" / "0006" / "result.json").read_text())
    (folder / "trials" / "0000" / "result.json").write_text(json.dumps(result | {"test": chosen["test"]}))


def better_seeds(folder):
    path = folder / "best" / "seeds.csv"
    rows = list(csv.DictReader(path.read_text().splitlines()))
    for row in rows:
        row["test_accuracy"] = "0.99"
    path.write_text("\n".join([",".join(rows[0]), *(",".join(row.values()) for row in rows)]) + "\n")


def untracked(folder):
    edit(folder / "record.json", lambda r: r["git"].update(dirty=True, untracked=["cnn_jax/new.py"]))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (dirty(kept=False), "uncommitted.diff, the difference, is not kept"),
        (untracked, "code that no commit has: cnn_jax/new.py"),
        (score_another, "scored for more than the chosen cell"),
        (better_seeds, "another test accuracy of seed"),
        (lambda f: edit(f / "record.json", lambda r: r.update(test_scored=[0, 6, 7, 8, 9, 10, 11])), "trials 0"),
        (lambda f: edit(f / "config.json", lambda c: c.update(epochs=2)), "not the one it was run with"),
        (lambda f: edit(f / "record.json", lambda r: r.update(git=None)), "names no commit"),
        (
            lambda f: shutil.copyfile(f.parent / "three" / "best" / "seeds.csv", f / "best" / "seeds.csv"),
            "seeds [0, 1, 2]",
        ),
        (lambda f: (f / "best" / "seeds.csv").unlink(), "the sweep has not ended"),
    ],
)
def test_what_deserves_no_citation_is_refused_with_the_reason(copied, spoil, reason):
    cite(copied / "grid", "text")
    spoil(copied / "grid")
    with pytest.raises(RunError) as refused:
        cite(copied / "grid", "text")
    assert reason in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_dirty_tree_with_its_difference_is_cited_as_such(copied):
    dirty(kept=True)(copied / "grid")
    assert "with changes (kept beside it)" in cite(copied / "grid", "text")


def test_a_trial_is_cited_as_part_of_its_sweep(made):
    for trial in ("trials/0000", "trials/0006", "best"):
        with pytest.raises(RunError, match="it is one trial of a sweep, chosen or not"):
            cite(made / "grid" / trial, "text")


@pytest.fixture
def note(made, tmp_path):
    """Writes a note beside the runs, with $M, $L and $H for the median and the interval of the grid."""
    values = [100 * value for value in scored(made / "grid")]
    numbers = {"$M": f"{statistics.median(values):.1f}", "$L": f"{min(values):.1f}", "$H": f"{max(values):.1f}"}

    def write(text):
        for name, number in numbers.items():
            text = text.replace(name, number)
        path = tmp_path / "note.md"
        path.write_text(text.replace("run:", f"run:{made}/"))
        return path

    return write


GOOD = "It reaches [$M %](run:grid#test.accuracy) ($L – $H %, n = 6) after an epoch.\n"


def test_a_right_note_has_no_problem(note):
    report = check(note(
        f"# A note\n\n{GOOD}\n| [$M %](run:grid#test.accuracy) | n = 6 | $L – $H % |\n\n"
        "Published: [0.95 %](cite:lecun1998gradient). Run again: `sweep --x 50 %`.\n\n```\n12.5 %\n```\n\n"
        "One run, n = 1, has [60](run:run#steps) steps; the 95 % interval is above.\n"
    ))  # fmt: skip
    assert report.problems == []
    assert (report.references, report.unpinned) == (4, 3)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (GOOD.replace("[$M", "[99.9"), "[99.9 %] is "),
        (GOOD.replace(", n = 6", ""), "states no n: it is over n = 6"),
        (GOOD.replace("n = 6", "n = 5"), "is over n = 6, not n = 5"),
        (GOOD.replace("$L – $H %, ", ""), "states no interval"),
        (GOOD.replace("$H", "99.9"), "99.9 %"),
        (GOOD.replace("run:grid", "run:nowhere"), "there is no"),
        (GOOD.replace("test.accuracy", "test.acuracy"), "there are "),
        (GOOD.replace("#test.accuracy", ""), "names no quantity"),
        (GOOD + "\nOthers have 91.5 % there.\n", "91.5 % carries no reference"),
        ("Published: [1 %](cite:nobody1999nothing).", "no key of references.bib"),
        (GOOD.replace("grid#", "grid@000000000000#"), "has changed since the note"),
        ("A run has [$M %](run:run#test.accuracy) (10 – 99 %, n = 1).", "is one run, n = 1, and has no interval"),
        (GOOD.replace("[$M %]", "[88,5 %]"), "has a decimal comma"),
    ],
)
def test_a_planted_error_is_found_in_its_line(note, text, problem):
    report = check(note(f"# Title\n\nIntroduction.\n\n{text}"))
    assert report.problems
    assert any(problem in found.text for found in report.problems), report.problems
    assert {found.line for found in report.problems} == {7 if "91.5" in problem else 5}


def test_three_seeds_are_called_a_range(made, note):
    values = [100 * value for value in scored(made / "three")]
    text = "[{:.1f} %](run:three#test.accuracy) (n = 3, {}{:.1f} – {:.1f} %)"
    spread = (min(values), max(values))
    assert check(note(text.format(statistics.median(values), "range ", *spread))).problems == []
    (problem,) = check(note(text.format(statistics.median(values), "", *spread))).problems
    assert "must be called that" in problem.text


def test_a_pinned_note_sees_a_run_that_changed(copied, tmp_path):
    median = 100 * statistics.median(scored(copied / "grid"))
    low, high = (100 * f(scored(copied / "grid")) for f in (min, max))
    path = tmp_path / "note.md"
    path.write_text(f"[{median:.2f} %](run:made/grid#test.accuracy) ({low:.2f} – {high:.2f} %, n = 6)\n")
    assert stamp(path) == 1
    assert f"grid@{digest(copied / 'grid')}#" in path.read_text()
    assert check(path).problems == []
    assert stamp(path) == 0
    results = copied / "grid" / "results.csv"
    results.write_text(results.read_text().replace(",1,", ",1,", 1) + "\n")
    (problem,) = check(path).problems
    assert "has changed since the note" in problem.text


def test_the_markdown_row_is_a_note_that_checks(made, tmp_path):
    path = tmp_path / "note.md"
    path.write_text(cite(made / "grid", "markdown"))
    report = check(path)
    assert report.problems == []
    assert (report.references, report.unpinned) == (1, 0)


def test_the_row_of_one_run_is_a_note_that_checks(made, tmp_path):
    """Its device ("E5-2680"), date and network ("conv3-4") are no interval."""
    path = tmp_path / "note.md"
    path.write_text(cite(made / "run", "markdown").replace("| CPU, ", "| CPU, Xeon E5-2680 3-4 "))
    assert check(path).problems == []


def test_ways_to_write_an_interval(made, note):
    low, high = min(scored(made / "three")) * 100, max(scored(made / "three")) * 100
    for text in (
        "seeds 0–2, range {:.1f} – {:.1f} %, n = 3",
        "n = 3, range [{:.1f}, {:.1f}] %",
        "(range {:.1f} to {:.1f}, n = 3)",
    ):
        middle = statistics.median(scored(made / "three")) * 100
        written = f"[{middle:.1f} %](run:three#test.accuracy): {text.format(low, high)}.\n"
        assert check(note(written)).problems == [], written


def test_stamping_leaves_the_rest_of_a_note_alone(made, tmp_path):
    """Code, line ends, references that lead nowhere, a path that stands in the link's text too."""
    shutil.copytree(made, tmp_path / "run")
    text = "```x``` is code\r\n\r\n`[1](run:run/run#n)` [run/run 1](run:run/run#n) [2](run:nowhere#n)\r\n"
    path = tmp_path / "note.md"
    path.write_bytes(text.encode())
    assert stamp(path) == 1
    pin = f"@{digest(tmp_path / 'run' / 'run')}"
    assert path.read_bytes().decode() == text.replace("[run/run 1](run:run/run#", f"[run/run 1](run:run/run{pin}#")
    (problem,) = [found.text for found in check(path).problems]
    assert "there is no" in problem


def test_a_note_on_what_deserves_no_citation_is_reported(copied, tmp_path):
    path = tmp_path / "note.md"
    path.write_text("[6](run:made/grid#n)\n")
    assert check(path).problems == []
    dirty(kept=False)(copied / "grid")
    (problem,) = check(path).problems
    assert "rests on made/grid: its tree was dirty" in problem.text


def test_diverged_seeds_count_as_nothing_and_are_told(copied):
    """A seed that ended at chance has an accuracy in its result; it counts as 0 all the same."""
    results = copied / "grid" / "results.csv"
    lines = results.read_text().splitlines()
    chosen = [i for i, line in enumerate(lines) if line.startswith("0.1,")]
    lines[chosen[0]] = lines[chosen[0]].replace("complete", "diverged")
    results.write_text("\n".join(lines) + "\n")
    assert "of which 1 diverged and count as 0" in cite(copied / "grid", "text")
    assert " 0.00 – " in cite(copied / "grid", "text")
    assert "| 5 |" in compare([made_again := copied / "grid", made_again], "test.loss")


def test_compare_is_scipys_paired_test(made):
    a, b = scored(made / "grid"), scored(made / "three")
    table = compare([made / "grid", made / "three"], "test.accuracy")
    assert f"{100 * (statistics.mean(b) - statistics.mean(a[:3])):+.3g}" in table
    assert "none: n = 3 seeds, 6 are needed" in table

    cells = compare([made / "grid"], "validation.accuracy", detect=0.5)
    with (made / "grid" / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    low, high = (
        [float(row["validation_accuracy"]) for row in rows if row["learning_rate"] == x] for x in ("0.02", "0.1")
    )
    p = stats.ttest_rel(low, high).pvalue
    assert f"{p:.2g}" in cells
    assert ("different" if p < 0.05 else "not distinguishable") in cells
    assert "seeds to find 0.5" in cells


def test_a_result_is_not_distinguishable_from_itself(made):
    assert "not distinguishable" in compare([made / "grid", made / "grid"], "test.accuracy")


def test_what_was_scored_on_other_images_is_not_compared(made, copied):
    edit(copied / "three" / "record.json", lambda r: r["data"].update(name="mnist"))
    with pytest.raises(RequestError, match="differ in data: mnist and digits"):
        compare([made / "grid", copied / "three"], "test.accuracy")
    with pytest.raises(RequestError, match="nothing to be compared with"):
        compare([made / "three"], "test.accuracy")
