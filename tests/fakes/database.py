"""A database for each test without the 50 ms that making its schema takes."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from storage.database import Database, make_file, open_database

_KEPT = TemporaryDirectory(prefix="tml-bot-schema-")  # for as long as the process lives
_SCHEMA = Path(_KEPT.name) / "schema.db"


@asynccontextmanager
async def a_database(path: Path) -> AsyncIterator[Database]:
    """Open the file; where there is none it begins as a copy of one with all migrations."""
    if not _SCHEMA.exists():
        made = _SCHEMA.with_suffix(".made")
        async with open_database(f"sqlite+aiosqlite:///{made}"):
            pass  # closing it moves what is in its -wal file into it
        made.rename(_SCHEMA)
    _begin(path)
    async with open_database(f"sqlite+aiosqlite:///{path}") as database:
        yield database


def _begin(path: Path) -> None:
    if not path.exists():
        make_file(path)
        shutil.copyfile(_SCHEMA, path)
