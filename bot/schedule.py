"""What happens because time passes. Jobs are made anew from our own tables at every start."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from bot.consent import Notifier
from bot.keeping import Housekeeper
from bot.restore_tests import RestoreTests
from lifecycle.approval import Approval
from storage.approvals import Approvals
from storage.database import StorageError
from storage.proposals import Proposals

log = structlog.get_logger(__name__)

SWEEP = 60
"""Seconds between two looks at the tables: for cards that nobody answered, and for approvals without a job so far."""

LOOK = 600.0
"""Seconds between two looks at what is kept."""

PREFIX = "approval "
"""How the id of a job for an approval begins."""


class ApprovalJobs:
    """A job for each open approval at the moment when it is due next, made anew from the table at each look.

    What a job does is to look: what is due is done by the database's time, once in all processes. So a job too many, or
    one that another process has too, does no harm, and a job too few is made up for by the next sweep. A decision never
    depends on them: it is refused by the approval's own clocks.
    """

    def __init__(
        self, scheduler: AsyncIOScheduler, approvals: Approvals, notices: Notifier, at_work: asyncio.Lock
    ) -> None:
        self._scheduler = scheduler
        self._approvals = approvals
        self._notices = notices
        self._at_work = at_work

    async def look(self) -> None:
        """Do what is due, then let there be the jobs that the table asks for and no others."""
        async with self._at_work:
            try:
                await self._approvals.expire_due()
                told = (*await self._approvals.escalate_due(), *await self._approvals.remind_due())
                for approval in {one.id: one for one in told}.values():  # both at once is one message to each person
                    self._notices.tell(approval, approval.asked)
                self._make(await self._approvals.open_on())
            except StorageError:
                log.exception("approvals could not be looked at; the next sweep tries again")

    def _make(self, approvals: Sequence[Approval]) -> None:
        moments = {f"{PREFIX}{one.id}": one.next_moment for one in approvals}
        for job in self._scheduler.get_jobs():
            if job.id.startswith(PREFIX) and job.id not in moments:
                job.remove()
        for name, moment in moments.items():
            self._scheduler.add_job(self.look, "date", run_date=moment, id=name, replace_existing=True)


@asynccontextmanager
async def scheduling(proposals: Proposals, approvals: Approvals, notices: Notifier) -> AsyncIterator[ApprovalJobs]:
    """Run the jobs of this process. A tick that was missed is made up for once, never twice.

    On the way out the job that is at work comes to its end: APScheduler would cancel it, and a transaction that is cut
    off leaves its connection hanging.
    """
    scheduler = AsyncIOScheduler(
        timezone=UTC, job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
    )
    at_work = asyncio.Lock()
    jobs = ApprovalJobs(scheduler, approvals, notices, at_work)

    async def expire() -> None:
        async with at_work:
            try:
                await proposals.expire_due()
            except StorageError:
                log.exception("cards could not be expired; the next tick tries again")

    scheduler.add_job(expire, "interval", seconds=SWEEP)
    scheduler.add_job(jobs.look, "interval", seconds=SWEEP)
    scheduler.start()
    try:
        await jobs.look()
        yield jobs
    finally:
        scheduler.pause()
        async with at_work:
            scheduler.shutdown(wait=False)


LEAVING = 2.0
"""Seconds that a look at what is kept has to come to its end when the process ends; then it is cut off."""

KEPT = "kept "
"""How the id of a job for what is kept begins."""


class HouseJobs:
    """Looks at what is kept every so often, and at the moments that the last look named."""

    def __init__(self, scheduler: AsyncIOScheduler, housekeeper: Housekeeper, restore_tests: RestoreTests) -> None:
        self._scheduler = scheduler
        self._housekeeper = housekeeper
        self._restore_tests = restore_tests
        self.at_work = asyncio.Lock()

    async def look(self) -> None:
        """Do what is due, then let there be the jobs that it asks for and no others."""
        async with self.at_work:
            moments = {f"{KEPT}{moment.isoformat()}": moment for moment in await self._housekeeper.look()}
            for job in self._scheduler.get_jobs():
                if job.id.startswith(KEPT) and job.id not in moments:
                    job.remove()
            now = datetime.now(UTC)
            for name, moment in moments.items():
                if moment > now:  # what is due and did not begin is for the next look
                    self._scheduler.add_job(self.look, "date", run_date=moment, id=name, replace_existing=True)
            await self._restore_tests.look()


@asynccontextmanager
async def housekeeping(
    housekeeper: Housekeeper, restore_tests: RestoreTests, every: float = LOOK
) -> AsyncIterator[HouseJobs]:
    """Run them until the way out, where the look that is at work has a moment to end; the first look is now."""
    scheduler = AsyncIOScheduler(
        timezone=UTC, job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
    )
    jobs = HouseJobs(scheduler, housekeeper, restore_tests)
    scheduler.add_job(jobs.look, "interval", seconds=every)
    scheduler.add_job(jobs.look)
    scheduler.start()
    try:
        yield jobs
    finally:
        scheduler.pause()
        with suppress(TimeoutError):
            async with asyncio.timeout(LEAVING), jobs.at_work:
                pass
        scheduler.shutdown(wait=False)
