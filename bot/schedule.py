"""What happens because time passes. Jobs are made anew from our own tables at every start."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from storage.database import StorageError
from storage.proposals import Proposals

log = structlog.get_logger(__name__)

SWEEP = 60
"""Seconds between two looks for cards that nobody answered in time."""


@asynccontextmanager
async def scheduling(proposals: Proposals) -> AsyncIterator[None]:
    """Run the jobs of this process. A tick that was missed is made up for once, never twice."""
    scheduler = AsyncIOScheduler(
        timezone=UTC, job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
    )

    async def expire() -> None:
        try:
            await proposals.expire_due()
        except StorageError:
            log.exception("cards could not be expired; the next tick tries again")

    scheduler.add_job(expire, "interval", seconds=SWEEP)
    scheduler.start()
    try:
        yield
    finally:
        scheduler.shutdown(wait=False)
