"""Measures everything and prints one table."""

import asyncio
import os
import platform
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.acks import acks, flood
from benchmarks.database import database
from benchmarks.figures import Figure
from benchmarks.operations import operations


async def _measured() -> list[Figure]:
    figures: list[Figure] = []
    for measure in (acks, flood, operations, database):
        with tempfile.TemporaryDirectory(prefix="tml-bot-bench-") as folder:
            figures += await measure(Path(folder))
    return figures


def main() -> None:
    """The table, with what it was measured on."""
    figures = asyncio.run(_measured())
    on = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, {sys.platform}"
    table = Table("figure", "measured", "promised", title=f"tml-bot on {on}", title_justify="left")
    for figure in figures:
        table.add_row(figure.name, figure.value, figure.promise)
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
