"""Slack's answers about people: asked once for many, believed for five seconds, never guessed."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from slack_sdk.web.async_client import AsyncWebClient

from bot import directory
from bot.access import Directory, DirectoryUnavailable, Profile
from bot.directory import SlackDirectory
from lifecycle.model import Person

ALICE = Person("T0HOME", "U0ALICE")
USER = {
    "id": "U0ALICE",
    "team_id": "T0HOME",
    "name": "alice",
    "tz": "Europe/Berlin",
    "profile": {"display_name": "Alice"},
    "is_app_user": True,
}


class Slack:
    """A Web API of two methods that answers what it was told to, when it is allowed to."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.answers: dict[str, Any] = {
            "users.info": {"ok": True, "user": USER},
            "usergroups.users.list": {"ok": True, "users": ["U0ALICE"]},
        }
        self.status = 200
        self.text: str | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.arrived = asyncio.Semaphore(0)
        self.base_url = ""

    async def answer(self, request: web.Request) -> web.Response:
        method = request.match_info["method"]
        self.calls.append(f"{method} {request.query.get('user') or request.query.get('usergroup')}")
        self.arrived.release()
        await self.gate.wait()
        if self.text is not None:
            return web.Response(text=self.text, status=self.status, content_type="text/html")
        return web.json_response(self.answers[method], status=self.status)


class Time:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def slack() -> AsyncIterator[Slack]:
    slack = Slack()
    app = web.Application()
    app.router.add_get("/api/{method}", slack.answer)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    slack.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}/api/"
    yield slack
    slack.gate.set()
    await runner.cleanup()


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def people(slack: Slack, time: Time) -> Directory:
    return SlackDirectory(AsyncWebClient("xoxb-1", base_url=slack.base_url), time)


async def test_a_profile_is_what_users_info_says(people: Directory, slack: Slack) -> None:
    expected = Profile(team_id="T0HOME", name="Alice", is_app_user=True)
    assert await people.profile(ALICE) == expected
    assert slack.calls == ["users.info U0ALICE"]


@pytest.mark.parametrize(
    ("said", "flag"),
    [
        ({"deleted": True}, "deleted"),
        ({"is_bot": True}, "is_bot"),
        ({"is_restricted": True}, "is_restricted"),
        ({"is_ultra_restricted": True}, "is_ultra_restricted"),
        ({"is_stranger": True}, "is_stranger"),
    ],
)
async def test_each_flag_is_passed_on(people: Directory, slack: Slack, said: dict[str, bool], flag: str) -> None:
    slack.answers["users.info"] = {"ok": True, "user": USER | said}
    assert getattr(await people.profile(ALICE), flag) is True


async def test_the_enterprise_is_read_and_slackbot_is_a_bot(people: Directory, slack: Slack) -> None:
    user = {"id": "USLACKBOT", "team_id": "T0HOME", "enterprise_user": {"enterprise_id": "E0ORG"}}
    slack.answers["users.info"] = {"ok": True, "user": user}
    profile = await people.profile(Person("T0HOME", "USLACKBOT"))
    assert (profile.enterprise_id, profile.is_bot) == ("E0ORG", True)


async def test_who_asks_the_same_at_the_same_time_shares_one_call(people: Directory, slack: Slack) -> None:
    slack.gate.clear()
    asking = [asyncio.create_task(people.members("S0OPS")) for _ in range(20)]
    await slack.arrived.acquire()
    slack.gate.set()
    assert await asyncio.gather(*asking) == [frozenset({"U0ALICE"})] * 20
    assert slack.calls == ["usergroups.users.list S0OPS"]


async def test_one_who_stops_waiting_does_not_stop_the_others(people: Directory, slack: Slack) -> None:
    slack.gate.clear()
    first, second = (asyncio.create_task(people.members("S0OPS")) for _ in range(2))
    await slack.arrived.acquire()
    first.cancel()
    slack.gate.set()
    assert await second == {"U0ALICE"}
    assert first.cancelled()


@pytest.mark.parametrize(("later", "calls"), [(0, 1), (4.99, 1), (5, 2), (60, 2)])
async def test_an_answer_counts_for_five_seconds(
    people: Directory, slack: Slack, time: Time, later: float, calls: int
) -> None:
    await people.members("S0OPS")
    slack.answers["usergroups.users.list"] = {"ok": True, "users": []}
    time.now += later
    assert await people.members("S0OPS") == (frozenset({"U0ALICE"}) if calls == 1 else frozenset())
    assert len(slack.calls) == calls


async def test_the_five_seconds_begin_with_the_question(people: Directory, slack: Slack, time: Time) -> None:
    slack.gate.clear()
    asking = asyncio.create_task(people.members("S0OPS"))
    await slack.arrived.acquire()
    time.now += 5
    later = asyncio.create_task(people.members("S0OPS"))
    await slack.arrived.acquire()
    slack.gate.set()
    await asyncio.gather(asking, later)


async def test_people_and_groups_are_not_mixed_up(people: Directory, slack: Slack) -> None:
    await people.members("S0OPS")
    await people.members("S0OTHER")
    await people.profile(ALICE)
    assert len(slack.calls) == 3


@pytest.mark.parametrize(
    ("status", "answer", "retry", "reason"),
    [
        (429, {"ok": False, "error": "ratelimited"}, True, "ratelimited"),
        (200, {"ok": False, "error": "ratelimited"}, True, "ratelimited"),
        (200, {"ok": False, "error": "internal_error"}, True, "internal_error"),
        (503, {"ok": False}, True, "HTTP 503"),
        (200, {"ok": False, "error": "missing_scope"}, False, "missing_scope"),
        (200, {"ok": False, "error": "plan_upgrade_required"}, False, "plan_upgrade_required"),
        (200, {"ok": False, "error": "user_not_found"}, False, "user_not_found"),
        (200, {"ok": True}, False, "users.info answered without the user"),
        (200, {"ok": True, "user": USER | {"id": "U0OTHER"}}, False, "users.info answered without the user"),
    ],
)
async def test_what_slack_does_not_say_is_unavailable(
    people: Directory, slack: Slack, status: int, answer: dict[str, Any], retry: bool, reason: str
) -> None:
    slack.status, slack.answers["users.info"] = status, answer
    with pytest.raises(DirectoryUnavailable) as raised:
        await people.profile(ALICE)
    assert (raised.value.retry, str(raised.value)) == (retry, reason)


@pytest.mark.parametrize("users", [None, "U0ALICE", [1]])
async def test_members_that_are_no_list_of_ids_are_unavailable(people: Directory, slack: Slack, users: object) -> None:
    slack.answers["usergroups.users.list"] = {"ok": True, "users": users}
    with pytest.raises(DirectoryUnavailable, match="without users"):
        await people.members("S0OPS")


async def test_a_page_instead_of_an_answer_is_worth_a_retry(people: Directory, slack: Slack) -> None:
    slack.status, slack.text = 502, "<html>bad gateway</html>"
    with pytest.raises(DirectoryUnavailable, match="HTTP 502") as raised:
        await people.profile(ALICE)
    assert raised.value.retry


async def test_a_group_that_does_not_exist_has_no_members(people: Directory, slack: Slack) -> None:
    slack.answers["usergroups.users.list"] = {"ok": False, "error": "no_such_subteam"}
    assert await people.members("S0GONE") == frozenset()


async def test_a_failure_is_not_remembered(people: Directory, slack: Slack) -> None:
    slack.status = 500
    with pytest.raises(DirectoryUnavailable):
        await people.members("S0OPS")
    slack.status = 200
    assert await people.members("S0OPS") == {"U0ALICE"}


async def test_no_connection_is_worth_a_retry(time: Time) -> None:
    nowhere = SlackDirectory(AsyncWebClient("xoxb-1", base_url="http://127.0.0.1:1/", retry_handlers=[]), time)
    with pytest.raises(DirectoryUnavailable, match="could not be reached") as raised:
        await nowhere.members("S0OPS")
    assert raised.value.retry


async def test_slack_is_not_waited_for_longer_than_an_answer_counts(
    people: Directory, slack: Slack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory, "MAX_AGE", 0.02)
    slack.gate.clear()
    with pytest.raises(DirectoryUnavailable, match="no answer in time") as raised:
        await people.members("S0OPS")
    assert raised.value.retry
