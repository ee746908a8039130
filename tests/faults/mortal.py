"""The bot in a process of its own that can be told when to die and when its disk is full.

The process is forked by a server that has imported everything: matrix after matrix of them would else spend most of
its time on imports.
"""

import asyncio
import multiprocessing
import os
import signal
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, cast

import structlog
from sqlalchemy import Engine, event
from sqlalchemy.dialects.sqlite.aiosqlite import SQLiteDialect_aiosqlite

from bot.__main__ import Timing, run_until_told, serving_forever
from bot.logs import configure_logging
from bot.settings import load_settings
from sandbox import Sandbox
from tests.e2e.served import TIMING, Served, attended

BEGINNING = "INSERT INTO operations"
FULL = "disk-is-full"
"""While a file of this name stands in the sandbox's folder, the database cannot grow."""
PRELOADED = ["tests.faults.mortal", "kubernetes.aio"]


class Commits:
    """Counts this process's commits from the one that begins an operation on; the n-th is its last deed."""

    def __init__(self, last: int) -> None:
        self.count = 0
        self._last = last
        self._has_begun = False

    def install(self) -> None:
        event.listen(Engine, "before_cursor_execute", self._look)
        commit = SQLiteDialect_aiosqlite.do_commit

        def counted(dialect: SQLiteDialect_aiosqlite, connection: Any) -> None:
            commit(dialect, connection)  # returns when the database has it
            self._committed()

        SQLiteDialect_aiosqlite.do_commit = counted  # SQLAlchemy's own event comes before the commit

    def _look(self, _connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        self._has_begun = self._has_begun or statement.startswith(BEGINNING)

    def _committed(self) -> None:
        if self._has_begun:
            self.count += 1
            if self.count == self._last:
                os.kill(os.getpid(), signal.SIGKILL)


def limit_pages(mark: Path) -> None:
    """SQLite itself says that the disk is full: it is told to take no page more than it has."""

    @event.listens_for(Engine, "before_cursor_execute")
    def limited(_connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if statement == "BEGIN IMMEDIATE":
            cursor.execute(f"PRAGMA max_page_count={1 if mark.exists() else 1 << 30}")


def live(configuration: Path, environ: Mapping[str, str], timing: Timing, last_commit: int, log: Connection) -> None:
    """What the process does; ends by SIGTERM, or after so many commits (0: never)."""
    os.dup2(log.fileno(), 2)
    configure_logging()
    commits = Commits(last_commit)
    commits.install()
    limit_pages(configuration.parent / FULL)
    run_until_told(serving_forever(load_settings(configuration, environ), timing))
    structlog.get_logger("bot").info("commits", count=commits.count)


class Forked:
    """What `attended` and people use of asyncio's Process."""

    def __init__(self, process: Any, stderr: asyncio.StreamReader) -> None:
        self._process = process
        self.stderr = stderr

    @property
    def pid(self) -> int:
        return int(self._process.pid)

    @property
    def returncode(self) -> int | None:
        code: int | None = self._process.exitcode
        return code

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    async def wait(self) -> int:
        await asyncio.to_thread(self._process.join)
        code = self.returncode
        assert code is not None
        return code


@asynccontextmanager
async def mortal(
    box: Sandbox, configuration: Path, *, timing: Timing = TIMING, last_commit: int = 0
) -> AsyncIterator[Served]:
    """The bot on both sandboxes, its socket open; killed at the end if it still runs."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    reading, writing = context.Pipe(duplex=False)
    told = (configuration, dict(box.environ), timing, last_commit, writing)
    process = context.Process(target=live, args=told, daemon=True)
    process.start()
    writing.close()
    stderr = asyncio.StreamReader(limit=1 << 20)
    pipe = os.fdopen(os.dup(reading.fileno()), "rb", buffering=0)
    reading.close()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stderr), pipe)
    try:
        async with attended(cast("Process", Forked(process, stderr))) as running:
            yield running
    finally:
        process.close()
