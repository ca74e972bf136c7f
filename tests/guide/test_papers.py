"""The papers' recipes run, and their table is what the evidence says."""

import dataclasses
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from commands import finish

from cnn_jax import registry
from cnn_jax.errors import RunError
from cnn_jax.references import references
from cnn_jax.runs import evidence
from cnn_jax.runs.outcome import Outcome
from cnn_jax.zoo import NETWORKS

ROOT = Path(__file__).resolve().parents[2]
PAPERS = ROOT / "experiments" / "papers"

BEFORE = dict(registry.ORIGINS)
sys.path.insert(0, str(PAPERS))
import lenet5_1998  # noqa: E402
import paper as papers  # noqa: E402
import table  # noqa: E402

registry.ORIGINS.clear()
registry.ORIGINS.update(BEFORE)  # its parts are no plugin of the runs of other tests


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
    assert [paper.name for paper in table.PAPERS if f"| {paper.title} (" in planned] == [
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


SMALL = ("lecun1989", "lenet5_1998")
ALIKE = {  # others of these run; their networks take long to compile
    "allcnn", "lenet5_1998_shifted", "nin", "preact_resnet18", "resnet20", "vgg16",
}  # fmt: skip
LARGE = [
    pytest.param(name, marks=pytest.mark.slow)
    for name in sorted({paper.name for paper in table.PAPERS} - set(SMALL) - ALIKE)
]


@pytest.mark.parametrize("name", [*SMALL, *LARGE])
def test_a_recipe_runs_in_its_quick_form(name, tmp_path):
    code, out, err = finish(f"experiments/papers/{name}.py", "--quick", "--out", tmp_path / "out")
    assert code == 0, err
    assert "Chosen by validation" in out


def test_the_parts_of_1998_are_the_papers_equations():
    """In NumPy: equation 9 for squared distances, and the steps rate / (mu + h) of three gradients."""
    random = np.random.default_rng(0)
    distances, labels = random.uniform(0, 20, (6, 10)), random.integers(0, 10, 6)
    total = np.exp(-lenet5_1998.REFUSAL) + np.exp(-distances).sum(1)
    expected = distances[np.arange(6), labels] + np.log(total)
    found = lenet5_1998.discriminative(jnp.asarray(-distances, jnp.float32), jnp.asarray(labels))
    np.testing.assert_allclose(found, expected, rtol=1e-5)

    optimizer = lenet5_1998.diagonal(0.5, mu=0.02, memory=0.9)
    weights, squares, mass = np.zeros(3), np.zeros(3), 0.0
    params, state = jnp.zeros(3), optimizer.init(jnp.zeros(3))
    for gradient in random.normal(size=(3, 3)):
        squares, mass = 0.9 * squares + 0.1 * gradient**2, 0.9 * mass + 0.1
        weights -= 0.5 * gradient / (0.02 + squares / mass)
        updates, state = optimizer.update(jnp.asarray(gradient, jnp.float32), state, params)
        params = params + updates
    np.testing.assert_allclose(params, weights, rtol=1e-5)

    rates = 5e-4 * lenet5_1998.passes(np.arange(20 * 7), steps_per_epoch=7)
    np.testing.assert_allclose(rates[::7], [5e-4] * 2 + [2e-4] * 3 + [1e-4] * 3 + [5e-5] * 4 + [1e-5] * 8)
