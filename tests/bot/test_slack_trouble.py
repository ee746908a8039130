"""Slack's failures that pass by themselves: known in one place, and waited out where the bot cannot go on without."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

import bot.__main__
from bot.__main__ import _identity
from bot.slack_trouble import PASSING, is_passing, named

OK = (200, {"ok": True, "team_id": "T0TML"})


class Slack:
    """A Web API that gives one answer after another; the last one stays."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, Any]] = []
        self.base_url = ""

    @property
    def client(self) -> AsyncWebClient:
        return AsyncWebClient("xoxb-1", base_url=self.base_url, retry_handlers=[])

    async def answer(self, _request: web.Request) -> web.Response:
        status, said = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(said, str):
            return web.Response(text=said, status=status, content_type="text/html")
        return web.json_response(said, status=status)


@pytest.fixture
async def slack() -> AsyncIterator[Slack]:
    slack = Slack()
    app = web.Application()
    app.router.add_post("/api/auth.test", slack.answer)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    slack.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}/api/"
    yield slack
    await runner.cleanup()


def refusal(code: str) -> dict[str, Any]:
    return {"ok": False, "error": code}


@pytest.mark.parametrize(
    ("status", "said", "passing", "name"),
    [
        *((200, refusal(code), True, code) for code in sorted(PASSING)),
        (429, refusal("ratelimited"), True, "ratelimited"),
        (503, "<html>", True, "HTTP 503"),
        (200, refusal("invalid_auth"), False, "invalid_auth"),
        (200, refusal("missing_scope"), False, "missing_scope"),
        (403, "<html>", False, "HTTP 403"),
    ],
)
async def test_what_passes_by_itself_is_known_by_code_or_status(
    slack: Slack, status: int, said: Any, passing: bool, name: str
) -> None:
    slack.answers = [(status, said)]
    with pytest.raises(SlackApiError) as raised:
        await slack.client.auth_test()
    assert (is_passing(raised.value), named(raised.value)) == (passing, name)


async def test_the_start_waits_for_what_passes_and_ends_with_a_token_that_is_refused(
    slack: Slack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bot.__main__, "SLACK_AGAIN", 0.0)
    slack.answers = [(200, refusal("internal_error")), (429, refusal("ratelimited")), (503, "<html>"), OK]
    assert (await _identity(slack.client))["team_id"] == "T0TML"
    slack.answers = [(200, refusal("request_timeout")), (200, refusal("invalid_auth"))]
    with pytest.raises(SlackApiError, match="invalid_auth"):
        await _identity(slack.client)
