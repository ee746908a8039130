"""The desk behind Bolt, a real database and the workspace, as one test has them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import structlog
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncApp
from slack_sdk.web.async_client import AsyncWebClient

import sandbox
from bot import listeners
from bot.access import Access
from bot.cancelling import Slots
from bot.consent import Consent
from bot.desk import Desk
from bot.directory import SlackDirectory
from bot.gate import Gate
from bot.launcher import Launcher
from bot.projector import permalink
from bot.settings import ClusterSettings
from bot.sites import Site
from bot.views.blocks import actions, button
from lifecycle.approval import Approval, Terms
from lifecycle.errors import ClusterError
from lifecycle.model import Target
from lifecycle.observed import Discovery
from lifecycle.operation import Operation, Outcome, State
from sandbox import slack
from sandbox.slack import Message, Reply, SlackSandbox, View
from storage.audit import Recorded
from storage.ids import new_id
from tests.fakes import values
from tests.fakes.cluster import FakeClock, FakeCluster
from tests.fakes.database import a_database
from tests.fakes.values import planned
from tests.storage.conftest import StandingClock, Store, a_stop

PATIENCE = 30.0
AT_ONCE = 2.5
"""Seconds in which an ack has to be there on a machine that has other things to do; Slack gives up after three."""
OPERATORS = ("@S0TMLOPS",)


def asks(needed: int, *approvers: str) -> dict[str, Terms]:
    """What a delete needs, and a restore in place."""
    return dict.fromkeys(("delete", "restore-in-place"), Terms(needed, (approvers,), reason_required=True))


CLUSTERS = (
    ClusterSettings(
        "prod",
        "ml550",
        "production",
        "C0PROD",
        operators=OPERATORS,
        viewers=("*",),
        approval=asks(1, "@S0TMLAPPROVERS"),
    ),
    ClusterSettings(
        "staging",
        "ml551",
        "staging",
        "C0OPS",
        operators=(*OPERATORS, "U0CAROL"),
        viewers=("*",),
        approval=asks(2, "U0BOB", "U0CAROL", "U0DAVE"),
    ),
    ClusterSettings("secret", "ml552", "staging", "C0OPS", operators=OPERATORS, approval=asks(1, "U0CAROL")),
)


@dataclass
class Door(FakeCluster):
    """A cluster whose Kubernetes may be away or silent."""

    trouble: ClusterError | None = None
    speaks: asyncio.Event = field(default_factory=asyncio.Event)

    async def discover(self) -> Discovery:
        await self.speaks.wait()
        if self.trouble:
            raise self.trouble
        return await super().discover()


@dataclass
class Starter:
    """Runs nothing: what is begun stays running, and what is cancelled ends at once where ``ends`` says how."""

    begun: list[Operation] = field(default_factory=list)
    interrupted: list[str] = field(default_factory=list)
    ends: Callable[[Operation], Coroutine[Any, Any, None]] | None = None

    def begin(self, operation: Operation) -> None:
        self.begun.append(operation)

    def interrupt(self, operation: Operation) -> asyncio.Task[None]:
        self.interrupted.append(operation.id)
        return asyncio.create_task(self.ends(operation) if self.ends else asyncio.sleep(0))


@dataclass
class Told:
    """Tells nobody; knows of what it was to tell whom."""

    calls: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)

    def tell(self, approval: Approval, entries: Iterable[str]) -> None:
        self.calls.append((approval.id, tuple(entries)))


@dataclass
class Office:
    """The desk behind Bolt, a real database and the workspace."""

    store: Store
    slack: SlackSandbox
    doors: dict[str, Door]
    starter: Starter
    told: Told = field(default_factory=Told)
    gate: Gate | None = None
    desk: Desk | None = None
    restart: Callable[[], Any] = field(default=lambda: None)

    @property
    def consent(self) -> Consent:
        assert self.gate
        return self.gate.consent

    async def types(self, person: str, words: str) -> Message:
        return await self.only_answer(await self.slack.person(person).types(f"/tml {words}", "ops"), person)

    async def presses(self, person: str, button: str, on: Message) -> Message:
        return await self.only_answer(await self.slack.person(person).presses(button, on), person)

    async def sends(self, payload: dict[str, Any], person: str) -> Message:
        return await self.only_answer(await self.slack.person(person).sends(payload), person)

    async def submits(self, person: str, view: View, **typed: str) -> str:
        """What the modal says afterwards, its errors included."""
        reply = await self.slack.person(person).submits(view, typed)
        assert reply.acked_in is not None
        assert not reply.failed
        if reply.errors:
            return "\n".join(reply.errors.values())
        shown = self.slack.person(person).modal
        assert shown is not None
        return self.slack.rendered(shown)

    async def only_answer(self, reply: Reply, person: str) -> Message:
        """One answer, for this person's eyes, and acknowledged in time."""
        assert not reply.timed_out
        (answer,) = await reply.answers(1, timeout=PATIENCE)
        assert answer.only_for == self.slack.person(person).id
        return answer

    def forged(self, card: Message, person: str, action: str = "confirm", **changes: Any) -> dict[str, Any]:
        """A press on Alice's card as if it came from somebody else, or with another value."""
        payload = self.slack.person("alice").press_payload(action, card)
        user = self.slack.person(person).user
        payload["user"] = {"id": user.id, "username": user.name, "name": user.name, "team_id": user.team_id}
        payload["actions"][0].update(changes)
        return payload

    async def failed(self, cluster: str = "prod") -> Operation:
        """An operation that failed, of which the thread has two buttons."""
        operation = replace(a_stop(f"op-{cluster:0<6}"), cluster=cluster, command=f"stop {cluster}")
        operation = replace(operation, target=Target(None, cluster))
        stored = await self.store.operations.begin(*planned(operation))
        taken = await self.store.journal.take(stored, "bot-1", stored.epoch + 1)
        return await self.store.journal.finished(taken, Outcome(State.FAILED, error="nothing got ready"))

    async def thread_of(self, operation: Operation) -> Message:
        """The end of its thread, with the buttons."""
        client = AsyncWebClient(self.slack.bot_token, base_url=self.slack.url)
        blocks = [actions(button("Stop again", "again", operation.id), button("Status", "status", operation.id))]
        live = await client.chat_postMessage(channel="C0OPS", text="FAILED to stop")
        end = await client.chat_postMessage(channel="C0OPS", text="the end", thread_ts=live["ts"], blocks=blocks)
        return next(one for one in self.slack.thread("ops", live["ts"]) if one.ts == end["ts"])

    async def refusals(self) -> list[Recorded]:
        return list(await self.store.audit.entries(kinds={"refused"}, newest_first=False))

    async def assert_untouched(self) -> None:
        """Nothing was begun and no cluster was written to; the audit log holds together."""
        assert self.starter.begun == []
        assert await self.store.operations.unfinished() == ()
        assert [door.writes for door in self.doors.values()] == [[]] * len(self.doors)
        assert await self.store.audit.verify() is None


@asynccontextmanager
async def at_the_desk(
    store: Store, workspace: SlackSandbox, doors: dict[str, Door], starter: Starter, told: Told
) -> AsyncIterator[tuple[Gate, Desk]]:
    """One process's life: it remembers nothing of the one before but what is in the database."""
    sites = {one.name: Site(one, doors[one.name]) for one in CLUSTERS}
    client = AsyncWebClient(workspace.bot_token, base_url=workspace.url, retry_handlers=[])
    who = await client.auth_test()
    directory = SlackDirectory(client, store.clock.monotonic)
    access = Access(directory, who["team_id"], who.get("enterprise_id"))
    slots, fresh = Slots(store.operations, starter), partial(new_id, random=CHANCE)
    launcher = Launcher(sites, store.memory, starter, slots, store.clock, fresh)
    gate = Gate(
        sites, access, store.memory, slots=slots, launcher=launcher, notices=told, clock=store.clock, new_id=fresh
    )
    link = partial(permalink, client)
    desk = Desk(sites, gate, access, store.memory, link, store.clock)
    app = AsyncApp(client=client)
    listeners.register(app, desk)
    handler = AsyncSocketModeHandler(app, workspace.app_token, web_client=client)
    await handler.connect_async()
    try:
        yield gate, desk
    finally:
        await handler.close_async()


CHANCE = Random(0)


@asynccontextmanager
async def an_office(folder: Path, **workspace_options: Any) -> AsyncIterator[Office]:
    async with AsyncExitStack() as stack:
        stack.enter_context(structlog.testing.capture_logs())
        workspace = await stack.enter_async_context(slack.start(limits=None, **workspace_options))
        opened = await stack.enter_async_context(a_database(folder / "tml-bot.db"))
        furnish(workspace)
        store, starter, doors = Store(opened, StandingClock(datetime.now(UTC))), Starter(), some_doors()
        process = await stack.enter_async_context(AsyncExitStack())
        made = Office(store, workspace, doors, starter)

        async def restart() -> None:
            await process.aclose()
            at_work = at_the_desk(store, workspace, doors, starter, made.told)
            made.gate, made.desk = await process.enter_async_context(at_work)

        made.restart = restart
        await restart()
        yield made


def furnish(workspace: SlackSandbox) -> None:
    """The usual people, one who left and one of another company; all of them see the channels."""
    workspace.add_user("fred", deleted=True)
    workspace.add_user("eve", is_stranger=True)
    sandbox.populate(workspace)
    workspace.group("tml-ops").users += ["U0FRED", "U0EVE", "U0GRETA"]


def some_doors() -> dict[str, Door]:
    doors = {}
    for one in CLUSTERS:
        door = doors[one.name] = Door(replace(values.discovery(), target=one.target), FakeClock(), one.target)
        door.speaks.set()
    return doors
