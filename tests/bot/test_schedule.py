"""What is due because time passes is done in time, and again after a restart."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bot.schedule import ApprovalJobs, scheduling
from lifecycle.approval import Approval, ApprovalState
from storage.database import Database, StorageError
from tests.bot.house import until
from tests.bot.office import Told
from tests.fakes.database import a_database
from tests.storage.conftest import StandingClock, Store
from tests.storage.test_approvals import ASKED, BOB


class Shifted(StandingClock):
    """The machine's clock, as much later as it was told."""

    shift = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.shift


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with a_database(tmp_path / "tml-bot.db") as database:
        yield Store(database, Shifted())


async def asked(store: Store, ago: timedelta) -> Approval:
    """Asked for so long ago."""
    store.clock.shift = -ago
    found = await store.approvals.ask(ASKED)
    store.clock.shift = timedelta()
    return found


async def kinds(store: Store) -> list[str]:
    return [entry.kind for entry in await store.messages.entries_of(ASKED.id)]


async def test_what_became_due_while_nobody_ran_is_done_at_the_start(store: Store) -> None:
    await asked(store, timedelta(minutes=21))
    async with scheduling(store.proposals, store.approvals, Told()):
        assert await kinds(store) == ["approval-asked", "approval-escalated", "approval-reminded"]
        assert (await store.approvals.get(ASKED.id)).state is ApprovalState.PENDING


async def test_each_thing_is_done_when_its_time_comes(store: Store) -> None:
    await asked(store, timedelta(minutes=30) - timedelta(seconds=1.2))

    async def expired() -> bool:
        return (await store.approvals.get(ASKED.id)).state is ApprovalState.EXPIRED

    async with scheduling(store.proposals, store.approvals, Told()):
        assert not await expired()
        await until(expired, "the approval to expire")


async def test_an_approval_asked_for_later_gets_its_job_at_the_next_look_and_loses_it_at_its_end(store: Store) -> None:
    async with scheduling(store.proposals, store.approvals, Told()) as jobs:
        await store.approvals.ask(ASKED)
        await jobs.look()
        (job,) = approval_jobs(jobs)
        assert (job.id, job.next_run_time) == (
            f"approval {ASKED.id}",
            (await store.approvals.get(ASKED.id)).made_at + timedelta(minutes=5),
        )
        await store.approvals.approve(ASKED.id, BOB, "prod", eligible=True)
        await jobs.look()
        (job,) = approval_jobs(jobs)
        assert job.next_run_time == (await store.approvals.get(ASKED.id)).execute_by
        await store.approvals.void(ASKED.id, "changed")
        await jobs.look()
        assert approval_jobs(jobs) == []


def approval_jobs(jobs: ApprovalJobs) -> list[Any]:
    return [job for job in jobs._scheduler.get_jobs() if job.id.startswith("approval ")]


async def test_a_database_in_trouble_is_asked_again_at_the_next_sweep(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await asked(store, timedelta(minutes=31))
    transaction = Database.transaction

    def broken(_self: Database) -> None:
        raise StorageError("locked")

    monkeypatch.setattr(Database, "transaction", broken)
    async with scheduling(store.proposals, store.approvals, Told()) as jobs:
        monkeypatch.setattr(Database, "transaction", transaction)
        await jobs.look()
        assert (await store.approvals.get(ASKED.id)).state is ApprovalState.EXPIRED


@pytest.mark.parametrize(
    ("ago", "told"),
    [
        (timedelta(minutes=4), []),
        (timedelta(minutes=6), [("@S0LEADS", "U0BOB", "@S0CHIEFS")]),
        (timedelta(minutes=21), [("@S0LEADS", "U0BOB", "@S0CHIEFS")]),
        (timedelta(minutes=31), []),
    ],
    ids=["nothing is due", "the next tier", "the next tier and the reminder at once", "too late"],
)
async def test_those_who_are_asked_next_or_reminded_are_told_once(
    store: Store, ago: timedelta, told: list[tuple[str, ...]]
) -> None:
    approval, notices = await asked(store, ago), Told()
    async with scheduling(store.proposals, store.approvals, notices) as jobs:
        await jobs.look()
    assert notices.calls == [(approval.id, entries) for entries in told]


async def test_a_reminder_of_its_own_tells_all_who_were_asked(store: Store) -> None:
    approval, notices = await asked(store, timedelta(minutes=6)), Told()
    async with scheduling(store.proposals, store.approvals, notices) as jobs:
        store.clock.shift = timedelta(minutes=15)
        await jobs.look()
        await jobs.look()
    assert notices.calls == [(approval.id, ("@S0LEADS", "U0BOB", "@S0CHIEFS"))] * 2
    assert await kinds(store) == ["approval-asked", "approval-escalated", "approval-reminded"]


async def test_a_job_that_is_at_work_comes_to_its_end_before_the_scheduler_does(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await asked(store, timedelta(minutes=30) - timedelta(seconds=0.3))
    entered, ended = asyncio.Event(), asyncio.Event()
    expire_due = store.approvals.expire_due

    async def slowly() -> None:
        entered.set()
        await asyncio.sleep(0.1)
        await expire_due()
        ended.set()

    async with scheduling(store.proposals, store.approvals, Told()):
        monkeypatch.setattr(store.approvals, "expire_due", slowly)
        await asyncio.wait_for(entered.wait(), 5)
        assert not ended.is_set()
    assert ended.is_set()
    assert (await store.approvals.get(ASKED.id)).state is ApprovalState.EXPIRED
