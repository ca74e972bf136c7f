"""What is kept of a study and of a sweep: all that its reader needs, nothing of the machine, and nothing uncitable."""

import dataclasses
import json
import re
import shutil
import sys

import pytest
from commands import ROOT

from cnn_jax.cli import archives
from cnn_jax.errors import RunError
from cnn_jax.runs import evidence, manifest
from cnn_jax.runs.evidence import keep
from cnn_jax.runs.folder import Folder
from cnn_jax.runs.outcome import Outcome, outcome_of, verdict_of
from cnn_jax.runs.verdict import Verdict
from cnn_jax.study import run

sys.path.insert(0, str(ROOT / "scripts"))


def names(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_evidence_of_a_study_reads_as_the_study_does(studied, tmp_path):
    keep(studied.folder, tmp_path / "kept")
    assert verdict_of(tmp_path / "kept") == studied.verdict
    files = names(tmp_path / "kept")
    assert {"verdict.json", "pairs.csv", "seeds.csv", "manifest.json"} <= files
    assert {"small/results.csv", "large/record.json", "large/config.json"} <= files
    assert not any("trials" in name for name in files), "a study has thousands"
    assert files < names(studied.folder)
    assert not any("checkpoints" in name or name.endswith(".html") for name in files)
    for path in (tmp_path / "kept").rglob("*.*"):
        assert str(studied.folder).encode() not in path.read_bytes(), path


def test_every_file_but_tables_and_figures_is_in_a_manifest(studied, tmp_path):
    keep(studied.folder, tmp_path / "kept")
    assert names(tmp_path / "kept") - set(manifest.read(Folder(tmp_path / "kept"))) == {"manifest.json"}


def test_evidence_of_a_sweep_alone(studied, tmp_path):
    keep(studied.folder / "small", tmp_path / "kept")
    assert outcome_of(tmp_path / "kept").seeds == Outcome.load(studied.folder / "small").seeds


def test_new_evidence_replaces_the_old(studied, tmp_path):
    for _ in range(2):
        keep(studied.folder, tmp_path / "kept")
        (tmp_path / "kept" / "more.csv").write_text("a\n1\n")
    keep(studied.folder, tmp_path / "kept")
    assert verdict_of(tmp_path / "kept") == studied.verdict
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


SPOILT = {
    "a pair": ("pairs.csv", lambda text: text.replace("\n", "\n9", 2)),
    "the answer": ("verdict.json", lambda text: re.sub('"answer": "[a-z ]+"', '"answer": "contradicted"', text)),
    "the figure of a table": ("seeds.csv", lambda text: text.replace("3", "4")),
    "a trial of a sweep": ("large/trials/0002/result.json", lambda text: text.replace('"steps": 6', '"steps": 7')),
    "a row of a sweep": ("small/results.csv", lambda text: text.replace("complete", "diverged", 1)),
    "a manifest": ("small/manifest.json", lambda text: text.replace("results.csv", "results2.csv")),
    "the record": ("large/record.json", lambda text: text.replace('"cpu"', '"gpu"', 1)),
}


@pytest.mark.parametrize("what", SPOILT)
def test_what_was_changed_is_not_kept_and_what_was_kept_stays(studied, tmp_path, what):
    source = tmp_path / "source"
    shutil.copytree(studied.folder, source, ignore=shutil.ignore_patterns("checkpoints", ".*"))
    keep(source, tmp_path / "kept")
    before = names(tmp_path / "kept")
    name, change = SPOILT[what]
    text = (source / name).read_text()
    assert change(text) != text
    (source / name).write_text(change(text))
    with pytest.raises(RunError):
        keep(source, tmp_path / "kept")
    assert names(tmp_path / "kept") == before
    assert verdict_of(tmp_path / "kept") == studied.verdict


def test_a_quick_verdict_is_read_but_not_cited(studied, tmp_path):
    study = dataclasses.replace(studied.study, out=tmp_path / "quick", quick=True)
    run(study, lambda study: dataclasses.replace(studied.verdict.finding, pairs=(), above=None))
    assert Verdict.open(tmp_path / "quick").quick
    with pytest.raises(RunError, match="that of a quick run, which counts for nothing"):
        keep(tmp_path / "quick", tmp_path / "kept")


def test_code_that_no_commit_has_is_not_cited(studied, tmp_path):
    shutil.copytree(studied.folder, tmp_path / "source", ignore=shutil.ignore_patterns("checkpoints", ".*"))
    values = json.loads((tmp_path / "source" / "verdict.json").read_text())
    values["provenance"]["repository"] = None
    (tmp_path / "source" / "verdict.json").write_text(json.dumps(values))
    manifest.write(Folder(tmp_path / "source"))
    with pytest.raises(RunError, match="names no commit"):
        verdict_of(tmp_path / "source")


def test_files_of_an_unfinished_folder_are_not_kept(tmp_path):
    (tmp_path / "runs").mkdir()
    with pytest.raises(RunError, match=r"manifest.json does not exist"):
        evidence.files(Folder(tmp_path / "runs"))


@pytest.mark.parametrize(
    ("given", "without"),
    [
        (["all.py", "--data-dir", "/x", "--only", "a"], ["all.py", "--only", "a"]),
        (["all.py", "--data-dir=/x"], ["all.py"]),
        (["-m", "cnn_jax", "--data-dir", "--data-dir"], ["-m", "cnn_jax"]),
        (["all.py"], ["all.py"]),
    ],
)
def test_the_place_of_archives_leaves_the_command(given, without):
    assert archives.without_option(given, "--data-dir") == without
