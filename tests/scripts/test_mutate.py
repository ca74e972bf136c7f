"""The mutation runner: its mutants are those of the source, and it tells what tests notice from what they do not."""

import ast
import json
import subprocess
import sys

import pytest
from commands import ROOT, finish

sys.path.insert(0, str(ROOT / "scripts"))

import mutate

SOURCE = '''
"""A docstring is not mutated."""
import math

__all__ = ["grade"]


def grade(score: float, limit: int = 5) -> str:
    if score >= limit and not math.isnan(score):
        return "good"
    require(score)
    return "bad" if -score < 0.5 + limit else "none"


def require(score):
    if score is None:
        raise ValueError("no score of 3")
'''
CHANGES = {
    "grade: def grade(score: float, limit: int=5) -> str: -> def grade(score: float, limit: int=6) -> str:",
    "grade: if score >= limit and (not math.isnan(score)): -> if score >= limit or not math.isnan(score):",
    "grade: if score >= limit and (not math.isnan(score)): -> if score > limit and (not math.isnan(score)):",
    "grade: if score >= limit and (not math.isnan(score)): -> if score >= limit and (not not math.isnan(score)):",
    "grade: return 'good' -> return None",
    "grade: return 'good' -> return 'good?'",
    "grade: require(score) -> None",
    "grade: return 'bad' if -score < 0.5 + limit else 'none' -> return None",
    "grade: return 'bad' if -score < 0.5 + limit else 'none' -> return 'none' if -score < 0.5 + limit else 'bad'",
    "grade: return 'bad' if -score < 0.5 + limit else 'none' -> return 'bad' if -score <= 0.5 + limit else 'none'",
    "grade: return 'bad' if -score < 0.5 + limit else 'none' -> return 'bad' if +score < 0.5 + limit else 'none'",
    "grade: return 'bad' if -score < 0.5 + limit else 'none' -> return 'bad' if -score < 0.5 - limit else 'none'",
    "grade: return 'bad' if -score < 0.5 + limit else 'none' -> return 'bad' if -score < 1.5 + limit else 'none'",
    "grade: return 'bad' if -score < 0.5 + limit else 'none' -> return 'bad?' if -score < 0.5 + limit else 'none'",
    "grade: return 'bad' if -score < 0.5 + limit else 'none' -> return 'bad' if -score < 0.5 + limit else 'none?'",
    "require: if score is None: -> if score is not None:",
}


def test_the_mutants_of_a_module_one_by_one():
    mutants = mutate.mutants(SOURCE)
    assert {mutant.change for mutant in mutants} == CHANGES
    assert len(mutants) == len(CHANGES)
    assert [mutant.change for mutant in mutants if mutant.at_import] == [
        next(c for c in CHANGES if "limit: int=6" in c)
    ]
    original = ast.unparse(ast.parse(SOURCE))
    for mutant in mutants:
        before, after = original.splitlines(), mutant.source.splitlines()
        assert sum(a != b for a, b in zip(before, after, strict=True)) == 1


UNNOTICED = (
    "-> None",
    "-> return 'bad' if -score <= 0.5 + limit else 'none'",
    "-> return 'bad' if +score < 0.5 + limit else 'none'",
    "-> return 'bad' if -score < 1.5 + limit else 'none'",
    "-> return 'bad' if -score < 0.5 + limit else 'none?'",
)
TESTS = """
from mutant_victim import grade

def test_good():
    assert grade(5) == "good"

def test_bad():
    assert grade(1) == "bad"
"""


@pytest.fixture
def victim(tmp_path):
    """A module and its tests in a folder of their own, with a copy of the runner beside them."""
    for name, text in (
        ("scripts/mutate.py", (ROOT / "scripts" / "mutate.py").read_text()),
        ("mutant_victim.py", SOURCE),
        ("tests/test_mutant_victim.py", TESTS),
        ("tests/conftest.py", ""),
        ("pytest.ini", "[pytest]\npythonpath = .\n"),
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def scores(victim, **options):
    command = [sys.executable, "scripts/mutate.py", "mutant_victim.py", "--tests", "tests/test_mutant_victim.py"]
    options = [f"--{name}={value}" for name, value in {"memory": victim / "memory.jsonl", **options}.items()]
    return subprocess.run([*command, *options], cwd=victim, capture_output=True, text=True, timeout=300)


@pytest.mark.slow
def test_what_tests_notice_is_told_from_what_they_do_not(victim):
    before = (victim / "mutant_victim.py").read_text()
    done = scores(victim)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    survivors = {line.split(": ", 2)[2] for line in lines if line.startswith("mutant_victim.py:")}
    assert survivors == {change for change in CHANGES if change.endswith(UNNOTICED)}
    cells = lines[-1].split(" | ")
    assert [int(cell) for cell in cells[1:7]] == [len(CHANGES), len(CHANGES) - len(survivors), 0, len(survivors), 0, 0]
    assert (victim / "mutant_victim.py").read_text() == before
    assert len((victim / "memory.jsonl").read_text().splitlines()) == len(CHANGES) - len(survivors)
    listed = "".join(f"{json.dumps(change)} = 'a reason'\n" for change in survivors)
    (victim / "tests" / "equivalent_mutants.toml").write_text("['mutant_victim.py']\n" + listed)
    row = scores(victim).stdout.splitlines()[-1]
    assert row.endswith(f" | 0 | 0 | {len(survivors)} | 100.0% |")


def test_the_page_has_the_kept_scores():
    scores = json.loads(mutate.SCORES.read_text())
    assert f"{mutate.BEGIN}{mutate.kept_table()}{mutate.END}" in mutate.PAGE.read_text()
    for row in scores.values():
        tried = row["mutants"] - row["equivalent"]
        assert row["score"] == f"{(row['killed'] + row['timeout']) / tried:.1%}"


def test_tests_that_fail_without_a_mutant_are_refused(victim):
    (victim / "tests" / "test_mutant_victim.py").write_text(TESTS.replace('== "bad"', '== "worse"'))
    done = scores(victim)
    assert done.returncode == 1
    assert "the tests do not pass without a mutant" in done.stderr


def test_error_rates_prints_its_tables():
    code, out, err = finish("scripts/error_rates.py", "--grids", "20")
    assert code == 0, err
    assert sum(line.startswith("| --- |") for line in out.splitlines()) == 3
    assert "| equal spread |" in out
    assert "| failure_interval | 8 | 95 % |" in out
