"""The table says what was tried, and hides nothing that was lost."""

from typing import Literal

import pytest

from tests.faults.table import Row, table


def report(outcome: Literal["passed", "failed"], fault: str, operation: str, *, came: bool = True) -> pytest.TestReport:
    said: list[tuple[str, object]] = []
    row = Row(lambda name, value: said.append((name, value)))
    row.tries(fault, operation)
    if not came:
        row.did_not_come()
    return pytest.TestReport("node", ("", None, ""), {}, outcome, None, "call", user_properties=said)


def test_a_cell_has_what_was_tried_survived_and_lost_and_leaves_out_what_never_came() -> None:
    printed = table(
        [
            report("passed", "kill", "stop"),
            report("passed", "kill", "stop"),
            report("failed", "kill", "stop"),
            report("passed", "kill", "restore", came=False),
            report("failed", "away", "delete"),
        ]
    )
    assert "| kill | 3 · 2 · 1 |  |  |  |  |  |" in printed
    assert "| away |  |  |  |  | 1 · 0 · 1 |  |" in printed
