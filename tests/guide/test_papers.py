"""The papers' recipes run, and their table is what the evidence says."""

import sys
from pathlib import Path

import pytest
from commands import finish

from cnn_jax.references import references
from cnn_jax.zoo import get

ROOT = Path(__file__).resolve().parents[2]
PAPERS = ROOT / "experiments" / "papers"

sys.path.insert(0, str(PAPERS))
import table  # noqa: E402


def test_the_table_is_what_the_evidence_says():
    assert table.README.read_text() == table.text()


@pytest.mark.parametrize("paper", table.PAPERS, ids=lambda paper: paper.name)
def test_a_recipe_is_whole(paper):
    assert paper.source in references()
    assert paper.source in get(paper.config["network"]).source
    assert len(paper.grid().trials()) == paper.seeds >= 6


@pytest.mark.parametrize("name", ["lecun1989", "lenet5"])
def test_a_recipe_runs_in_its_quick_form(name, tmp_path):
    code, out, err = finish(f"experiments/papers/{name}.py", "--quick", "--out", tmp_path / "out")
    assert code == 0, err
    assert "Chosen by validation" in out


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cuda_convnet", "allcnn", "resnet20"])
def test_a_large_recipe_runs_in_its_quick_form(name, tmp_path):
    test_a_recipe_runs_in_its_quick_form(name, tmp_path)
