"""Slack's payloads in, the desk's answers out. Nothing long runs here."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp
import structlog
from slack_bolt.async_app import AsyncAck, AsyncApp, AsyncRespond

from bot.desk import Answer, Desk
from bot.gate import Request
from bot.views import answers
from lifecycle.model import Person, Place

log = structlog.get_logger(__name__)

DECIDED_WITHIN = 2.0
"""Seconds in which a click is decided before it is acknowledged: Slack does not deliver it again."""

LONGEST_VALUE = 64
"""Characters: a button's value is an id, and whatever is longer is none of this bot's."""

PAUSES = (0.5, 2.0)
"""Seconds before an answer that Slack did not take is given again; twice the same answer is better than none."""

Press = Callable[[Person, Place, str], Awaitable[Answer]]


def register(app: AsyncApp, desk: Desk) -> None:
    """Tie the slash command and the buttons to the desk."""

    @app.command("/tml")
    async def tml(ack: AsyncAck, command: dict[str, Any], respond: AsyncRespond) -> None:
        await ack()  # in time, whatever follows
        async with _defects_told(respond):
            place = Place(command["team_id"], command["channel_id"])
            request = Request(person_of(command), place, _storable(command.get("text", "")))
            await _tell(respond, **await desk.answer(request))

    _on_press(app, "confirm", desk.confirm)
    _on_press(app, "dismiss", desk.dismiss)
    _on_press(app, "again", desk.again)
    _on_press(app, "status", desk.status_of)


def _on_press(app: AsyncApp, action: str, press: Press) -> None:
    @app.action(action)
    async def pressed(ack: AsyncAck, body: dict[str, Any], respond: AsyncRespond) -> None:
        deciding = asyncio.ensure_future(_decided(press, body))
        await asyncio.wait({deciding}, timeout=DECIDED_WITHIN)
        await ack()
        async with _defects_told(respond):
            answer = await deciding
            thread = None if answer.settles else body.get("message", {}).get("thread_ts")
            how = {"response_type": "ephemeral", "replace_original": answer.settles, "thread_ts": thread}
            await _tell(respond, **how, **answer.message)


async def _decided(press: Press, body: dict[str, Any]) -> Answer:
    value = _storable(str(body["actions"][0].get("value", "")))[:LONGEST_VALUE]
    return await press(person_of(body), place_of(body), value)


@asynccontextmanager
async def _defects_told(respond: AsyncRespond) -> AsyncIterator[None]:
    """The one handler of defects: the person is told, the trace is in the log.

    Nothing goes on to Bolt, which forgets an ack when its listener raises within 10 ms (asyncio_runner: it sets
    ``ack.response`` back to None before its own loop has looked), and Slack then says that the command timed out.
    """
    try:
        yield
    except Exception:
        log.exception("a listener broke")
        with suppress(aiohttp.ClientError, TimeoutError):  # Slack is away: nobody is there to be told
            await _tell(respond, response_type="ephemeral", replace_original=False, **answers.broken())


async def _tell(respond: AsyncRespond, **answer: Any) -> None:
    """Bolt raises nothing when Slack does not take an answer: the person would wait for ever."""
    for pause in (*PAUSES, None):
        given = await respond(**answer)
        if given.status_code < 429 or pause is None:
            break
        await asyncio.sleep(pause)
    if given.status_code != 200:
        log.error("slack did not take an answer", status=given.status_code, reason=given.body)


def _storable(text: str) -> str:
    """Without halves of characters, which no database and no hash takes."""
    return text.encode("utf-8", "replace").decode()


def person_of(body: dict[str, Any]) -> Person:
    """Who it was, by ids: of the organisation where there is one, else of the workspace (docs.slack.dev, Grid).

    A command names the organisation flat, a click as an object: the same person has to come out of both.
    """
    user = body.get("user") or {"id": body["user_id"]}
    enterprise = body.get("enterprise_id") or (body.get("enterprise") or {}).get("id")
    return Person(str(enterprise or user.get("team_id") or _team_of(body)), str(user["id"]))


def _team_of(body: dict[str, Any]) -> str:
    """An app that is installed for a whole organisation gets clicks without a team."""
    return str(body.get("team_id") or (body.get("team") or {}).get("id") or "")


def place_of(body: dict[str, Any]) -> Place:
    """Where a button was pressed."""
    container = body.get("container", {})
    channel = body.get("channel", {}).get("id") or container.get("channel_id", "")
    return Place(_team_of(body), str(channel), container.get("message_ts"))
