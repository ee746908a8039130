"""The bot in a process of its own, as `tml-bot serve` runs it, with times that suit a test.

Run as a module with the configuration's path it is that process.
"""

import asyncio
import json
import os
import signal
import sqlite3
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp

from bot.__main__ import Timing, run_until_told, serving_forever
from bot.logs import configure_logging
from bot.settings import load_settings
from lifecycle.kube.lease import LeaseTiming
from sandbox import Sandbox
from tests.e2e.belongings import assert_no_secret_in
from tests.e2e.town import FAST, PATIENCE

ROOT = Path(__file__).parents[2]
SHORT_LEASE = LeaseTiming(renew=0.3, trust=0.8, duration=1.2, retry=0.05)
"""A dead holder's Lease lasts 1.2 s instead of 15 s; the proportions are those of the real one."""
TIMING = Timing(FAST.pace, FAST.watch_seconds, SHORT_LEASE, ping=0.5, look=0.3)

WITH_TEST_TIMES = ("-m", "tests.e2e.served")
AS_INSTALLED = ("-m", "bot", "serve", "--config")


@dataclass
class Served:
    """A running process and what it has logged."""

    process: Process
    lines: list[str] = field(default_factory=list)
    serving: asyncio.Event = field(default_factory=asyncio.Event)
    health_port: int = 0
    listening: asyncio.Task[int] = field(init=False)

    @property
    def commits(self) -> int:
        """Which a process says that counts them, when it has ended."""
        said = [json.loads(line) for line in self.lines]
        (count,) = (one["count"] for one in said if one["event"] == "commits")
        return int(count)

    @property
    def log(self) -> str:
        return "\n".join(self.lines)

    async def listen(self) -> int:
        """Read what it logs until it ends; returns its exit code."""
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            self.lines.append(line.decode().rstrip())
            said: dict[str, Any] = json.loads(line)  # whatever is logged is one JSON object in one line
            if said["event"] == "serving":
                self.health_port = said["health_port"]
                self.serving.set()
        return await self.process.wait()

    async def ended(self) -> int:
        """Its exit code, once it has ended and all it logged is read."""
        return await asyncio.wait_for(asyncio.shield(self.listening), PATIENCE)

    async def terminated(self) -> int:
        self.process.terminate()
        return await self.ended()

    async def asked(self, path: str) -> tuple[int, str]:
        """Status and text of its health port's answer."""
        address = f"http://127.0.0.1:{self.health_port}{path}"
        async with aiohttp.ClientSession() as session, session.get(address) as answer:
            return answer.status, (await answer.text()).strip()


@asynccontextmanager
async def served(
    box: Sandbox, configuration: Path, command: tuple[str, ...] = WITH_TEST_TIMES
) -> AsyncIterator[Served]:
    """The bot on both sandboxes, its socket open; killed at the end if it still runs."""
    environment = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", **box.environ}
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, str(configuration), cwd=ROOT, env=environment, stderr=PIPE, limit=1 << 20
    )
    async with attended(process) as running:
        yield running


@asynccontextmanager
async def attended(process: Process) -> AsyncIterator[Served]:
    """A bot's process from when its socket is open; killed at the end if it still runs."""
    running = Served(process)
    running.listening = asyncio.create_task(running.listen())
    started = asyncio.create_task(running.serving.wait())
    try:
        await asyncio.wait({started, running.listening}, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
        assert running.serving.is_set(), f"it does not serve: {running.log}"
        yield running
        assert_no_secret_in(running.log)
    finally:
        started.cancel()
        if process.returncode is None:
            process.kill()
        await running.ended()


async def logged(running: Served, event: str) -> None:
    async with asyncio.timeout(60):
        while event not in running.log:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.05)


class Nth(list[Any]):
    """A sandbox's record that does something the moment the n-th entry that fits is written, before it is answered."""

    def __init__(self, deed: Callable[[], None], fits: Callable[[Any], bool], count: int) -> None:
        super().__init__()
        self._deed = deed
        self._fits = fits
        self._left = count

    def append(self, entry: Any) -> None:
        super().append(entry)
        if self._fits(entry):
            self._left -= 1
            if self._left == 0:
                self._deed()


class Tripwire(Nth):
    """One that kills a process."""

    def __init__(self, process: Process, fits: Callable[[Any], bool], count: int) -> None:
        super().__init__(partial(process.send_signal, signal.SIGKILL), fits, count)


async def frozen(process: Process, database: Path) -> None:
    """Between two transactions: one that is frozen within keeps a SQLite file to itself."""
    while True:
        process.send_signal(signal.SIGSTOP)
        while not is_stopped(process.pid):  # noqa: ASYNC110 - the kernel tells nobody
            await asyncio.sleep(0)
        if is_free(database):
            return
        process.send_signal(signal.SIGCONT)
        await asyncio.sleep(0.01)


def is_stopped(pid: int) -> bool:
    states = [stat.read_text().rpartition(")")[2].split()[0] for stat in Path(f"/proc/{pid}/task").glob("*/stat")]
    return set(states) == {"T"}


def is_free(database: Path) -> bool:
    try:
        with closing(sqlite3.connect(database, timeout=0)) as connection:
            connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError:
        return False
    return True


if __name__ == "__main__":
    configure_logging()
    run_until_told(serving_forever(load_settings(Path(sys.argv[1]), os.environ), TIMING))
