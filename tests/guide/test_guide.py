"""Every claim has an answer and every experiment a claim; all run in their quick form; the page can be read."""

import ast
import html
import re
import sys
from pathlib import Path

import pytest
from browser import chromium
from commands import finish

from cnn_jax.references import references

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "experiments" / "guide"
NO_EXPERIMENT = {"all", "book"}

sys.path.insert(0, str(GUIDE))
import book  # noqa: E402

CLAIMS = book.claims()["claim"]
SCRIPTS = sorted(path.stem for path in GUIDE.glob("*.py") if path.stem not in NO_EXPERIMENT)


def test_there_is_no_orphan():
    answers = [claim["answer"] for claim in CLAIMS if claim["answer"].endswith(".py")]
    assert sorted(answers) == [f"experiments/guide/{name}.py" for name in SCRIPTS]
    assert len({claim["key"] for claim in CLAIMS}) == len(CLAIMS)
    chapters = [chapter["key"] for chapter in book.claims()["chapter"]]
    assert {claim["chapter"] for claim in CLAIMS} == set(chapters)


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim["key"])
def test_a_claim_is_whole(claim):
    answer = claim["answer"]
    if "::" in answer:
        path, name = answer.split("::")
        tree = ast.parse((ROOT / path).read_text())
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    elif answer.endswith(".py"):
        assert answer == f"experiments/guide/{claim['key']}.py"
        assert claim["measure_zh"]
    else:
        assert answer in references()
    for name in ("zh", "more_zh"):
        assert re.search(r"[\u4e00-\u9fff]{2}", claim[name]), name
    for name in ("en", "more_en"):
        assert claim[name].isascii() or not re.search(r"[\u4e00-\u9fff]", claim[name]), name
    assert claim["lines"]
    assert all(10 <= line <= 105 for line in claim["lines"])


@pytest.mark.parametrize("name", SCRIPTS)
def test_an_experiment_says_what_it_asks_and_expects(name):
    text = ast.get_docstring(ast.parse((GUIDE / f"{name}.py").read_text()))
    assert text.split("\n")[0].endswith("?")
    for part in ("The guide", f"scripts/run experiments/guide/{name}.py", "two CPU cores", "Expected:"):
        assert part in text, part


def test_the_table_is_what_the_evidence_says(tmp_path, monkeypatch):
    written = (GUIDE / "README.md").read_text()
    monkeypatch.setattr(book, "HERE", tmp_path)
    (tmp_path / "claims.toml").write_text((GUIDE / "claims.toml").read_text())
    assert book.table(ROOT / "results" / "guide", GUIDE / "README.md") in written


QUICKEST = "detectors", "nonlinearity", "votes"  # seconds each; one trains a sweep
OTHERS = [name for name in SCRIPTS if name not in QUICKEST]


@pytest.mark.parametrize(
    "names",
    [QUICKEST, *(pytest.param(part, marks=pytest.mark.slow) for part in (OTHERS[::2], OTHERS[1::2]))],
    ids=["quickest", "half of the others", "the other half"],
)
def test_all_experiments_run(names, tmp_path):
    """In parts, so that workers share them. A second call finds everything done."""
    command = ("experiments/guide/all.py", "--quick", "--only", *names, "--out", tmp_path)
    code, out, err = finish(*command, timeout=1800)
    assert code == 0, err[-3000:]
    for name in names:
        assert (tmp_path / name / "verdict.json").is_file()
        assert (tmp_path / name / "figure.png").stat().st_size > 5000
        assert list((tmp_path / name).glob("*.csv"))
        assert re.search(rf"^{name}: (supported|not supported|inconclusive): ", out, re.MULTILINE)
    again = finish(*command, timeout=300)
    assert (again[0], again[1]) == (0, out)
    with chromium(tmp_path / "profile") as browser:
        browser.open(tmp_path / "guide.html")
        assert browser.console() == []
        headings = browser.run("return [...document.querySelectorAll('h3')].map(h => h.textContent)")
        assert {html.unescape(h) for h in headings} == {claim[n] for claim in CLAIMS for n in ("en", "zh")}
        assert browser.run("return [...document.images].every(i => i.alt && i.naturalWidth > 300)")
        wide = browser.run("return document.documentElement.scrollWidth <= window.innerWidth")
        assert wide
