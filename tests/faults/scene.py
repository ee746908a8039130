"""One case: a cluster, an operation that is ordered, what was done to the cluster, and the judgement at its end."""

import asyncio
import json
import re
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bot.__main__ import SystemClock
from lifecycle.operation import Operation
from sandbox import Sandbox
from sandbox.kubernetes.writes import Write
from sandbox.slack import Message
from storage.audit import Recorded
from storage.database import open_database
from storage.operations import Operations
from tests.e2e.served import Nth, Served
from tests.e2e.town import PATIENCE, Town, bot, town, words_of
from tests.faults.jobs import STAGING, Held, Job

FAILURES = ("FAILED", "CANCELLED")


def patient(box: Sandbox) -> Path:
    """A configuration with deadlines that no fault of the matrix uses up."""
    path = box.write_configuration()
    path.write_text(re.sub(r"(down|up|rolling): \d+s", r"\1: 300s", path.read_text()))
    return path


class Effects:
    """Which writes count: what changed something, but of the Lease only that it came to another holder."""

    def __init__(self) -> None:
        self._holder = ""

    def __call__(self, write: Write) -> bool:
        if not write.changed:
            return False
        if write.resource != "leases":
            return True
        before, self._holder = self._holder, write.body["spec"]["holderIdentity"]
        return self._holder != before


def deed(write: Write) -> str | None:
    """What of the cluster was changed; None for a Lease, a stamp, and what changed nothing."""
    if not write.changed or write.resource == "leases":
        return None
    what: Any = ""
    if write.verb == "patch":
        what = [step for step in write.body if step["op"] != "test" and not _is_stamp(step)]
        if not what:
            return None
    return f"{write.verb} {write.resource}/{write.name} {json.dumps(what, sort_keys=True)}"


def _is_stamp(step: dict[str, Any]) -> bool:
    if step["path"] == "/metadata/annotations":
        return set(step["value"]) == {"tml-bot/epoch"}
    return step["path"] in ("/metadata/resourceVersion", "/metadata/annotations/tml-bot~1epoch")


@dataclass
class Scene:
    """The cluster stands where the job begins; the record of writes is empty."""

    place: Town
    job: Job
    before: Held
    shown: frozenset[str]
    """The ts of what #ops showed before."""

    @property
    def box(self) -> Sandbox:
        return self.place.box

    @property
    def configuration(self) -> Path:
        return self.box.folder / "tml-bot.yaml"

    @property
    def database(self) -> Path:
        return self.box.folder / "tml-bot.db"

    @property
    def log_of_writes(self) -> list[Write]:
        return self.box.kubernetes.writes

    def at_write(self, count: int, act: Callable[[], None]) -> None:
        self.box.kubernetes.server.writes = Nth(act, Effects(), count)

    async def died(self, running: Served) -> bool:
        """Order the job; whether the process died of it."""
        ordering = asyncio.create_task(self.job.order(self.place))
        over = asyncio.create_task(self.end())
        await asyncio.wait({over, running.listening}, return_when=asyncio.FIRST_COMPLETED)
        has_died = running.listening.done()
        for task in (ordering, over):
            task.cancel()
        await asyncio.gather(ordering, over, return_exceptions=True)
        return has_died

    async def end(self) -> Message:
        """The live message, once it says how the job ended and its thread has come to its end."""

        def said(_slack: object) -> Message | None:
            ends = (self.job.done, *FAILURES)
            return next((one for one in self._new() if one.text.startswith(ends)), None)

        live = await self.box.slack.until(said, PATIENCE, "the end")
        if live.text.startswith(FAILURES):
            await self.place.until_says(live, live.text)
            raise AssertionError(f"{live.text}\n{self.place.thread(live)}")
        await self.place.until_says(live, self.job.done)
        return live

    def _new(self) -> list[Message]:
        return [one for one in self.place.posted("ops") if one.ts not in self.shown]

    async def judge(self) -> None:
        """The goal is reached, each step was done once, nothing is lost, and what is told is true."""
        live = await self.end()
        self.job.reached(self.box, self.before)
        twice = {name: count for name, count in self.deeds().items() if count > 1}
        assert not twice, twice
        assert await self.unfinished() == ()
        finished = await self.place.audit(kinds={"finished"})  # verifies the chain, too
        assert [entry.data["state"] for entry in finished] == ["done"] * (len(self.job.first) + 1)
        await self._judge_what_is_told(live, finished[-1])

    async def _judge_what_is_told(self, live: Message, finished: Recorded) -> None:
        assert finished.subject
        own = [one.ts for one in self._new() if f"{finished.subject} · " in words_of(one)]
        assert own == [live.ts], "one live message"
        told = await self.box.slack.until(lambda _: self._told_once(live), PATIENCE, "nothing told twice")
        taken = await self.place.audit(kinds={"taken"}, subject=finished.subject)
        for entry in taken:
            if entry.data["before"] not in (None, entry.data["executor"]):
                assert f"taken up by {entry.data['executor']}" in told
        steps = {entry.data["name"] for entry in await self.place.audit(kinds={"step"}, subject=finished.subject)}
        scaled = {write.name for write in self.log_of_writes if "/spec/replicas" in (deed(write) or "")}
        assert scaled <= steps, "nothing is scaled that was not written down"

    def _told_once(self, live: Message) -> str:
        """All of the thread; nothing while a reply is there twice: of two processes the second takes its own away.

        What a reply tells of is in its metadata; two may have the same words ("1 secret removed").
        """
        replies = [one for one in self.box.slack.thread(live.channel, live.ts) if one.ts != live.ts]
        told = {json.dumps(one.metadata, sort_keys=True) for one in replies}
        return "\n".join(map(words_of, replies)) if len(replies) == len(told) else ""

    def deeds(self) -> Counter[str]:
        return Counter(filter(None, map(deed, self.log_of_writes)))

    async def has_ended(self, within: float = PATIENCE) -> None:
        """Until the database says so, whatever Slack shows."""
        async with asyncio.timeout(within):
            while self.runs():  # noqa: ASYNC110 - a file tells nobody
                await asyncio.sleep(0.1)

    def runs(self) -> bool:
        with closing(sqlite3.connect(self.database)) as connection:
            ((count,),) = connection.execute("SELECT count(*) FROM operations WHERE state = 'running'")
            return bool(count)

    async def unfinished(self) -> tuple[Operation, ...]:
        async with open_database(f"sqlite+aiosqlite:///{self.database}") as database:
            return tuple(await Operations(database, SystemClock()).unfinished())


@asynccontextmanager
async def scene(folder: Path, job: Job) -> AsyncIterator[Scene]:
    async with town(folder, configured=patient, filled=[STAGING], serve=False) as place:
        before = Held.of(place.box)
        if job.first:
            async with bot(place.box, folder / "tml-bot.yaml"):
                for one in job.first:
                    await one.order(place)
                    await place.the_one(one.done)
        place.box.kubernetes.writes.clear()
        yield Scene(place, job, before, frozenset(one.ts for one in place.posted("ops")))
