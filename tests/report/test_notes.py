"""The linter of notes against a corpus of honest and of forged ones, and of forged folders."""

import tomllib
from pathlib import Path

import library
import pytest

from cnn_jax.report.notes import check

CORPUS = Path(__file__).parent / "forgeries"
PROTOCOL = "Of the images for training 269 of 1,528 are held out for validation.\n"


def corpus(name):
    return tomllib.loads((CORPUS / f"{name}.toml").read_text(encoding="utf-8"))["note"]


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    return library.fill(tmp_path_factory.mktemp("library"))


@pytest.fixture
def note(folders):
    """Writes a note beside the folders."""
    written = []

    def write(text, end=".md", protocol=True):
        path = folders / f"note-{len(written)}{end}"
        path.write_text(text + ("\n\n" + PROTOCOL if protocol else ""), encoding="utf-8")
        written.append(path)
        return path

    yield write
    for path in written:
        path.unlink()


def as_written(entry):
    return entry["text"], entry.get("end", ".md"), entry.get("protocol", True)


@pytest.mark.parametrize("entry", corpus("honest"), ids=lambda entry: entry["name"])
def test_an_honest_note_passes(note, entry):
    assert check(note(*as_written(entry))).problems == []


@pytest.mark.parametrize("entry", corpus("notes"), ids=lambda entry: f"{entry['kind']}: {entry['wrong']}")
def test_a_forged_note_is_caught(note, entry):
    said = [problem.text for problem in check(note(*as_written(entry))).problems]
    assert any(entry["says"] in text for text in said), said
