"""Tests that try many cases (damaged files, kills) report how many, and pytest prints one table of them at its end.

    from counting import count

    def test_damaged_files_are_one_line(record_property, request):
        failures = []
        for n in range(tries := cases(request, quick=100, slow=1000)): ...  # failures.append("seed 7: KeyError: …")
        count(record_property, "damaged images", tried=tries, failures=failures)

The counts travel in the user properties of the test's report, and so from the workers of pytest-xdist as well.
"""

from collections.abc import Callable, Sequence

import pytest

PROPERTY = "counted"


def cases(request: pytest.FixtureRequest, *, quick: int, slow: int) -> int:
    """How many cases to try: `slow` with --slow, else `quick`."""
    return slow if request.config.getoption("--slow") else quick


def count(record_property: Callable[[str, object], None], kind: str, *, tried: int, failures: Sequence[str]) -> None:
    """Adds to the row `kind` of the table, then fails the test if there is a failure. Tests of one kind share a row."""
    record_property(PROPERTY, [kind, tried, len(failures)])
    assert tried > 0
    assert not failures, f"{len(failures)} of {tried} {kind} failed, among them:\n" + "\n".join(failures[:5])


def table(reports: Sequence[pytest.TestReport]) -> list[str]:
    """The lines of the table of all that these reports count; none where nothing is counted."""
    rows: dict[str, list[int]] = {}
    for report in reports:
        for name, value in report.user_properties:
            if name == PROPERTY and report.when == "call":
                kind, tried, failed = value
                row = rows.setdefault(kind, [0, 0])
                row[0], row[1] = row[0] + tried, row[1] + failed
    if not rows:
        return []
    width = max(map(len, rows))
    lines = [f"{'kind':{width}}  {'tried':>7}  {'failures':>8}"]
    return lines + [f"{kind:{width}}  {tried:7,}  {failed:8,}" for kind, (tried, failed) in sorted(rows.items())]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [
        report
        for listed in terminalreporter.stats.values()
        for report in listed
        if isinstance(report, pytest.TestReport)
    ]
    if lines := table(reports):
        terminalreporter.write_sep("=", "cases tried and failed")
        for line in lines:
            terminalreporter.write_line(line)
