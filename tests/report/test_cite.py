"""Results as citations: what a sentence and a row say, and what deserves no citation."""

import dataclasses
import json
import shutil

import pytest
from folders import CLEAN, COMMIT, DIGITS, START, result, write_run, write_sweep

from cnn_jax.cli import main
from cnn_jax.errors import RequestError, RunError
from cnn_jax.grids.grid import Grid
from cnn_jax.report.cite import FORMS, cite
from cnn_jax.report.notes import check
from cnn_jax.report.statements import comparison
from cnn_jax.runs import manifest
from cnn_jax.runs.folder import Folder
from cnn_jax.runs.outcome import Outcome
from cnn_jax.runs.schema import Record, Source
from cnn_jax.training.config import Config

BASE = Config(network="conv3-4 relu max2 dense-10", epochs=1)
SIX = tuple(range(6))
LOW = [0.80, 0.81, 0.79, 0.82, 0.78, 0.805]
HIGH = [0.90, 0.91, 0.89, 0.92, 0.88, 0.905]
TEST = [0.91, 0.93, 0.90, 0.92, 0.94, 0.925]


@pytest.fixture
def sweep(tmp_path):
    """Two cells of six seeds, the second the better."""
    grid = Grid(BASE, {"learning_rate": (0.02, 0.1), "seed": SIX})
    return write_sweep(tmp_path / "grid", grid, [LOW, HIGH], TEST)


def forged(path, name, change):
    """Changes a JSON file and recomputes the manifest, as a forger would who knows of it."""
    values = json.loads((path / name).read_text())
    change(values)
    (path / name).write_text(json.dumps(values))
    manifest.write(Folder(path))


def test_the_sentence_says_what_the_seeds_say(sweep):
    said = cite(sweep, "text")
    accuracies = sorted(round(x * 269) / 269 for x in TEST)
    assert f"has a test accuracy of {100 * (accuracies[2] + accuracies[3]) / 2:.2f} %" in said
    interval = f"{100 * accuracies[0]:.2f} – {100 * accuracies[-1]:.2f} %"  # of six values, by order statistics
    assert f"median of n = 6 seeds, 96.9 % interval of the median {interval}" in said
    for part in ("269 test images", "digits", COMMIT[:12], "CPU, Xeon", "jax 0.10.2", "2026-11-26", "scripts/run"):
        assert part in said
    assert "top-5" not in said
    assert "test top5-accuracy" in cite(sweep, "text", "test.top5_accuracy")


def test_what_deviates_from_the_whole_data_is_said_everywhere(tmp_path):
    base = dataclasses.replace(BASE, train_examples=500, image_size=16)
    split = {"train": 500, "validation": 269, "test": 269}
    data = dataclasses.replace(DIGITS, splits=split, source={"split": {"available": 1259}})
    path = write_sweep(tmp_path / "few", Grid(base, {"seed": (0, 1)}), [[0.5, 0.6]], data=data)
    for form in ("text", "markdown", "latex"):
        said = cite(path, form)
        assert "500 of 1,259 training images" in said
        assert "16x16" in said
    final = dataclasses.replace(BASE, final_fit=True)
    path = write_sweep(tmp_path / "final", Grid(final, {"seed": (0, 1)}), [[0.5, 0.6]], [0.7, 0.8])
    assert "training and validation images together" in cite(path, "text")
    assert f"{50 * (round(0.7 * 269) + round(0.8 * 269)) / 269:.2f} %" in cite(path, "text")


def test_diverged_seeds_are_counted_and_rank_last(tmp_path):
    grid = Grid(BASE, {"seed": SIX})
    path = write_sweep(tmp_path / "some", grid, [[0.9, None, 0.8, 0.85, 0.1, None]], at_chance=(4,))
    said = cite(path, "text")
    assert "n = 6 seeds, of which 2 diverged and rank below every other and 1 at chance" in said
    ranked = sorted(round(x * 269) / 269 for x in (0.1, 0.8, 0.85, 0.9))
    assert f"of {100 * (ranked[0] + ranked[1]) / 2:.2f} %" in said
    assert "diverged – " in said
    assert Outcome.load(path).by_seed("test.loss")[1] is None
    half = write_sweep(tmp_path / "half", grid, [[0.9, None, 0.8, None, 0.1, None]])
    with pytest.raises(RunError, match="has no best cell"):
        cite(half, "text")


def test_three_seeds_have_a_range_and_one_run_has_no_interval(tmp_path):
    three = write_sweep(tmp_path / "three", Grid(BASE, {"seed": (0, 1, 2)}), [[0.5, 0.6, 0.7]])
    assert "median of n = 3 seeds, range" in cite(three, "text")
    run = write_run(tmp_path / "run", BASE, result(0.5, test=0.6))
    assert "n = 1: no interval" in cite(run, "text")
    for form in FORMS:
        assert "–" not in cite(run, form)


def test_bibtex_has_the_software_the_data_the_network_and_the_optimizer(tmp_path, sweep):
    entries = cite(sweep, "bibtex")
    for part in ("@software{cnn_jax,", COMMIT, "{alpaydin1998optical,", "{sutskever2013importance,"):
        assert part in entries
    assert "lecun" not in entries
    lenet = write_run(tmp_path / "lenet", dataclasses.replace(BASE, network="lenet5"), result(0.5, test=0.6))
    assert "{lecun1998gradient," in cite(lenet, "bibtex")
    assert r"\cite{lecun1998gradient,alpaydin1998optical,cnn_jax}" in cite(lenet, "latex")


def test_the_latex_row_fits_a_column(sweep):
    text = cite(sweep, "latex")
    assert text.count(r"\\") == 2
    assert text.count("&") == 6
    assert r"\toprule" in text
    assert " %" not in text.replace(r"\%", "")


def test_the_markdown_row_is_a_note_that_checks_whatever_the_folder_is_called(tmp_path):
    grid = Grid(BASE, {"seed": SIX})
    path = write_sweep(tmp_path / "my (first) [grid] 50 %", grid, [HIGH], TEST)
    note = tmp_path / "note.md"
    note.write_text(cite(path, "markdown").replace(f"{tmp_path.as_posix()}/", ""))
    assert check(note).problems == []


def spoil_trial(folder):
    path = folder / "trials" / "0007" / "result.json"
    path.write_text(path.read_text().replace('"accuracy": 0.9', '"accuracy": 0.99', 1))


def better_seeds(folder):
    """Every seed but the representative one, and the manifest with it."""
    path = folder / "best" / "seeds.csv"
    head, *lines = path.read_text().splitlines()
    path.write_text("\n".join([head, *(line.replace(",0.9", ",0.99", 2) for line in lines)]) + "\n")
    manifest.write(Folder(folder))


def score_another(folder):
    path = folder / "trials" / "0000" / "result.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps(values | {"test": values["validation"]}))
    manifest.write(Folder(folder))


def other_start(**repository):
    def change(folder):
        record = Folder(folder).read("record.json", Record)
        start = dataclasses.replace(record.provenance, repository=dataclasses.replace(CLEAN, **repository))
        Folder(folder).write("record.json", dataclasses.replace(record, provenance=start))
        manifest.write(Folder(folder))

    return change


def both_configs(folder):
    forged(folder, "config.json", lambda c: c.update(momentum=0.8))
    forged(folder, "record.json", lambda r: r["config"].update(momentum=0.8))


def forge(name, change):
    return lambda folder: forged(folder, name, change)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (spoil_trial, "trials/0007/result.json was changed"),
        (better_seeds, "best/seeds.csv is not what its trials say"),
        (score_another, "scored for more than the chosen cell ({'learning_rate': 0.1}): trials 0"),
        (other_start(modified=("cnn_jax/layers.py",), diff="uncommitted.diff"), "uncommitted.diff is not kept"),
        (other_start(untracked=("cnn_jax/new.py",)), "code that no commit has: cnn_jax/new.py"),
        (forge("record.json", lambda r: r["provenance"].update(repository=None)), "names no commit"),
        (forge("record.json", lambda r: r["provenance"].update(script=None)), "from code that is not in a file"),
        (forge("record.json", lambda r: r.update(test_scored=[0, 6, 7])), "trials 0"),
        (forge("config.json", lambda c: c.update(epochs=2)), "config.json is not the one that was run"),
        (both_configs, "it holds another run than the grid's (momentum: 0.8 -> 0.9)"),
        (forge("record.json", lambda r: r["config"].update(dropout=0.5)), "config.json is not the one that was run"),
        (lambda f: (f / "best" / "seeds.csv").unlink(), "best/seeds.csv is missing"),
        (lambda f: (f / "manifest.json").unlink(), "the sweep has not ended"),
        (lambda f: (f / "code" / "sweep.py").write_text("another"), "code/sweep.py was changed"),
        (lambda f: shutil.rmtree(f / "trials" / "0003"), "trials/0003/config.json is missing"),
        (lambda f: shutil.copytree(f / "trials" / "0003", f / "trials" / "0099"), "trials/0099/config.json was added"),
        (lambda f: (f / "results.csv").write_text((f / "results.csv").read_text() + " "), "results.csv was changed"),
    ],
)
def test_what_deserves_no_citation_is_refused_with_the_reason(sweep, spoil, reason):
    cite(sweep, "text")
    spoil(sweep)
    with pytest.raises((RunError, RequestError)) as refused:
        cite(sweep, "text")
    assert reason in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_dirty_tree_with_its_difference_is_cited_as_such(sweep):
    (sweep / "uncommitted.diff").write_text("a difference")
    other_start(modified=("README.md",), diff="uncommitted.diff")(sweep)
    assert f"{COMMIT[:12]} with changes (kept beside it)" in cite(sweep, "text")


def test_code_from_outside_is_named_with_its_checksum(tmp_path):
    """A script beside the package with a layer, arrays or a network of its own is no part of the package's commit."""
    script = Source("/home/me/mine.py", "12" * 32, "code/sweep.py", None)
    module = Source("/home/me/layers.py", "34" * 32, "code/layers.py", "fe" * 20)
    start = dataclasses.replace(START, script=script, modules=(module,))
    path = write_run(tmp_path / "run", BASE, result(0.5, test=0.6), start)
    with pytest.raises(RunError, match=r"code/layers.py, the copy of /home/me/layers.py that took part, is not kept"):
        cite(path, "text")
    Folder(path).write_text("code/layers.py", "x")
    manifest.write(Folder(path))
    said = cite(path, "text")
    assert (
        "with /home/me/mine.py (sha256 121212121212, kept beside it), /home/me/layers.py (sha256 343434343434" in said
    )


def test_data_that_is_in_no_catalogue_is_named_with_its_checksum(tmp_path):
    data = dataclasses.replace(DIGITS, name="mine")
    path = write_run(tmp_path / "run", BASE, result(0.5, test=0.6), data=data)
    assert "mine (sha256 efefefefefef)" in cite(path, "text")


def test_a_trial_is_cited_as_part_of_its_sweep(sweep):
    manifest.write(Folder(sweep / "best"))
    with pytest.raises(RunError, match="it is one trial of a sweep, chosen or not"):
        cite(sweep / "best", "text")


def test_a_comparison_is_cited(tmp_path, sweep):
    other = write_sweep(tmp_path / "other", Grid(BASE, {"seed": SIX}), [LOW])
    said = comparison([other, sweep], "text", "test.accuracy")
    a, b = ([100 * round(x * 269) / 269 for x in values] for values in (TEST, LOW))
    assert f"by {sum(a) / 6 - sum(b) / 6:+.3g} points of test accuracy (mean over n = 6 seeds, paired" in said
    assert ": different" in said
    assert comparison([other, sweep], "markdown", "test.accuracy").count("\n") == 3
    assert "equivalent" in comparison([sweep, sweep], "text", "test.accuracy", margin=1.0)
    other_start(untracked=("cnn_jax/new.py",))(other)
    with pytest.raises(RunError, match="cannot be cited: it ran with code"):
        comparison([other, sweep], "text", "test.accuracy")


def test_the_command_takes_one_folder_or_two(sweep, capsys):
    assert main.command(["cite", str(sweep), str(sweep), "--margin", "1"]) == 0
    assert "equivalent" in capsys.readouterr().out
    with pytest.raises(RequestError, match="not 3"):
        main.command(["cite", *[str(sweep)] * 3])
