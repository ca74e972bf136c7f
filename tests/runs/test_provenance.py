"""What a record says of the code that ran: scripts and modules from outside, repositories, and nothing that is set."""

import hashlib
import subprocess
import sys
from pathlib import Path

from commands import ROOT, environment, finish

from cnn_jax import runtime
from cnn_jax.runs import provenance
from cnn_jax.runs.folder import Folder
from cnn_jax.runs.schema import Record

SCRIPT = """
import sys
import numpy as np
import beside
from cnn_jax import api
from cnn_jax.training.config import Config

api.train(Config(network="conv3-2 relu dense-10", epochs=1, batch_size=512), sys.argv[1], show=False)
"""


def git(folder, *arguments):
    subprocess.run(
        ["git", "-C", folder, "-c", "user.name=a", "-c", "user.email=a@b", *arguments], check=True, capture_output=True
    )


def test_a_script_from_outside_is_kept_with_the_modules_beside_it(tmp_path):
    """One of them in a commit of a repository of its own, the other changed since."""
    home = tmp_path / "mine"
    home.mkdir()
    (home / "train.py").write_text(SCRIPT)
    (home / "beside.py").write_text("ANSWER = 42\n")
    git(home, "init", "-q")
    git(home, "add", ".")
    git(home, "commit", "-qm", "first")
    (home / "beside.py").write_text("ANSWER = 43\n")
    code, _, err = finish(home / "train.py", tmp_path / "run")
    assert code == 0, err
    record = Folder(tmp_path / "run").read("record.json", Record)
    script, (module,) = record.provenance.script, record.provenance.modules
    head = subprocess.run(["git", "-C", home, "rev-parse", "HEAD"], capture_output=True, text=True).stdout.strip()
    assert (script.path, script.commit) == (str(home / "train.py"), head)
    assert (module.path, module.commit) == (str(home / "beside.py"), None)
    for source in (script, module):
        kept = (tmp_path / "run" / source.copy).read_bytes()
        assert kept == Path(source.path).read_bytes()
        assert source.sha256 == hashlib.sha256(kept).hexdigest()
    assert record.provenance.repository.commit != head


def test_code_on_the_command_line_is_kept(tmp_path):
    code, _, err = finish("-c", SCRIPT.replace("import beside\n", ""), tmp_path / "run")
    assert code == 0, err
    source = Folder(tmp_path / "run").read("record.json", Record).provenance.script
    assert source.path == "-c"
    assert (tmp_path / "run" / source.copy).read_text() == SCRIPT.replace("import beside\n", "")


def test_a_program_that_was_typed_in_has_no_script(tmp_path):
    code = SCRIPT.replace("import beside\n", "").replace("sys.argv[1]", repr(str(tmp_path / "run")))
    done = subprocess.run(
        [sys.executable, "-"], input=code, text=True, env=environment(), cwd=ROOT, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    assert Folder(tmp_path / "run").read("record.json", Record).provenance.script is None


def test_versions_environment_and_settings_are_recorded(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_max_isa=AVX2")
    before = runtime.settings()
    start, attachments = provenance.provenance()
    assert {"jax", "numpy", "flax", "python", "cnn_jax"} <= start.versions.keys()
    assert len(start.versions) > 30
    assert start.environment["XLA_FLAGS"] == "--xla_cpu_max_isa=AVX2"
    assert start.lock_sha256 == hashlib.sha256((provenance.ROOT / "requirements/cpu.txt").read_bytes()).hexdigest()
    assert start.settings == runtime.settings() == before, "recording sets nothing"
    assert all(isinstance(content, bytes) for content in attachments.values())


def test_the_state_of_the_repository_is_read_when_a_run_starts(tmp_path, monkeypatch):
    """Not once in a process: a file may change between two runs."""
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    assert provenance.provenance()[0].repository is None
    git(tmp_path, "init", "-q")
    (tmp_path / "a.py").write_text("1\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    clean, attachments = provenance.provenance()
    assert (clean.repository.dirty, clean.repository.diff) == (False, None)
    assert "uncommitted.diff" not in attachments
    (tmp_path / "a.py").write_text("2\n")
    (tmp_path / "b.py").write_text("3\n")
    dirty, attachments = provenance.provenance()
    assert (dirty.repository.modified, dirty.repository.untracked) == (("a.py",), ("b.py",))
    assert b"+2" in attachments[dirty.repository.diff]
    monkeypatch.setenv("PATH", "")
    assert provenance.provenance()[0].repository is None
