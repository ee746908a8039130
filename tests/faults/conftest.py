"""Which cases a run has, and the table at its end."""

import random
from collections.abc import Callable

import pytest

from tests.conftest import SEED
from tests.faults.jobs import JOBS
from tests.faults.table import FAULT, Row, table

OTHER_FAULTS = 5
"""How many of them are in the sample, beside one kill of each operation."""


MATRIX = ("test_kills.py", "test_faults.py")


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption(SEED))


@pytest.fixture
def row(record_property: Callable[[str, object], None]) -> Row:
    return Row(record_property)


@pytest.hookimpl(tryfirst=True)  # before -m looks at the marks
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """All but the sample is the matrix's only."""
    own = [item for item in items if item.path.parent.name == "faults" and item.path.name in MATRIX]
    sample = sampled(own, random.Random(config.getoption(SEED)))
    for item in own:
        if item not in sample:
            item.add_marker("matrix")


def sampled(items: list[pytest.Item], chance: random.Random) -> list[pytest.Item]:
    kills = {job.name: [item for item in items if is_kill(item, job.name)] for job in JOBS}
    others = [item for item in items if item.path.name == "test_faults.py"]
    chosen = [chance.choice(group) for group in kills.values() if group]
    return chosen + chance.sample(others, min(OTHER_FAULTS, len(others)))


def is_kill(item: pytest.Item, job: str) -> bool:
    return "_killed_" in item.name and f"[{job}-" in item.name


def pytest_report_header(config: pytest.Config) -> str:
    return f"faults: seed {config.getoption(SEED)}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    stats = terminalreporter.stats
    reports = [one for kind in ("passed", "failed") for one in stats.get(kind, []) if one.when == "call"]
    if not any(FAULT in dict(one.user_properties) for one in reports):
        return
    seed = terminalreporter.config.getoption(SEED)
    terminalreporter.write_line(f"\ntried · survived · lost, seed {seed}\n{table(reports)}")
