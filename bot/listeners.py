"""Slack's payloads in, the desk's answers out. Nothing long runs here."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from slack_bolt.async_app import AsyncAck, AsyncApp, AsyncRespond

from bot.desk import Desk
from bot.gate import Request
from bot.views import answers
from bot.views.blocks import Message
from lifecycle.model import Person, Place

log = structlog.get_logger(__name__)

DECIDED_WITHIN = 2.0
"""Seconds in which a click is decided before it is acknowledged: Slack does not deliver it again."""

Press = Callable[[Person, Place, str], Awaitable[Message]]


def register(app: AsyncApp, desk: Desk) -> None:
    """Tie the slash command and the buttons to the desk."""

    @app.command("/tml")
    async def tml(ack: AsyncAck, command: dict[str, Any], respond: AsyncRespond) -> None:
        await ack()  # in time, whatever follows
        place = Place(command["team_id"], command["channel_id"])
        request = Request(person_of(command), place, _storable(command.get("text", "")))
        await respond(**await desk.answer(request))

    _on_press(app, "confirm", desk.confirm, replaces=True)
    _on_press(app, "dismiss", desk.dismiss, replaces=True)
    _on_press(app, "again", desk.again, replaces=False)
    _on_press(app, "status", desk.status_of, replaces=False)

    @app.error
    async def broke(error: Exception, respond: AsyncRespond) -> None:
        """The one handler of defects: the person is told, the trace is in the log."""
        log.error("a listener broke", exc_info=error)
        await respond(response_type="ephemeral", replace_original=False, **answers.broken())


def _on_press(app: AsyncApp, action: str, press: Press, *, replaces: bool) -> None:
    @app.action(action)
    async def pressed(ack: AsyncAck, body: dict[str, Any], respond: AsyncRespond) -> None:
        value = str(body["actions"][0].get("value", ""))
        deciding = asyncio.ensure_future(press(person_of(body), place_of(body), value))
        await asyncio.wait({deciding}, timeout=DECIDED_WITHIN)
        await ack()
        thread = None if replaces else body.get("message", {}).get("thread_ts")
        await respond(response_type="ephemeral", replace_original=replaces, thread_ts=thread, **await deciding)


def _storable(text: str) -> str:
    """Without halves of characters, which no database and no hash takes."""
    return text.encode("utf-8", "replace").decode()


def person_of(body: dict[str, Any]) -> Person:
    """Who it was, by ids: of the organisation where there is one, else of the workspace (docs.slack.dev, Grid)."""
    user = body.get("user") or {"id": body["user_id"]}
    team = body.get("enterprise_id") or user.get("team_id") or body.get("team_id") or body["team"]["id"]
    return Person(str(team), str(user["id"]))


def place_of(body: dict[str, Any]) -> Place:
    """Where a button was pressed."""
    container = body.get("container", {})
    channel = body.get("channel", {}).get("id") or container.get("channel_id", "")
    return Place(str(body["team"]["id"]), str(channel), container.get("message_ts"))
