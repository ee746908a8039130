"""The database: one writer at a time, readers that never wait, every fault one error."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from alembic.util import CommandError
from sqlalchemy import URL, Connection, event, make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from storage.migrations import upgrade

T = TypeVar("T")
TOLD = "messages-changed"
"""The mark in a connection's ``info`` while its transaction has changed what people are to be shown."""

BUSY_TIMEOUT = 5000
"""Milliseconds that SQLite waits for another process's transaction."""

WRITER_PRAGMAS = (
    f"busy_timeout={BUSY_TIMEOUT}",  # first: the change to WAL may have to wait, too
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "recursive_triggers=ON",
)
READER_PRAGMAS = (f"busy_timeout={BUSY_TIMEOUT}", "query_only=ON")


class StorageError(Exception):
    """The database did not do it (locked, full, read-only, unreachable, a promise broken); nothing was written.

    The cause is the driver's or SQLAlchemy's own error.
    """


class Changes:
    """Wakes the projector when what people are to be shown has changed in this process.

    A change between two waits is not lost: the next wait returns at once. Made for one listener.
    """

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def tell(self) -> None:
        self._event.set()

    async def changed(self, within: float) -> bool:
        """Whether something was committed since the last call; False when ``within`` seconds passed without."""
        try:
            async with asyncio.timeout(within):
                await self._event.wait()
        except TimeoutError:
            return False
        self._event.clear()
        return True


async def to_its_end(work: Awaitable[T]) -> T:
    """What comes of it; who is cancelled meanwhile, once or several times, is so when it is over."""
    doing = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not doing.done():
        try:
            await asyncio.wait({doing})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled and not doing.cancelled():
        doing.exception()  # so that it counts as heard
        raise cancelled
    return doing.result()


class Whole(AsyncConnection):
    """A connection whose statements come to their end: cut off they stay open in SQLite, and with them the lock."""

    async def begun(self) -> None:
        await self.start()
        await self.begin()

    async def execute(self, *arguments: Any, **options: Any) -> Any:
        return await to_its_end(super().execute(*arguments, **options))

    async def run_sync(self, *arguments: Any, **options: Any) -> Any:
        return await to_its_end(super().run_sync(*arguments, **options))


@asynccontextmanager
async def connected(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A transaction, begun; what is not committed when the block ends is rolled back before anything else goes on."""
    with faults():
        connection = Whole(engine)
        try:
            await to_its_end(connection.begun())
            yield connection
        finally:
            if connection.sync_connection is not None:
                await to_its_end(connection.close())


class Database:
    """An open database of the newest schema. Made by ``open_database``."""

    def __init__(self, writer: AsyncEngine, reader: AsyncEngine) -> None:
        self.changes = Changes()
        self._writer = writer
        self._reader = reader
        self._turn = asyncio.Lock()
        self._users: set[object] = set()
        self._left = asyncio.Event()
        self._closing = False

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """Write: all of the block or nothing of it. Commits at the end of the block, and only then wakes ``changes``.

        Not to be nested, and nothing but the database is to be awaited in it. Raises StorageError.
        """
        async with self._turn, self._used(self._writer) as connection:
            connection.info.pop(TOLD, None)
            yield connection
            await self._commit(connection)

    async def _commit(self, connection: AsyncConnection) -> None:
        """A cancelled caller waits for the end of it, so that it is never unknown whether it was committed."""
        commit = asyncio.ensure_future(connection.commit())
        try:
            await to_its_end(commit)
        finally:
            if commit.exception() is None and connection.info.pop(TOLD, False):
                self.changes.tell()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """Read one moment's state; waits for no writer and cannot write. Raises StorageError."""
        async with self._used(self._reader) as connection:
            yield connection

    @asynccontextmanager
    async def _used(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        if self._closing:
            raise StorageError("the database is closed: the program is ending")
        user = object()
        self._users.add(user)
        try:
            async with connected(engine) as connection:
                yield connection
        finally:
            self._users.remove(user)
            self._left.set()

    async def close(self) -> None:
        """Begin nothing more, and see what has begun to its end: a connection in use cannot be closed."""
        self._closing = True
        while self._users:
            self._left.clear()
            await self._left.wait()
        await self._reader.dispose()
        await self._writer.dispose()


@asynccontextmanager
async def open_database(url: str) -> AsyncIterator[Database]:
    """Open the SQLite file at ``url``, make it if need be (0600, its folder 0700), and bring its schema up to date.

    Raises StorageError, and ValueError for a URL that is no SQLite file's.
    """
    address = file_address(url)
    make_file(Path(address.database or ""))
    writer = create_async_engine(address, pool_size=1, max_overflow=0, pool_timeout=60)
    reader = create_async_engine(address, pool_size=5, max_overflow=15)
    begin_with(writer, "BEGIN IMMEDIATE", WRITER_PRAGMAS)
    begin_with(reader, "BEGIN", READER_PRAGMAS)
    database = Database(writer, reader)
    try:
        async with database.transaction() as connection:
            await connection.run_sync(upgrade)
        yield database
    finally:
        await to_its_end(database.close())


def file_address(url: str) -> URL:
    """The same URL with the asyncio driver; one file, because writer and readers have to see the same data."""
    address = make_url(url)
    if address.get_backend_name() != "sqlite":
        raise ValueError(f"{address.get_backend_name()} is not supported: the database is an SQLite file")
    if address.database in (None, "", ":memory:") or str(address.database).startswith("file:"):
        raise ValueError("the database's URL names no plain file: write sqlite+aiosqlite:////data/tml-bot.db")
    return address.set(drivername="sqlite+aiosqlite")


def make_file(path: Path) -> None:
    """SQLite gives its -wal and -shm files the mode of the database file."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
    except OSError as error:
        raise StorageError(f"the database file cannot be made: {error}") from error


def begin_with(engine: AsyncEngine, statement: str, pragmas: tuple[str, ...]) -> None:
    """Let SQLAlchemy begin transactions instead of sqlite3, which would do so only before the first write.

    See "Serializable isolation / Savepoints / Transactional DDL" in SQLAlchemy's SQLite dialect.
    """

    @event.listens_for(engine.sync_engine, "connect")
    def connected(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in pragmas:
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def begun(connection: Connection) -> None:
        connection.exec_driver_sql(statement)


@contextmanager
def faults() -> Iterator[None]:
    """Translate at the door. The text names no parameters: they hold people's words."""
    try:
        yield
    except DBAPIError as error:
        raise StorageError(f"the database did not do it: {error.orig}") from error
    except CommandError as error:
        raise StorageError(f"the database is not of this version of the program: {error}") from error
    except SQLAlchemyError as error:
        raise StorageError(f"the database did not do it: {type(error).__name__}") from error
