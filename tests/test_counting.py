"""The table of counted cases: printed once, whole, whether the tests ran in one process or several."""

from pathlib import Path

import pytest
from counting import table

pytest_plugins = ["pytester"]

TESTS = """
import pytest
from counting import cases, count

@pytest.mark.parametrize("failures", [[], [], ["seed 3: KeyError"]])
def test_flips(failures, record_property):
    count(record_property, "flipped bits", tried=20, failures=failures)

def test_kills(record_property, request):
    count(record_property, "kills", tried=cases(request, quick=5, slow=60), failures=[])

def test_nothing_tried(record_property):
    count(record_property, "nothing", tried=0, failures=[])

def test_plain():
    pass
"""


@pytest.mark.parametrize(("options", "kills"), [(["-n", "0"], 5), (["-n", "2", "--slow"], 60)])
def test_the_table_adds_up_what_all_tests_counted(options, kills, pytester: pytest.Pytester, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    pytester.makeconftest(
        "from counting import pytest_terminal_summary\n"
        "def pytest_addoption(parser): parser.addoption('--slow', action='store_true')"
    )
    pytester.makepyfile(TESTS)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", *options)
    result.assert_outcomes(passed=4, failed=2)
    start = next(i for i, line in enumerate(result.outlines) if "cases tried and failed" in line)
    rows = [line.split() for line in result.outlines[start + 1 : start + 5]]
    assert rows == [
        ["kind", "tried", "failures"],
        ["flipped", "bits", "60", "1"],
        ["kills", str(kills), "0"],
        ["nothing", "0", "0"],
    ]
    result.stdout.fnmatch_lines(["*1 of 20 flipped bits failed, among them:*", "*seed 3: KeyError*"])


def test_without_counts_there_is_no_table():
    assert table([]) == []
