"""The results of the README: its table is what the evidence says, and everything that a page quotes may be cited."""

import re
import sys
from pathlib import Path

import pytest
from commands import ROOT, refused

from cnn_jax.errors import RunError
from cnn_jax.report.cite import cite
from cnn_jax.runs import evidence, outcome
from cnn_jax.runs.outcome import Outcome

sys.path.insert(0, str(ROOT / "scripts"))
import results

PAGES = sorted(
    page.relative_to(ROOT)
    for pattern in ("*.md", "docs/*.md", "experiments/**/README.md", "results/*.md")
    for page in ROOT.glob(pattern)
)
MEASURED = "performance"  # what the bench scripts wrote, which are no runs


def quoted(page, root):
    """The entries of root/results that a page links or refers to."""
    for target in re.findall(r"\]\((?!cite:|https?:)(?:run:)?([^)#@\s]+)", (root / page).read_text()):
        path = ((root / page).parent / target).resolve()
        if path.is_relative_to(root / "results"):
            yield path.relative_to(root / "results")


def refusals(names, root):
    """Why what lies in root/results under these names may not be cited: of a folder of several results, any of them."""
    for name in sorted(set(names)):
        path = root / "results" / name
        folder = path if path.is_dir() else path.parent
        if not path.exists():
            yield f"{name} is missing"
        elif folder != root / "results" and name.parts[0] != MEASURED:
            yield from (f"{name}: {reason}" for reason in refused_inside(folder))


def refused_inside(folder):
    """The refusals of the outermost folders with a manifest, at or below a folder."""
    places = [manifest.parent for manifest in folder.rglob("manifest.json")]
    if not places:
        yield "there is no evidence"
    for place in places:
        if any(other in place.parents for other in places):
            continue
        try:
            if (place / "verdict.json").is_file():
                outcome.verdict_of(place)
            else:
                cite(place, "text")
        except RunError as error:
            yield str(error)


def test_whatever_a_page_quotes_of_the_results_may_be_cited():
    names = [name for page in PAGES for name in quoted(page, ROOT)]
    assert list(refusals(names, ROOT)) == []


def test_all_evidence_may_be_cited():
    names = [Path(path.name) for path in (ROOT / "results").iterdir()]
    assert list(refusals(names, ROOT)) == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[here](results/good/summary.md)", None),
        ("[1 %](run:results/good@0123#test.accuracy)", None),
        ("[these](results/several)", None),
        ("[here](results/gone/summary.md)", "gone/summary.md is missing"),
        ("[1](results/spoilt)", "results.csv was changed"),
        ("[1 %](run:results/spoilt#test.accuracy)", "results.csv was changed"),
        ("[all](results/all)", "results.csv was changed"),
    ],
)
def test_a_page_that_quotes_what_is_refused_is_found(studied, tmp_path, text, reason):
    for name in ("good", "spoilt", "all/spoilt"):
        (tmp_path / "results" / name).parent.mkdir(parents=True, exist_ok=True)
        evidence.keep(studied.folder / "small", tmp_path / "results" / name)
    evidence.keep(studied.folder, tmp_path / "results" / "several" / "some_claim")
    for name in ("spoilt", "all/spoilt"):
        path = tmp_path / "results" / name / "results.csv"
        path.write_text(path.read_text().replace("complete", "diverged", 1))
    (tmp_path / "page.md").write_text(f"A number: {text}.\n")
    found = list(refusals(list(quoted(Path("page.md"), tmp_path)), tmp_path))
    assert len(found) == (reason is not None)
    assert reason is None or reason in found[0]


def test_the_readme_has_the_table_of_the_evidence():
    assert results.table() in (ROOT / "README.md").read_text()


def test_a_row_is_what_cite_says(studied, tmp_path):
    """And the row of what has not run says so, with the command."""
    evidence.keep(studied.folder / "small", tmp_path / "grid-fashion")
    outcome = Outcome.load(tmp_path / "grid-fashion")
    small, grid = results.table(tmp_path).splitlines()[2:]
    accuracies = sorted(outcome.by_seed("test.accuracy").values())
    middle = 100 * (accuracies[2] + accuracies[3]) / 2
    assert f"| {middle:.2f} % of {outcome.test_images:,} images, n = 6" in grid
    assert f"| 96.9 % interval of the median {100 * accuracies[0]:.2f} – {100 * accuracies[5]:.2f} % |" in grid
    assert f"| {100 - middle:.2f} % |" in grid
    assert cite(tmp_path / "grid-fashion", "text").count(f"{middle:.2f} %") == 1
    assert "60 of 1,528 training images held out for validation" in grid
    assert "| to be measured |" in small
    assert "`scripts/run scripts/results.py run small-fashion --data-dir DIR`" in small
    path = tmp_path / "grid-fashion" / "trials" / "0000" / "result.json"
    path.write_text(path.read_text().replace('"steps"', '"Steps"'))
    with pytest.raises(RunError, match=r"trials/0000/result\.json was changed"):
        results.table(tmp_path)


def test_a_result_that_there_is_not_is_one_line():
    assert "there is no result nothing; there are small-fashion, grid-fashion" in refused(
        "scripts/results.py", "keep", "nothing"
    )
