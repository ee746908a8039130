"""The real process, ended in every way a process ends, and the next one that goes on where it was."""

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bot.__main__ import SystemClock
from lifecycle.operation import State
from sandbox import tml
from sandbox.kubernetes.resources import DEPLOYMENTS, LEASES, STATEFULSETS
from sandbox.kubernetes.writes import Write
from sandbox.slack import Message
from storage.database import open_database
from storage.operations import Operations
from tests.e2e.served import AS_INSTALLED, Served, Tripwire, served
from tests.e2e.town import PATIENCE, Town, town, words_of

PROD = tml.PROD_NAMESPACE
WORKLOADS = 7
COUNTS = "tml-bot/replicas"


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Town]:
    async with town(tmp_path, serve=False) as made:
        yield made


def configuration(place: Town) -> Path:
    """With deadlines that a process's end and the next one's start do not use up."""
    path = place.box.folder / "tml-bot.yaml"
    path.write_text(re.sub(r"(down|up): \d+s", r"\1: 60s", path.read_text()))
    return path


def is_scaling(write: Write) -> bool:
    """Whether the write changed a replica count."""
    return write.changed and any(
        step.get("path") == "/spec/replicas" and step["op"] != "test" for step in _steps(write)
    )


def _steps(write: Write) -> list[dict[str, Any]]:
    return write.body if write.verb == "patch" and isinstance(write.body, list) else []


def scalings(place: Town) -> Counter[str]:
    return Counter(write.name for write in place.box.kubernetes.writes if is_scaling(write))


def workloads(place: Town) -> dict[str, dict[str, Any]]:
    store = place.box.kubernetes.store
    return {one["metadata"]["name"]: one for kind in (STATEFULSETS, DEPLOYMENTS) for one in store.list(kind, PROD)}


def counts(place: Town) -> dict[str, int]:
    return {name: one["spec"]["replicas"] for name, one in workloads(place).items()}


def remembered(place: Town) -> dict[str, int]:
    return {name: int(one["metadata"]["annotations"][COUNTS]) for name, one in workloads(place).items()}


def lives(place: Town) -> list[str]:
    """The ts of every live message of the channel."""
    return [message.ts for message in place.posted("prod")]


def kill_at_scaling(place: Town, running: Served, count: int) -> None:
    place.box.kubernetes.server.writes = Tripwire(running.process, is_scaling, count)


async def order(place: Town, words: str) -> None:
    """Type it and say yes; the process may be gone before it has answered."""
    card = await place.types("alice", words)
    await place.box.slack.person("alice").presses("confirm", card)


async def the_live_message(place: Town, start: str) -> Message:
    """The one message of this operation, once it says so and its thread has come to its end."""

    def said(_slack: object) -> Message | None:
        return next((message for message in place.posted("prod") if message.text.startswith(start)), None)

    live = await place.box.slack.until(said, PATIENCE, f"a message that begins with {start!r}")
    await place.until_thread(live, "*Volumes*")
    return live


def lines_of(place: Town, live: Message) -> list[str]:
    replies = place.box.slack.thread(live.channel, live.ts)
    return [line for reply in replies if reply.ts != live.ts for line in words_of(reply).splitlines()]


@pytest.mark.parametrize("count", [1, 4, WORKLOADS])
async def test_a_stop_whose_process_is_killed_goes_on_in_the_next_one_under_the_same_message(
    count: int, place: Town
) -> None:
    before = counts(place)
    async with served(place.box, configuration(place)) as first:
        kill_at_scaling(place, first, count)
        await order(place, "stop prod because patching")
        assert await first.ended() == -9
    shown = lives(place)
    assert sum(scalings(place).values()) >= count, "what was on its way arrived, too"
    async with served(place.box, configuration(place)):
        live = await the_live_message(place, "Stopped prod: patching")
    assert lives(place) == (shown or [live.ts]), "the message of before went on being updated"
    assert sum("taken up by" in line for line in lines_of(place, live)) == 1
    assert set(counts(place).values()) == {0}
    assert scalings(place) == dict.fromkeys(before, 1)
    assert remembered(place) == before
    assert len(await place.audit(kinds={"finished"})) == 1


@pytest.mark.parametrize("count", [1, 5])
async def test_a_start_whose_process_is_killed_goes_on_in_the_next_one_under_the_same_message(
    count: int, place: Town
) -> None:
    before = counts(place)
    async with served(place.box, configuration(place)) as first:
        await order(place, "stop prod")
        await the_live_message(place, "Stopped prod")
        kill_at_scaling(place, first, count)
        await order(place, "start prod because patched")
        assert await first.ended() == -9
    shown = lives(place)
    async with served(place.box, configuration(place)):
        live = await the_live_message(place, "Started prod: patched")
    assert lives(place)[: len(shown)] == shown
    assert len(lives(place)) == 2
    assert sum("taken up by" in line for line in lines_of(place, live)) == 1
    assert counts(place) == before
    assert scalings(place) == dict.fromkeys(before, 1)
    assert [entry.data["state"] for entry in await place.audit(kinds={"finished"})] == ["done", "done"]


@pytest.mark.parametrize("count", [1, 3])
async def test_a_process_killed_while_slack_answers_leaves_no_message_twice(count: int, place: Town) -> None:
    async with served(place.box, configuration(place)) as first:
        place.box.slack.api.calls = Tripwire(first.process, lambda call: call.method == "chat.postMessage", count)
        await order(place, "stop prod")
        assert await first.ended() == -9
    async with served(place.box, configuration(place)):
        live = await the_live_message(place, "Stopped prod")
    assert lives(place) == [live.ts]
    lines = lines_of(place, live)
    assert sum("*Plan*" in line for line in lines) == 1
    assert sum("*Volumes*" in line for line in lines) == 1
    said = [line for line in lines if line.startswith(":arrow_forward:")]
    assert len(said) == len(set(said)) == WORKLOADS


async def test_sigterm_in_the_middle_frees_the_lease_and_leaves_the_operation_to_the_next_process(place: Town) -> None:
    before = counts(place)
    async with served(place.box, configuration(place), AS_INSTALLED) as first:
        card = await place.types("alice", "stop prod")
        await place.box.slack.person("alice").presses("confirm", card)
        await place.box.kubernetes.until(lambda _: any(scalings(place).values()), PATIENCE)
        began = asyncio.get_running_loop().time()
        assert await first.terminated() == 0
        assert asyncio.get_running_loop().time() - began < 10
    (lease,) = place.box.kubernetes.store.list(LEASES, PROD)
    assert lease["spec"]["holderIdentity"] == ""
    assert [operation.state for operation in await unfinished(place)] == [State.RUNNING]
    async with served(place.box, configuration(place)):
        live = await the_live_message(place, "Stopped prod")
    assert lives(place) == [live.ts]
    assert scalings(place) == dict.fromkeys(before, 1)
    assert "Traceback" not in first.log


async def unfinished(place: Town) -> Any:
    async with open_database(f"sqlite+aiosqlite:///{place.box.folder}/tml-bot.db") as database:
        return await Operations(database, SystemClock()).unfinished()


async def test_a_card_from_before_the_restart_still_works_and_health_tells_of_the_socket(place: Town) -> None:
    async with served(place.box, configuration(place), AS_INSTALLED) as first:
        card = await place.types("alice", "stop prod")
        assert await first.terminated() == 0
    async with served(place.box, configuration(place)) as second:
        assert await second.asked("/healthz") == (200, "ok")
        assert await second.asked("/readyz") == (200, "ok")
        assert "Stopping prod (op-" in words_of(await place.presses("alice", "confirm", card))
        await the_live_message(place, "Stopped prod")
        place.box.slack.faults.goes_away()
        await until_readyz(second, 503)
        assert await second.asked("/readyz") == (503, "no connection to Slack")
        assert await second.asked("/healthz") == (200, "ok")
        place.box.slack.faults.comes_back()
        await place.box.slack.until(lambda slack: slack.sockets.open, PATIENCE, "a socket")
        await until_readyz(second, 200)
        assert "prod is stopped" in words_of(await place.types("alice", "status prod"))


async def until_readyz(running: Served, status: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while (await running.asked("/readyz"))[0] != status:
            pass  # asking takes its time, too


async def test_operations_go_on_before_slack_answers_and_are_told_once_it_does(place: Town) -> None:
    async with served(place.box, configuration(place)) as first:
        kill_at_scaling(place, first, 1)
        await order(place, "stop prod")
        await first.ended()
    place.box.slack.faults.answers("auth.test", 503, times=1)
    async with served(place.box, configuration(place)) as second:
        await the_live_message(place, "Stopped prod")
    assert "slack does not answer yet" in second.log


async def test_no_secret_gets_into_the_log(place: Town) -> None:
    box = place.box
    async with served(box, configuration(place)) as running:
        box.slack.faults.answers("chat.postMessage", 500)
        box.slack.faults.answers("response_url", 500)
        await place.box.slack.person("dave").types("/tml status prod", "ops")
        await order(place, "stop prod")
        await the_live_message(place, "Stopped prod")
        assert await running.terminated() == 0
    assert [json.loads(line)["event"] for line in running.lines]
    assert "slack" in running.log, "something went wrong that is logged"
    paths = list(box.slack.workspace.response_urls)
    for secret in (box.slack.bot_token, box.slack.app_token, "CANARY", "/commands/", *paths):
        assert secret not in running.log
