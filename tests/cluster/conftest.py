"""The table of real times, printed at the end."""

from collections.abc import Callable

import pytest

Row = tuple[str, float, int]
ROWS: pytest.StashKey[list[Row]] = pytest.StashKey()


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Callable[[Row], None]:
    """Adds (what, seconds, requests of the bot) to the table."""
    return request.config.stash.setdefault(ROWS, []).append


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    rows = config.stash.get(ROWS, [])
    if rows:
        terminalreporter.section("operations on a real control plane")
        for what, seconds, requests in rows:
            terminalreporter.write_line(f"{what:<62} {seconds:6.1f} s {requests:5} requests")
