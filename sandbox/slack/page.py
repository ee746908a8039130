"""The workspace in a browser: one page, its state as JSON, and what the person at it does."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web

from sandbox.slack import payloads, render
from sandbox.slack.asking import SlackError
from sandbox.slack.driver import Person, Reply, SlackSandbox
from sandbox.slack.workspace import Channel, Json, Message, Typed, View

PAGE = Path(__file__).with_name("page.html")
GATHER_CHANGES = 0.05
KEEP_ALIVE = 15.0
# The page builds its nodes itself and loads nothing from elsewhere.
POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'"

Act = Callable[[Person, Json], Awaitable[Reply | None]]


def routes(slack: SlackSandbox) -> list[web.RouteDef]:
    async def serve_page(_request: web.Request) -> web.Response:
        headers = {"Content-Security-Policy": POLICY}
        return web.Response(text=PAGE.read_text("utf-8"), content_type="text/html", headers=headers)

    async def serve_state(request: web.Request) -> web.Response:
        return web.json_response(state(slack, request.query.get("as", "")))

    async def serve_live(request: web.Request) -> web.StreamResponse:
        return await _live(slack, request)

    acts: dict[str, Act] = {
        "type": lambda person, given: _type(person, given),
        "press": lambda person, given: _press(slack, person, given),
        "submit": lambda person, given: person.submits(_view(slack, given), given.get("values") or {}),
        "close": lambda person, given: person.closes(_view(slack, given)),
        "home": lambda person, _given: person.opens_home(),
    }

    async def serve_act(request: web.Request) -> web.Response:
        return await _act(slack, acts, request)

    return [
        web.get("/", serve_page),
        web.get("/sandbox/state", serve_state),
        web.get("/sandbox/live", serve_live),
        web.post("/sandbox/{act}", serve_act),
    ]


async def _act(slack: SlackSandbox, acts: dict[str, Act], request: web.Request) -> web.Response:
    """Does it as the person named. Only JSON is taken: a page from elsewhere cannot send that unasked."""
    act = acts.get(request.match_info["act"])
    if act is None or request.content_type != "application/json":
        return web.json_response({"error": "not understood"}, status=400)
    try:
        given = await request.json()
        reply = await act(slack.person(str(given.get("as"))), given)
    except (LookupError, PermissionError, ValueError, SlackError) as error:
        return web.json_response({"error": str(error)}, status=409)
    return web.json_response({"acked_in": reply.acked_in, "failed": reply.failed} if reply else {})


async def _type(person: Person, given: Json) -> Reply | None:
    """A slash command, a mention of the bot or plain words, as the text says."""
    text, channel = str(given.get("text", "")).strip(), str(given.get("channel"))
    thread = next((one for one in person.sees(channel) if one.ts == given.get("thread")), None)
    if text.startswith("/"):
        if thread:
            raise ValueError("Slack has no slash commands in threads; use a button, or mention the bot")
        return await person.types(text, channel)
    if text.startswith("@tml"):
        return await person.mentions(text.removeprefix("@tml").strip(), channel, thread)
    person.says(text, channel, thread)
    return None


async def _press(slack: SlackSandbox, person: Person, given: Json) -> Reply:
    on: Message | View | None
    if given.get("view"):
        on = _view(slack, given)
    else:
        on = next((one for one in person.sees(str(given["channel"])) if one.ts == given.get("ts")), None)
    if on is None:
        raise LookupError("this message is gone")
    return await person.presses(str(given["action"]), on, str(given["block"]))


def _view(slack: SlackSandbox, given: Json) -> View:
    found = slack.workspace.view(str(given.get("view")))
    if found is None:
        raise LookupError("this modal is no longer open")
    return found


async def _live(slack: SlackSandbox, request: web.Request) -> web.StreamResponse:
    """Server-sent events: each says no more than that something changed."""
    stream = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
    await stream.prepare(request)
    changes, seen = slack.workspace.changes, -1
    try:
        while True:
            if changes.count == seen:
                await _change_or_pause(slack)
            await asyncio.sleep(GATHER_CHANGES)
            seen = changes.count
            await stream.write(f"data: {seen}\n\n".encode())
    except ConnectionError:
        return stream


async def _change_or_pause(slack: SlackSandbox) -> None:
    try:
        async with asyncio.timeout(KEEP_ALIVE):
            await slack.workspace.changes.next()
    except TimeoutError:
        return


def state(slack: SlackSandbox, viewer: str) -> Json:
    """Everything the page shows to one person: names, channels with their messages, modal and home tab."""
    workspace = slack.workspace
    people = slack.people()
    person = next((one for one in people if one.id == viewer), people[0] if people else None)
    places = [one for one in workspace.channels.values() if person and person.id in one.members]
    return {
        "you": person.id if person else None,
        "people": [{"id": one.id, "name": one.name} for one in people],
        "users": {one.id: one.name for one in workspace.users.values()},
        "groups": {one.id: one.handle for one in workspace.groups.values()},
        "names": {one.id: one.name for one in workspace.channels.values() if not one.im_of},
        "bots": [one.id for one in workspace.users.values() if one.is_bot],
        "emoji": render.EMOJI,
        "sockets": len(slack.sockets.open),
        "channels": [_channel(slack, place, person) for place in places if person],
        "modal": _shown_view(slack, person.modal) if person and person.modal else None,
        "home": _shown_view(slack, person.home) if person and person.home else None,
    }


def _shown_view(slack: SlackSandbox, view: View) -> Json:
    return payloads.view(view, slack.workspace) | {"errors": view.errors}


def _channel(slack: SlackSandbox, place: Channel, person: Person) -> Json:
    typed = [one for one in slack.workspace.typed if one.channel == place.id and one.user == person.id]
    said = [_message(one, place) for one in person.sees(place.id)] + [_typed(one) for one in typed]
    return {
        "id": place.id,
        "name": render.place_name(place.id, slack.workspace),
        "private": place.is_private,
        "shared": place.is_ext_shared,
        "messages": sorted(said, key=lambda one: str(one["ts"])),
    }


def _message(one: Message, place: Channel) -> Json:
    return {
        "channel": place.id,
        "ts": one.ts,
        "user": one.user,
        "text": one.text,
        "blocks": one.blocks,
        "thread": one.thread_ts if one.is_reply else None,
        "private": one.only_for is not None,
        "edited": one.edited is not None,
        "files": one.files,
    }


def _typed(one: Typed) -> Json:
    return {"ts": one.ts, "user": one.user, "text": one.text, "typed": True, "private": True, "blocks": [], "files": []}
