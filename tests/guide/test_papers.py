"""The papers' recipes run, and their table is what the evidence says."""

import dataclasses
import sys
from pathlib import Path

import pytest
from commands import finish

from cnn_jax.errors import RunError
from cnn_jax.references import references
from cnn_jax.runs import evidence
from cnn_jax.runs.outcome import Outcome
from cnn_jax.zoo import NETWORKS

ROOT = Path(__file__).resolve().parents[2]
PAPERS = ROOT / "experiments" / "papers"

sys.path.insert(0, str(PAPERS))
import paper as papers  # noqa: E402
import table  # noqa: E402


def test_the_table_is_what_the_evidence_says():
    assert table.README.read_text() == table.text()
    readme = (ROOT / "README.md").read_text()
    assert table.in_readme(readme) == readme


def test_evidence_comes_paper_by_paper(studied, tmp_path):
    """The row of one has numbers, with the exact level of their interval and how the run deviates; the others are in
    the table of what is planned; and what `cite` refuses is refused."""
    evidence.keep(studied.folder / "small", tmp_path / "lenet5")
    outcome = Outcome.load(tmp_path / "lenet5")
    planned = papers.planned(table.PAPERS, tmp_path)
    assert [paper.name for paper in table.PAPERS if paper.title in planned] == [
        paper.name for paper in table.PAPERS if paper.name != "lenet5"
    ]
    (row,) = papers.table(table.PAPERS, tmp_path).splitlines()[2:]
    assert "[lenet5](../../results/papers/lenet5/summary.md)" in row
    assert "[lenet5](results/papers/lenet5/summary.md)" in papers.short(table.PAPERS, tmp_path)
    errors = sorted(100 * (1 - x) for x in outcome.by_seed("test.accuracy").values())
    middle = (errors[2] + errors[3]) / 2
    assert f"| {middle:.2f} % (96.9 % interval of the median {errors[0]:.2f} – {errors[5]:.2f} %) | n = 6" in row
    assert f"96 of {outcome.data.source['split']['available']:,} training images" in row
    path = tmp_path / "lenet5" / "results.csv"
    path.write_text(path.read_text().replace("complete", "diverged", 1))
    with pytest.raises(RunError, match=r"results\.csv was changed"):
        papers.table(table.PAPERS, tmp_path)


def test_an_error_of_a_seed_that_diverged_is_above_every_number(studied):
    first, *rest = Outcome.load(studied.folder / "small").seeds
    gone = dataclasses.replace(first, status="diverged", at_chance=None, validation=None, test=None)
    outcome = dataclasses.replace(studied.outcome, seeds=(gone, *rest))
    lowest = min(100 * (1 - seed.test.accuracy) for seed in rest)
    assert papers.error(outcome).endswith(f"(96.9 % interval of the median {lowest:.2f} – diverged %)")


@pytest.mark.parametrize("paper", table.PAPERS, ids=lambda paper: paper.name)
def test_a_recipe_is_whole(paper):
    assert paper.source in references()
    assert paper.source in NETWORKS[paper.config["network"]].source
    assert len(paper.grid().trials()) == paper.seeds >= 6


LARGE = [
    pytest.param(name, marks=pytest.mark.slow)
    for name in ("airbench", "lenet5", "cuda_convnet", "allcnn", "resnet20", "wrn16_4")
]


@pytest.mark.parametrize("name", ["lecun1989", *LARGE])
def test_a_recipe_runs_in_its_quick_form(name, tmp_path):
    code, out, err = finish(f"experiments/papers/{name}.py", "--quick", "--out", tmp_path / "out")
    assert code == 0, err
    assert "Chosen by validation" in out
