"""A database for each test without the 50 ms that making its schema takes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from storage.database import Database, make_file, open_database

_schema = b""
"""A file with all migrations and nothing in it."""


@asynccontextmanager
async def a_database(path: Path) -> AsyncIterator[Database]:
    """Open the file; where there is none it begins with the schema as it was made once in this process."""
    global _schema
    _schema = _schema or await _made()
    _begin(path)
    async with open_database(f"sqlite+aiosqlite:///{path}") as database:
        yield database


async def _made() -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "schema.db"
        async with open_database(f"sqlite+aiosqlite:///{path}"):
            pass  # closing it moves what is in its -wal file into it
        return path.read_bytes()


def _begin(path: Path) -> None:
    if not path.exists():
        make_file(path)
        path.write_bytes(_schema)
