"""Every claim has an answer and every experiment a claim; all run in their quick form; the page can be read."""

import ast
import dataclasses
import html
import re
import sys
from pathlib import Path

import pytest
from browser import chromium
from commands import finish, refused

from cnn_jax.errors import RunError
from cnn_jax.references import references
from cnn_jax.runs import evidence
from cnn_jax.runs.verdict import Finding, Verdict
from cnn_jax.study import sentence

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "experiments" / "guide"
NO_EXPERIMENT = {"all", "book", "classic"}

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
        assert answer in references() or answer == "out of reach"
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


def test_the_readme_is_what_the_evidence_says(tmp_path, monkeypatch):
    """Written again, it is the same, whatever evidence there is."""
    written = (GUIDE / "README.md").read_text()
    monkeypatch.setattr(book, "HERE", tmp_path)
    (tmp_path / "claims.toml").write_text((GUIDE / "claims.toml").read_text())
    monkeypatch.setattr(book, "table", lambda results, path: TABLE(results, GUIDE / "README.md"))
    book.write_readme(ROOT / "results" / "guide")
    assert (tmp_path / "README.md").read_text() == written


TABLE = book.table


@pytest.fixture
def one_result(studied, tmp_path, monkeypatch):
    """The folder of results where one claim, that of max pools, has the evidence of the small study."""
    claims = {"chapter": book.claims()["chapter"], "claim": CLAIMS}
    monkeypatch.setattr(book, "claims", lambda: claims)
    evidence.keep(studied.folder, tmp_path / "guide" / "pooling" / "digits" / "pilot")
    return tmp_path / "guide"


def test_evidence_comes_study_by_study(one_result, studied):
    """A row of the table and a paragraph of the page for what is there; the rest is to be measured."""
    rows = {row.split(" | ")[0][2:]: row for row in book.table(one_result, one_result / "README.md").splitlines()[2:]}
    asked = [claim for claim in CLAIMS if claim["answer"].endswith(".py")]
    waiting = [row for row in rows.values() if "| to be measured |" in row or "| registered, not yet run |" in row]
    assert len(waiting) == len(asked) - 1
    (row,) = (row for name, row in rows.items() if name.startswith("Pooling helps."))
    finding = studied.verdict.finding
    assert (
        f"| digits | {finding.answer} (exploratory) | {finding.statistic}: {finding.effect:+.3g} points (95 % t " in row
    )
    assert "[figure](pooling/digits/pilot/figure.png)" in row
    counted = f"1 of {len(asked)} experiments, 1 verdicts on data sets, 0 of them registered: "
    assert counted in book._counts(one_result)
    book.write_page(one_result, one_result / "guide.html")
    text = (one_result / "guide.html").read_text()
    assert text.count("To be measured.") == text.count("尚待测量。") == len(asked) - 1
    assert html.escape(sentence(studied.verdict))[1:] in text


def test_a_table_refuses_what_cite_refuses(one_result):
    path = one_result / "pooling" / "digits" / "pilot" / "pairs.csv"
    path.write_text(path.read_text().replace("\n", "\n1", 2))
    for write in (book.table, book.write_page):
        with pytest.raises(RunError, match="pooling"):
            write(one_result, one_result / "out.html")
    assert not (one_result / "out.html").exists()


def test_what_diverged_is_said_in_both_languages(studied):
    finding = Finding.paired("x", "points", [90.0, 91.0, 92.0], [None, 50.0, 60.0], at_chance=(0, 1))
    verdict = dataclasses.replace(studied.verdict, finding=finding)
    (claim,) = (claim for claim in CLAIMS if claim["key"] == "pooling")
    assert "0 and 1 of 3 runs diverged (Fisher's exact test, p = 1); 0 and 1 of 3 at chance" in book._said(
        claim, verdict, "en"
    )
    assert "发散 0 次与 1 次（各 3 次训练，Fisher 精确检验 p = 1）；停留在随机水平 0 次与 1 次" in book._said(
        claim, verdict, "zh"
    )
    nothing = dataclasses.replace(verdict, finding=Finding.paired("x", "points", [90.0] * 3, [None] * 3))
    assert "无从比较" in book._said(claim, nothing, "zh")


OWN = [name for name in SCRIPTS if "def investigate" in (GUIDE / f"{name}.py").read_text()]
ALIKE = ("stride",)  # of the comparisons, which differ in their variants alone: those can be built (test_study.py)


@pytest.mark.slow
@pytest.mark.parametrize("names", [[*OWN[::2], *ALIKE], OWN[1::2]], ids=["0", "1"])
def test_all_kinds_of_experiments_run(names, tmp_path):
    """A second call finds everything done."""
    command = ("experiments/guide/all.py", "--quick", "--only", *names, "--out", tmp_path)
    code, out, err = finish(*command, timeout=2400)
    assert code == 0, err[-3000:]
    for name in names:
        folder = tmp_path / name / "digits" / "pilot"
        verdict = Verdict.open(folder)
        assert (verdict.quick, verdict.claim) == (True, name)
        assert (folder / "figure.png").stat().st_size > 5000
        assert list(folder.glob("*.csv"))
        said = rf"^{name}: digits: (supported|contradicted|equivalent|undecided): .*\[(exploratory|exact), \d+ s\]$"
        assert re.search(said, out, re.MULTILINE)
    again = finish(*command, timeout=600)
    assert (again[0], again[1]) == (0, out)
    with chromium(tmp_path / "profile") as browser:
        browser.open(tmp_path / "guide.html")
        assert browser.console() == []
        headings = browser.run("return [...document.querySelectorAll('h3')].map(h => h.textContent)")
        assert {html.unescape(h) for h in headings} == {claim[n] for claim in CLAIMS for n in ("en", "zh")}
        assert browser.run("return [...document.images].every(i => i.alt && i.naturalWidth > 300)")
        wide = browser.run("return document.documentElement.scrollWidth <= window.innerWidth")
        assert wide


def test_a_record_has_no_place_of_this_machine(tmp_path):
    """`--data-dir` fills the cache and is forgotten before the run begins."""
    command = ("experiments/guide/detectors.py", "--dataset", "digits", "--out", tmp_path / "out")
    code, _, err = finish(*command, "--data-dir", tmp_path / "archives")
    assert code == 0, err
    folder = tmp_path / "out" / "digits" / "pilot"
    verdict = Verdict.open(folder)
    assert verdict.provenance.argv == tuple(map(str, command))
    assert "archives" not in (folder / "verdict.json").read_text()


def test_archives_that_are_not_there_are_one_line(tmp_path):
    words = refused("experiments/guide/detectors.py", "--data-dir", tmp_path, "--out", tmp_path / "out")
    assert "train-images-idx3-ubyte.gz" in words
    assert not (tmp_path / "out").exists()
