"""The table of real times, printed at the end."""

from collections.abc import Callable
from dataclasses import astuple

import pytest

from tests.cluster.town import Row

Measured = Callable[[Row], None]
MEASURED = "measured"


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Measured:
    """Adds a row to the table; it goes along with the test's report, from whichever process ran it."""
    return lambda row: request.node.user_properties.append((MEASURED, list(astuple(row))))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    passed = terminalreporter.getreports("passed")
    rows = [Row(*value) for report in passed for name, value in report.user_properties if name == MEASURED]
    if rows:
        terminalreporter.section("operations on a real control plane")
        for row in sorted(rows, key=lambda row: row.what):
            count = "-" if row.requests is None else row.requests
            terminalreporter.write_line(f"{row.what:<54}{row.seconds:6.1f} s of {row.limit:4} s {count:>5} requests")
