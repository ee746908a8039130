"""A database of its own for each test, and a clock that stands still until it is told to move."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from lifecycle.decide import start, stop
from lifecycle.model import Component
from lifecycle.operation import Operation, Outcome, State
from storage.database import Database, open_database
from storage.journal import DatabaseJournal
from storage.memory import Memory
from tests.fakes import values
from tests.fakes.database import a_database
from tests.fakes.values import planned


@dataclass
class StandingClock:
    """Moves only by hand."""

    at: datetime = values.NOW

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()

    def advance(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


@dataclass
class Store:
    """One process's view of the database."""

    database: Database
    clock: StandingClock

    def __post_init__(self) -> None:
        self.memory = memory = Memory.of(self.database, self.clock)
        self.journal = DatabaseJournal(self.database, self.clock)
        self.operations, self.approvals, self.proposals = memory.operations, memory.approvals, memory.proposals
        self.messages, self.sets = memory.messages, memory.sets
        self.retention, self.audit = memory.retention, memory.audit

    async def taken(self, operation: Operation, executor: str = "bot-1") -> Operation:
        """Begun and taken, ready to be worked on."""
        stored = await self.operations.begin(*planned(operation))
        return await self.journal.take(stored, executor, stored.epoch + 1)

    async def run(self, operation: Operation, state: State, seconds: float) -> Operation:
        """From its beginning to its end in so many seconds."""
        taken = await self.taken(replace(operation, begun_at=self.clock.now()))
        self.clock.advance(seconds)
        return await self.journal.finished(taken, Outcome(state))


@pytest.fixture
def clock() -> StandingClock:
    return StandingClock()


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite+aiosqlite:///{tmp_path}/data/tml-bot.db"


@pytest.fixture
async def store(tmp_path: Path, url: str, clock: StandingClock) -> AsyncIterator[Store]:
    async with a_database(tmp_path / "data" / "tml-bot.db") as database:
        yield Store(database, clock)


@pytest.fixture
async def other(store: Store, url: str, clock: StandingClock) -> AsyncIterator[Store]:
    """Another process on the same file."""
    async with open_database(url) as database:
        yield Store(database, clock)


def a_stop(identity: str = "op-000001") -> Operation:
    return values.operation(stop.goal(values.discovery()), identity)


def a_start(identity: str = "op-000001") -> Operation:
    found = values.discovery({component: values.down(values.workload(component)) for component in Component})
    return values.operation(start.goal(found, {}, {}), identity)
