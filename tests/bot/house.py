"""A database, a workspace and projectors between them, as one test has them."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog
from slack_sdk.web.async_client import AsyncWebClient

from bot.projector import Pace, Projector
from bot.subjects import Subjects
from bot.views.thread import thread
from lifecycle.decide import stop
from lifecycle.model import Component, Place, Target
from lifecycle.operation import Operation, Outcome, State
from sandbox import slack
from sandbox.slack import Limits, Message, SlackSandbox
from storage.approvals import Approvals
from storage.database import Database
from storage.holds import Holds
from storage.messages import Messages
from storage.operations import Operations
from storage.retention import Retention
from tests.fakes import values
from tests.fakes.database import a_database
from tests.fakes.values import planned
from tests.storage.conftest import StandingClock, Store

FAST = Pace(posts=0.0, updates=0.03, all_updates=0.0, hopeless=0.1, trouble=0.02)
PATIENCE = 30.0
THREE = tuple(values.workload(component) for component in (Component.NOSQL, Component.SQL, Component.TM))


class Client(AsyncWebClient):
    """The real client, which tells how often it was used."""

    tries = 0

    async def api_call(self, *args: Any, **keywords: Any) -> Any:
        self.tries += 1
        return await super().api_call(*args, **keywords)


@dataclass
class House:
    """A database, a workspace, and projectors between them."""

    store: Store
    slack: SlackSandbox
    client: Client = field(init=False)
    down: dict[str, list[str]] = field(default_factory=dict)
    """What was told to be down so far, by operation."""

    def __post_init__(self) -> None:
        self.client = Client(self.slack.bot_token, base_url=self.slack.url, timeout=5, retry_handlers=[])

    def projector(
        self, pace: Pace = FAST, messages: Messages | None = None, database: Database | None = None
    ) -> Projector:
        database = database or self.store.database
        subjects = Subjects(
            Operations(database, self.store.clock),
            Approvals(database, self.store.clock),
            Retention(database, self.store.clock),
            Holds(database, self.store.clock),
        )
        messages = messages or Messages(database)
        return Projector(self.client, database, messages, subjects.find, time.monotonic, pace)

    async def begun(self, identity: str = "op-000001", channel: str = "C0OPS") -> Operation:
        """Recorded and taken; each is of another cluster."""
        operation = replace(
            values.operation(stop.goal(values.discovery(workloads=THREE)), identity),
            cluster=f"prod-{identity[-1]}",
            target=Target(None, identity),
            place=Place("T0TML", channel),
            begun_at=self.store.clock.now(),
        )
        stored = await self.store.operations.begin(*planned(operation))
        return await self.store.journal.take(stored, "bot-1", stored.epoch + 1)

    async def goes_on(self, operation: Operation) -> None:
        """One more workload is down: one more line, and the live message anew."""
        down = self.down.setdefault(operation.id, [])
        down.append(str(operation.goal.scope.workloads[len(down)].ref))
        await self.store.journal.arrived(operation, down[-1:])

    async def ends(self, operation: Operation) -> None:
        done = tuple(str(workload.ref) for workload in operation.goal.scope)
        await self.store.journal.finished(operation, Outcome(State.DONE, done=done, claims=operation.goal.claims))

    async def whole(self, operation: Operation) -> None:
        """All of its story."""
        for _ in operation.goal.scope:
            await self.goes_on(operation)
        await self.ends(operation)

    def posted(self, channel: str = "C0OPS") -> list[Message]:
        """What the bot posted in the channel itself."""
        return [one for one in self.slack.channel_messages(channel) if one.user == self.slack.bot_user_id]

    def replies(self, live: Message) -> list[Message]:
        thread = self.slack.thread(live.channel, live.ts)
        return [one for one in thread if one.is_reply and one.user == self.slack.bot_user_id]

    async def live(self, channel: str = "C0OPS", text: str = "") -> Message:
        """The live message in the channel, once there is one that begins so."""

        def found(_slack: SlackSandbox) -> Message | None:
            return next((one for one in self.posted(channel) if one.text.startswith(text)), None)

        return await self.slack.until(found, PATIENCE, f"a message {text!r} in {channel}")

    async def told(self, operation: Operation) -> Message:
        """The live message, once it has the verdict and nothing is due; nothing is missing, twice, or out of order."""
        live = await self.live(operation.place.channel, f"Stopped {operation.cluster}")
        await until(self.nothing_is_due, "nothing to be due")
        assert [one.text for one in self.posted(operation.place.channel)].count(live.text) == 1
        shown = [entry for reply in self.replies(live) for entry in entries_in(reply)]
        assert shown == sorted(set(shown), key=int), "each line once, in order"
        assert set(shown) >= await self.telling(operation)
        return live

    async def told_alone(self, operation: Operation) -> None:
        """The same while others are not told."""
        await self.live(operation.place.channel, f"Stopped {operation.cluster}")
        await until(lambda: self.is_told(operation), f"nothing of {operation.id} to be due")

    async def is_told(self, operation: Operation) -> bool:
        return operation.id not in {due.subject for due in await self.store.messages.due()}

    async def nothing_is_due(self) -> bool:
        return not await self.store.messages.due()

    async def telling(self, operation: Operation) -> set[str]:
        """The entries that have something to say in a thread, by their own account."""
        entries = await self.store.messages.entries_of(operation.id)
        stored = await self.store.operations.get(operation.id)
        assert stored is not None
        told = {"begun", "arrived", "finished"}
        return {str(one.seq) for one in entries if one.kind in told and thread(stored, [one])}


def entries_in(reply: Message) -> list[str]:
    assert reply.metadata is not None
    return str(reply.metadata["event_payload"]["entries"]).split(",")


async def until(condition: Callable[[], Any], what: str) -> None:
    """For what no message tells of: asked again whenever the loop has turned."""
    deadline = time.monotonic() + PATIENCE
    while not await condition():
        assert time.monotonic() < deadline, f"waited {PATIENCE} s for {what}"
        await asyncio.sleep(0.02)


@asynccontextmanager
async def running(projector: Projector) -> AsyncIterator[None]:
    """Project until the end of the block; what ended the projector before that is the test's failure."""
    task = asyncio.create_task(projector.run())
    try:
        yield
        assert not task.done(), task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def a_house(folder: Path, limits: Limits | None = None) -> AsyncIterator[House]:
    clock = StandingClock(datetime.now(UTC))  # Slack's clock is the machine's
    with structlog.testing.capture_logs():  # rendering a trace takes longer than a test
        async with (
            slack.start(limits=limits) as workspace,
            a_database(folder / "tml-bot.db") as database,
        ):
            yield furnished(House(Store(database, clock), workspace))


def furnished(house: House) -> House:
    house.slack.add_user("alice")
    for name in ("ops", "prod"):
        house.slack.add_channel(name)
    return house
