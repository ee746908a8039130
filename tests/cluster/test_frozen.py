"""A bot's process frozen in the middle of a stop, another that comes meanwhile, and what the first does when it thaws.

Run as a module with a configuration's path it is such a process: the bot with the Lease's real times, and little
patience with a Lease that somebody else keeps.
"""

import asyncio
import base64
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any, cast
from unittest import mock
from urllib.parse import urlsplit

import pytest

import sandbox
from bot.__main__ import run_until_told, serving_forever
from bot.logs import configure_logging
from bot.settings import load_settings
from lifecycle.kube.lease import LeaseTiming
from lifecycle.runner import Runner
from sandbox import slack
from sandbox.kubernetes import FAULT_ANNOTATION
from sandbox.slack import Message
from tests.cluster import accounts
from tests.cluster.client import Answer, until
from tests.cluster.ground import Ground
from tests.cluster.kubeconfigs import write_kubeconfig
from tests.cluster.town import CONTEXT, PATIENCE, TIMING, Box, boxed, configuration
from tests.cluster.wire import Ends, Wire, wire
from tests.e2e.served import Served, frozen, logged, served
from tests.e2e.town import Town

Json = dict[str, Any]
SHORT = 3.0
"""Seconds, instead of 45, for a Lease that somebody else keeps renewing. One that nobody renews runs out after 15."""
TM, CM, CACHE, SQL = "tm-deploy-0", "cm-deploy-0", "cache-set-0", "mysql-set-0"
EPOCH = "tml-bot/epoch"
REPAIRED = "none"
"""A Deployment's annotations are copied to its ReplicaSet, and one that is taken away stays there."""
CREDENTIAL = "authentication.kubernetes.io/credential-id"

pytestmark = [pytest.mark.timeout(400)]


@dataclass
class Bot:
    """What a bot's process is given: a workspace, a folder for its database, and its own way into the cluster."""

    slack: slack.SlackSandbox
    folder: Path
    configuration: Path
    environ: Mapping[str, str]
    credential: str
    """As the API server's audit log names the token."""

    def running(self) -> AbstractAsyncContextManager[Served]:
        return served(cast("sandbox.Sandbox", self), self.configuration, ("-m", "tests.cluster.test_frozen"))

    @property
    def town(self) -> Town:
        return Town(cast("sandbox.Sandbox", self), PATIENCE)


@dataclass
class Pair:
    """Two bots for one cluster; the first comes to it through the wire."""

    box: Box
    wire: Wire
    first: Bot
    second: Bot

    def writes(self, bot: Bot) -> list[Json]:
        """What it sent to change something, in the order in which the API server answered."""
        entries = [one for one in self.box.requests() if credential_of(one) == bot.credential]
        changing = [one for one in entries if one["verb"] in ("create", "update", "patch", "delete")]
        return [one for one in changing if one["objectRef"]["resource"] != "selfsubjectaccessreviews"]

    async def epoch(self, name: str) -> int:
        found = {one["metadata"]["name"]: one for one in await self.box.workloads()}[name]
        return int((found["metadata"].get("annotations") or {}).get(EPOCH) or 0)


def credential_of(entry: Json) -> str:
    return "".join(entry["user"].get("extra", {}).get(CREDENTIAL, []))


@asynccontextmanager
async def pairs(ground: Ground, folder: Path, *, workspaces: int) -> AsyncIterator[Pair]:
    """Of one workspace and one database, or of two workspaces that know nothing of each other."""
    plane = ground.own("the wire that looks at requests needs the API server's key")
    async with boxed(ground, folder) as box, AsyncExitStack() as stack:
        port = urlsplit(plane.url).port or 443
        between = await stack.enter_async_context(wire(port, Ends.of(plane.certificate, plane.key)))
        home, other, workspace = box.folder, box.folder, box.slack
        if workspaces == 2:
            workspace = await stack.enter_async_context(slack.start(limits=None))
            sandbox.populate(workspace)
            other = home / "other"
            other.mkdir()
        first = await bot(box, "first", box.slack, home, between.port)
        yield Pair(box, between, first, await bot(box, "second", workspace, other, port))


async def bot(box: Box, name: str, workspace: slack.SlackSandbox, home: Path, port: int) -> Bot:
    """With a token of its own of the one account."""
    access = await accounts.account(box.admin, box.namespace)
    kubeconfig, written = box.folder / f"{name}.kubeconfig", box.folder / f"{name}.yaml"
    write_kubeconfig(kubeconfig, replace(access, url=f"https://127.0.0.1:{port}"), CONTEXT, box.namespace)
    written.write_text(configuration(home, box.namespace, box.probe, box.deadline))
    environ = {
        "SLACK_API_URL": workspace.url,
        "SLACK_BOT_TOKEN": workspace.bot_token,
        "SLACK_APP_TOKEN": workspace.app_token,
        "KUBECONFIG": str(kubeconfig),
    }
    return Bot(workspace, home, written, environ, f"JTI={claims(access.token)['jti']}")


def claims(token: str) -> Json:
    """Of a JSON Web Token."""
    middle = token.split(".")[1]
    found: Json = json.loads(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4)))
    return found


def name_of(running: Served) -> str:
    """How the process is called in its Lease and to people."""
    return f"{socket.gethostname()}/{running.process.pid}"


async def stopping(pair: Pair) -> Message:
    """Order a stop of the first, which goes on when the stuck pod of tm is repaired. Returns the live message."""
    live = await pair.first.town.orders("carol", "stop staging because patching", "ops")
    await until(pair.box.admin, pair.box.apps("deployments", TM), is_at(0))
    return live


async def frozen_in_the_middle(pair: Pair, running: Served) -> None:
    """With its Lease held, and with the scale-downs of cache and sql sent and not yet arrived."""
    pair.wire.hold(b"PATCH")
    await pair.box.annotate("deployments", TM, FAULT_ANNOTATION, REPAIRED)
    async with asyncio.timeout(60):
        assert {CACHE, SQL} == {object_of(await pair.wire.held.get()) for _ in range(2)}
    await frozen(running.process, pair.first.folder / "tml-bot.db")


def object_of(request: bytes) -> str:
    """The last part of it: an object's name."""
    return request.split()[1].decode().rpartition("/")[2]


def is_at(replicas: int) -> Callable[[Answer], bool]:
    return lambda answer: (answer.body.get("spec") or {}).get("replicas") == replicas


async def let_arrive(pair: Pair) -> None:
    """The scale-downs that were on the wire; returns when they are answered, with their sender still frozen."""
    pair.wire.let_go()
    async with asyncio.timeout(60):
        while len(late_patches(pair)) < 2:  # noqa: ASYNC110 - a log tells nobody
            await asyncio.sleep(0.05)


def late_writes(pair: Pair) -> list[Json]:
    """Of the first, answered after the second had written anything."""
    (beginning, *_) = [one["stageTimestamp"] for one in pair.writes(pair.second) if is_good(one)]
    return [one for one in pair.writes(pair.first) if one["stageTimestamp"] > beginning]


def late_patches(pair: Pair) -> dict[str, int]:
    found = [one for one in late_writes(pair) if one["verb"] == "patch"]
    return {one["objectRef"]["name"]: one["responseStatus"]["code"] for one in found}


def is_good(entry: Json) -> bool:
    return bool(entry["responseStatus"]["code"] < 300)


async def test_a_bot_that_thaws_when_another_one_has_come_changes_nothing_and_says_who_it_is(
    ground: Ground, tmp_path: Path
) -> None:
    """The stop's scale-downs arrive in the middle of the other one's start; only the stamp keeps the databases up."""
    async with pairs(ground, tmp_path, workspaces=2) as pair, pair.first.running() as one, pair.second.running() as two:
        box, here, there = pair.box, pair.first.town, pair.second.town
        before = await box.replicas()
        await box.annotate("deployments", TM, FAULT_ANNOTATION, "stuck-terminating")
        await box.annotate("deployments", CM, FAULT_ANNOTATION, "never-ready")
        stop = await stopping(pair)

        refused = await there.orders("carol", "start staging", "ops")
        await there.until_says(refused, "FAILED to start staging")
        assert f"is held by {name_of(one)}" in there.thread(refused)
        assert pair.writes(pair.second) == []

        await frozen_in_the_middle(pair, one)
        began = monotonic()
        start = await there.orders("carol", "start staging", "ops")
        await until(box.admin, box.apps("deployments", CM), is_at(1))
        assert monotonic() - began >= LeaseTiming().duration
        await let_arrive(pair)

        one.process.send_signal(signal.SIGCONT)
        await here.until_says(stop, "FAILED to stop staging")
        assert f"is held by {name_of(two)}" in here.thread(stop)
        await box.annotate("deployments", CM, FAULT_ANNOTATION, REPAIRED)
        await there.until_says(start, "Started staging")
        assert late_patches(pair) == {CACHE: 422, SQL: 422}
        assert not any(is_good(write) for write in late_writes(pair))
        assert await box.replicas() == before
        assert {await pair.epoch(name) for name in before} == {2}


async def told_once(here: Town, live: Message, words: str, count: int) -> list[str]:
    """The thread's lines, once there are so many different ones with these words, and none of them twice.

    Two processes tell of the same operation here: one that finds its line told already takes it away again.
    """

    def said(_slack: object) -> list[str]:
        lines = here.thread(live).splitlines()
        found = [line for line in lines if words in line]
        return lines if len(found) == len(set(found)) == count else []

    return await here.box.slack.until(said, PATIENCE, f"{count} lines with {words!r}, each once")


async def test_a_bot_that_thaws_when_its_successor_goes_on_changes_nothing_and_says_nothing_false(
    ground: Ground, tmp_path: Path
) -> None:
    async with pairs(ground, tmp_path, workspaces=1) as pair, pair.first.running() as one:
        box, here = pair.box, pair.first.town
        counts = await box.replicas()
        await box.annotate("deployments", TM, FAULT_ANNOTATION, "stuck-terminating")
        await box.annotate("statefulsets", CACHE, FAULT_ANNOTATION, "stuck-terminating")
        live = await stopping(pair)
        await frozen_in_the_middle(pair, one)
        async with pair.second.running() as two:
            await until(box.admin, box.apps("statefulsets", CACHE), is_at(0))
            await let_arrive(pair)
            one.process.send_signal(signal.SIGCONT)
            await logged(one, "operation taken over by another process")
            await box.annotate("statefulsets", CACHE, FAULT_ANNOTATION, REPAIRED)
            await here.until_says(live, "Stopped staging: patching")
        assert here.posted("ops") == [live]
        lines = await told_once(here, live, "going to 0", len(counts))
        assert sum(f"taken up by {name_of(two)}" in line for line in lines) == 1
        assert [dict(entry.data).get("state") for entry in await here.audit(kinds={"finished"})] == ["done"]
        assert late_patches(pair) == {CACHE: 422, SQL: 422}
        assert not any(is_good(write) for write in late_writes(pair))
        assert set((await box.replicas()).values()) == {0}
        assert {await pair.epoch(name) for name in counts} == {2}


if __name__ == "__main__":
    configure_logging()
    with mock.patch("bot.__main__.Runner", partial(Runner, patience=SHORT)):
        run_until_told(serving_forever(load_settings(Path(sys.argv[1]), os.environ), TIMING))
