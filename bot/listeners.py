"""Slack's payloads in, the desk's answers out. Nothing long runs here."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, TypeVar

import aiohttp
import structlog
from slack_bolt.async_app import AsyncAck, AsyncApp, AsyncRespond
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.desk import Answer, Desk
from bot.forms import Dialog, Form
from bot.outcome import Request
from bot.slack_trouble import UNREACHED, code_of, is_passing
from bot.views import answers, modals
from bot.views.blocks import Message
from lifecycle.errors import ClusterError, Refused
from lifecycle.model import Person, Place
from storage.database import StorageError

log = structlog.get_logger(__name__)

DECIDED_WITHIN = 2.0
"""Seconds in which a click is decided before it is acknowledged: Slack does not deliver it again."""

LONGEST_TYPED = 500
"""Characters of a modal's input; Slack allows no more in it."""

LONGEST_VALUE = 64
"""Characters: a button's value is an id, and whatever is longer is none of this bot's."""

PAUSES = (0.5, 2.0)
"""Seconds before an answer that Slack did not take is given again; twice the same answer is better than none."""

NOT_TAKEN = frozenset({"invalid_arguments", "invalid_blocks"})
"""Slack's codes for blocks that it does not know."""

T = TypeVar("T")
Press = Callable[[Person, Place, str], Awaitable[Answer]]
Opens = Callable[[Person, Place, str], Awaitable[Dialog]]
Submits = Callable[[Person, Place, str, Mapping[str, str]], Awaitable[Message]]


def register(app: AsyncApp, desk: Desk) -> None:
    """Tie the slash command and the buttons to the desk."""

    @app.command("/tml")
    async def tml(ack: AsyncAck, command: dict[str, Any], respond: AsyncRespond) -> None:
        await ack()  # in time, whatever follows
        async with _defects_told(respond):
            place = Place(command["team_id"], command["channel_id"])
            request = Request(person_of(command), place, _storable(command.get("text", "")))
            await _tell(respond, **await desk.answer(request))

    for action, button in desk.buttons.items():
        _on_press(app, action, partial(desk.press, button))
    for name, form in desk.forms.items():
        _on_form(app, name, desk, form)


def _on_form(app: AsyncApp, name: str, desk: Desk, form: Form) -> None:
    """The button opens a modal, and its submission decides."""

    @app.action(name)
    async def pressed(ack: AsyncAck, body: dict[str, Any], client: AsyncWebClient, respond: AsyncRespond) -> None:
        opening = asyncio.ensure_future(_open_modal(partial(desk.open, form), client, body))
        await asyncio.wait({opening}, timeout=DECIDED_WITHIN)
        await ack()
        async with _defects_told(respond):
            if why_not := await opening:
                await _tell(respond, response_type="ephemeral", replace_original=False, **why_not)

    @app.view(name)
    async def submitted(ack: AsyncAck, body: dict[str, Any], client: AsyncWebClient) -> None:
        """Slack does not deliver it again, so the decision is recorded before it is acknowledged."""
        deciding = asyncio.ensure_future(_submitted(partial(desk.submit, form), body))
        done, _ = await asyncio.wait({deciding}, timeout=DECIDED_WITHIN)
        if done:
            await ack(**_acknowledged(deciding.result()))
            return
        await ack(response_action="update", view=modals.page(answers.deciding()))
        await _turn_page(client, body["view"]["id"], await deciding)


async def _open_modal(opens: Opens, client: AsyncWebClient, body: dict[str, Any]) -> Message | None:
    """None when it is open; the answer for those who may not have it. Slack takes the trigger for 3 s."""
    try:
        dialog = await _decided(opens, body)
    except Refused as refusal:
        return answers.refused(refusal)
    except StorageError:
        log.exception("what a modal is about could not be read")
        return answers.unrecorded()
    try:
        await _open(client, body["trigger_id"], dialog.view)
    except UNREACHED as error:
        log.warning("slack did not open a modal", about=dialog.view["private_metadata"], reason=repr(error))
        return dialog.unopened
    return None


async def _open(client: AsyncWebClient, trigger: str, view: dict[str, Any]) -> None:
    """Once more and plainer where Slack does not take the view: not every workspace knows every block."""
    try:
        await client.views_open(trigger_id=trigger, view=view)
    except SlackApiError as error:
        if code_of(error) not in NOT_TAKEN:
            raise
        log.info("slack did not take a modal's blocks", reason=repr(error))
        await client.views_open(trigger_id=trigger, view=modals.plainer(view))


async def _turn_page(client: AsyncWebClient, view: str, answer: Message | Refused) -> None:
    """Show an answer that Slack did not wait for; a modal that was closed meanwhile shows nothing."""
    page = modals.page(answers.refused(answer) if isinstance(answer, Refused) else answer)
    for pause in (*PAUSES, None):
        try:
            await client.views_update(view_id=view, view=page)
        except UNREACHED as error:
            if pause is None or (isinstance(error, SlackApiError) and not is_passing(error)):
                log.warning("slack did not turn a modal's page", reason=repr(error))
                return
            await asyncio.sleep(pause)
        else:
            return


async def _submitted(submits: Submits, body: dict[str, Any]) -> Message | Refused:
    """The answer to a submission; a refusal is shown at the input that it is about, so that it can be typed again."""
    try:
        view = body["view"]
        about = _storable(str(view.get("private_metadata", "")))[:LONGEST_VALUE]
        return await submits(person_of(body), place_of(body), about, _typed(view))
    except Refused as refusal:
        return refusal if refusal.code in modals.AT_INPUT else answers.refused(refusal)
    except ClusterError as error:
        return answers.unreachable(error)
    except StorageError:
        return answers.unrecorded()
    except Exception:
        log.exception("a submission broke")
        return answers.broken()


def _typed(view: dict[str, Any]) -> dict[str, str]:
    """By input; each is the only one in its block, which bears the same name."""
    values = view["state"]["values"]
    given = {name: values.get(name, {}).get(name, {}).get("value") for name in (modals.NAME, modals.REASON)}
    return {name: _storable(value or "")[:LONGEST_TYPED] for name, value in given.items()}


def _acknowledged(answer: Message | Refused) -> dict[str, Any]:
    """What a submission is acknowledged with."""
    if isinstance(answer, Refused):
        return {"response_action": "errors", "errors": modals.errors(answer.code)}
    return {"response_action": "update", "view": modals.page(answer)}


def _on_press(app: AsyncApp, action: str, press: Press) -> None:
    @app.action(action)
    async def pressed(ack: AsyncAck, body: dict[str, Any], client: AsyncWebClient, respond: AsyncRespond) -> None:
        deciding = asyncio.ensure_future(_decided(press, body))
        await asyncio.wait({deciding}, timeout=DECIDED_WITHIN)
        await ack()
        if "view" in body:
            await _turn_page(client, body["view"]["id"], await _on_page(deciding))
            return
        async with _defects_told(respond):
            answer = await deciding
            thread = None if answer.settles else body.get("message", {}).get("thread_ts")
            how = {"response_type": "ephemeral", "replace_original": answer.settles, "thread_ts": thread}
            await _tell(respond, **how, **answer.message)


async def _on_page(deciding: Awaitable[Answer]) -> Message:
    """The answer to a press within a modal, which has no address to answer to."""
    try:
        return (await deciding).message
    except Exception:
        log.exception("a press broke")
        return answers.broken()


async def _decided(press: Callable[[Person, Place, str], Awaitable[T]], body: dict[str, Any]) -> T:
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
