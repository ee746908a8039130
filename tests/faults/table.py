"""What became of the faults: which were tried on which operation, survived and lost."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pytest

FAULT, OPERATION, ABSENT = "fault", "operation", "did not come"
HEAD = ("fault", "stop", "start", "restart", "snapshot", "delete", "restore")


@dataclass
class Row:
    """What a case says of itself, kept in its report."""

    record: Callable[[str, object], None]

    def tries(self, fault: str, operation: str) -> None:
        self.record(FAULT, fault)
        self.record(OPERATION, operation)

    def did_not_come(self) -> None:
        self.record(ABSENT, True)


def table(reports: Iterable[pytest.TestReport]) -> str:
    """In Markdown: fault by operation, each cell tried · survived · lost."""
    tried: Counter[tuple[str, str]] = Counter()
    survived: Counter[tuple[str, str]] = Counter()
    for report in reports:
        said = dict(report.user_properties)
        if FAULT not in said or ABSENT in said:
            continue
        cell = (str(said[FAULT]), str(said[OPERATION]))
        tried[cell] += 1
        survived[cell] += report.passed
    faults = sorted({fault for fault, _ in tried})
    rows = [HEAD, tuple("---" for _ in HEAD)]
    rows += [(fault, *(_cell(tried[fault, one], survived[fault, one]) for one in HEAD[1:])) for fault in faults]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cell(tried: int, survived: int) -> str:
    return f"{tried} · {survived} · {tried - survived}" if tried else ""
