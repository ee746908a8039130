"""The sandbox as tests, demo and command line drive it: people who type, press and submit."""

import asyncio
import re
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sandbox.slack import escaping, forms, modals, payloads, render, responses
from sandbox.slack.asking import SlackError, refuse_faults
from sandbox.slack.blocks import interactive
from sandbox.slack.faults import Faults
from sandbox.slack.limits import Limits, RateLimiter
from sandbox.slack.sockets import Outcome, Sockets
from sandbox.slack.web_api import Call, WebApi
from sandbox.slack.workspace import Channel, Group, Json, Message, ResponseUrl, Typed, User, View, Workspace

T = TypeVar("T")


@dataclass(eq=False)
class Reply:
    """What an interaction came to. `acked_in` is in real seconds and None when nobody acked within Slack's three."""

    acked_in: float | None
    acked: Json | None
    failed: str
    envelope: Json
    errors: dict[str, str] = field(default_factory=dict)
    _slack: "SlackSandbox | None" = None
    _address: ResponseUrl | None = None

    @property
    def timed_out(self) -> bool:
        return self.acked_in is None

    @property
    def messages(self) -> list[Message]:
        """What came by response_url so far."""
        return list(self._address.answers) if self._address else []

    async def answers(self, count: int = 1, timeout: float = 5.0) -> list[Message]:  # noqa: ASYNC109 - says what for
        """The messages that came by response_url, once there are that many."""
        if self._slack is None or self._address is None:
            raise LookupError("this payload carried no response_url")
        what = f"{count} answer(s) by response_url"
        return await self._slack.until(lambda _: self.messages if len(self.messages) >= count else None, timeout, what)


class Person:
    """Somebody at a keyboard. `user` holds the flags, which a test may change at any time."""

    def __init__(self, user: User, slack: "SlackSandbox") -> None:
        self.user = user
        self._slack = slack
        self._workspace = slack.workspace

    @property
    def id(self) -> str:
        return self.user.id

    @property
    def name(self) -> str:
        return self.user.name

    @property
    def modal(self) -> View | None:
        """The modal that is open, on top where several are stacked."""
        return self._workspace.modal(self.id)

    @property
    def home(self) -> View | None:
        return self._workspace.homes.get(self.id)

    def sees(self, channel: str) -> list[Message]:
        """All messages of the channel in order, replies too, with the ephemeral ones that are for this person."""
        place = self._place(channel)
        said = [one for one in self._workspace.messages if one.channel == place.id and not one.deleted]
        return [one for one in said if one.only_for in (None, self.id)]

    @property
    def direct_messages(self) -> list[Message]:
        """What the bot has written to this person directly, replies too, in order."""
        places = {one.id for one in self._workspace.channels.values() if one.im_of == self.id}
        said = [one for one in self._workspace.messages if one.channel in places and not one.deleted]
        return [one for one in said if one.user == self._workspace.bot_user_id]

    async def types(self, text: str, channel: str) -> Reply:
        """A slash command; back when it is acked or given up. What the ack itself says is posted."""
        if not text.startswith("/"):
            raise ValueError(f"a slash command starts with a slash: {text!r}")
        place = self._place(channel)
        word, _, rest = text.partition(" ")
        self._workspace.typed.append(Typed(place.id, self._workspace.new_ts(), self.id, text))
        path = self._workspace.new_response_url(self.id, place.id, None)
        address = self._slack.response_url(path)
        payload = payloads.command(
            self.user, place, word, escaping.escaped(rest.strip(), self._workspace), self._workspace, address
        )
        reply = await self._deliver("slash_commands", payload, path)
        self._show_ack(word, text, place, reply)
        return reply

    async def presses(self, button: str, on: Message | View, block: str | None = None) -> Reply:
        """A click, given the button's text or action_id, and the block_id where several blocks have the same.
        LookupError where there is no such button to see. A confirmation dialog is confirmed."""
        return await self.sends(self.press_payload(button, on, block))

    async def opens(self, button: str, on: Message | View, block: str | None = None, timeout: float = 5.0) -> View:  # noqa: ASYNC109 - says what for
        """A click on a button that opens a modal, and the modal. TimeoutError when none comes."""
        before = self.modal
        reply = await self.presses(button, on, block)

        def opened(_: "SlackSandbox") -> View | None:
            return self.modal if self.modal is not before else None

        what = f"the modal that {button!r} opens for {self.name} (the click: {reply.failed or 'acked'})"
        return await self._slack.until(opened, timeout, what)

    def press_payload(self, button: str, on: Message | View, block: str | None = None) -> Json:
        """The payload that `presses` would send now, for a test to keep, forge and give to `sends`."""
        return self._click(button, on, block, self._path_of(on))

    async def sends(self, payload: Json) -> Reply:
        """Any interactive payload as it is, forged or stale."""
        path = str(payload.get("response_url", "")).partition("/commands/")[2]
        return await self._deliver("interactive", payload, path)

    async def submits(self, view: View, values: Mapping[str, Any] | None = None) -> Reply:
        """Fills a modal in and submits it; values are given by action_id or block_id. What was typed before stays.
        ValueError where Slack's own client would not send the form."""
        self._refuse_unseen(view)
        if self._workspace.view(view.id) is not view:
            raise LookupError(f"the modal {view.title!r} is no longer open")
        view.state = forms.filled(view.blocks, values or {}, view.state)
        view.errors = {}
        reply = await self._deliver("interactive", payloads.submission(self.user, view, self._workspace))
        if not reply.timed_out:
            self._follow(view, reply)
        return reply

    async def closes(self, view: View) -> None:
        """Closes a modal; the app hears of it only where it asked to."""
        self._refuse_unseen(view)
        stack = self._workspace.modals.get(self.id, [])
        clears = bool(view.content.get("clear_on_close"))
        if clears:
            stack.clear()
        elif view in stack:
            stack.remove(view)
        self._workspace.changes.tell()
        if view.content.get("notify_on_close"):
            payload = payloads.closing(self.user, view, self._workspace, cleared=clears)
            await self._deliver("interactive", payload)

    def says(self, text: str, channel: str, thread: Message | None = None) -> Message:
        """An ordinary message, of which the bot hears nothing."""
        place = self._place(channel)
        thread_ts = (thread.thread_ts or thread.ts) if thread else None
        text = escaping.with_mentions(text, self._workspace)
        return self._workspace.post(Message(place.id, self._workspace.new_ts(), self.id, text, thread_ts=thread_ts))

    async def mentions(self, text: str, channel: str, thread: Message | None = None) -> Reply:
        """`@tml …` in a channel or a thread: a message, and an app_mention event, sent again later while unacked."""
        if "app_mentions:read" not in self._workspace.scopes:
            raise ValueError("without the scope app_mentions:read Slack sends no app_mention")
        posted = self.says(f"<@{self._workspace.bot_user_id}> {text}", channel, thread)
        inner = payloads.message(posted, self._workspace) | {
            "type": "app_mention",
            "channel": posted.channel,
            "event_ts": posted.ts,
        }
        return await self._event(inner)

    async def opens_home(self) -> Reply:
        place = self._workspace.direct(self.id)
        ts = self._workspace.new_ts()
        opened: Json = {"type": "app_home_opened", "user": self.id, "channel": place.id, "tab": "home", "event_ts": ts}
        if self.home:
            opened["view"] = payloads.view(self.home, self._workspace)
        return await self._event(opened)

    def _place(self, channel: str) -> Channel:
        place = self._slack.channel(channel)
        if self.id not in place.members:
            raise PermissionError(f"{self.name} is not in {place.name}")
        return place

    def _path_of(self, on: Message | View) -> str:
        if isinstance(on, View):
            self._refuse_unseen(on)
            return ""
        if on.deleted or on.only_for not in (None, self.id):
            raise LookupError(f"{self.name} does not see this message")
        return self._workspace.new_response_url(self.id, self._place(on.channel).id, on)

    def _refuse_unseen(self, view: View) -> None:
        if view.user != self.id:
            raise LookupError(f"{self.name} does not see this view")

    def _click(self, wanted: str, on: Message | View, block_id: str | None, path: str) -> Json:
        blocks = [one for one in on.blocks if block_id in (None, one["block_id"])]
        block, button = _find_button(wanted, blocks)
        click = payloads.click(self.user, button, block, self._workspace)
        if isinstance(on, View):
            return click | payloads.on_view(on, self._workspace)
        place = self._workspace.channels[on.channel]
        return click | payloads.on_message(on, place, self._workspace, self._slack.response_url(path))

    async def _deliver(self, kind: str, payload: Json, path: str = "") -> Reply:
        address = self._workspace.response_urls.get(path)
        outcome = await self._slack.sockets.deliver(kind, payload, accepts_response_payload=True)
        return self._reply(outcome, address)

    async def _event(self, inner: Json) -> Reply:
        payload = payloads.event(inner, self._workspace)
        outcome = await self._slack.sockets.deliver_event(payload)
        if outcome.acked_in is None:
            self._slack.keep(self._slack.sockets.retry_event(payload))
        return self._reply(outcome)

    def _reply(self, outcome: Outcome, address: ResponseUrl | None = None) -> Reply:
        return Reply(
            outcome.acked_in, outcome.body, outcome.failed, outcome.envelope, _slack=self._slack, _address=address
        )

    def _show_ack(self, word: str, text: str, place: Channel, reply: Reply) -> None:
        body = reply.acked or {}
        if body.get("response_type") == responses.IN_CHANNEL:
            self._workspace.post(Message(place.id, self._workspace.new_ts(), self.id, text))
        if body.get("text") or body.get("blocks"):
            try:
                responses.say(body, place.id, self.id, self._workspace)
            except SlackError as error:
                reply.failed = error.code
        if reply.failed:
            self._workspace.post(payloads.failure_notice(word, reply.failed, place.id, self.id, self._workspace))

    def _follow(self, view: View, reply: Reply) -> None:
        """Does what the ack of a submission says; an empty one closes the view."""
        body, stack = reply.acked or {}, self._workspace.modals.get(self.id, [])
        action = body.get("response_action")
        if action == "errors":
            view.errors = reply.errors = _checked_errors(body, view)
        elif action == "update":
            self._workspace.replace_view(view, self._checked(body, view))
        elif action == "push":
            modals.push(self.id, self._checked(body), self._workspace)
        elif action == "clear":
            stack.clear()
        elif action is not None:
            refuse_faults("invalid_arguments", [f"unknown response_action: {action}"])
        elif view in stack:
            stack.remove(view)
        self._workspace.changes.tell()

    def _checked(self, body: Json, replaced: View | None = None) -> Json:
        return modals.checked_view(body.get("view"), "modal", self._workspace, replaced)


class SlackSandbox:
    """A workspace behind a web server on this machine. `url` is the base URL for AsyncWebClient."""

    def __init__(self, workspace: Workspace, limits: Limits | None) -> None:
        self.workspace = workspace
        self.sockets = Sockets(workspace)
        self.faults = Faults(self.sockets, workspace.changes)
        self.api = WebApi(workspace, self.sockets, self.faults, RateLimiter(limits, workspace.clock))
        self.site = ""
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def url(self) -> str:
        return f"{self.site}/api/"

    @property
    def calls(self) -> list[Call]:
        return self.api.calls

    @property
    def deliveries(self) -> list[Outcome]:
        """Every envelope sent, in order: its socket, how soon it was acked, with what."""
        return self.sockets.outcomes

    @property
    def bot_token(self) -> str:
        return self.workspace.bot_token

    @property
    def app_token(self) -> str:
        return self.workspace.app_token

    @property
    def bot_user_id(self) -> str:
        return self.workspace.bot_user_id

    @property
    def team_id(self) -> str:
        return self.workspace.team_id

    @property
    def other_team_id(self) -> str:
        return self.workspace.other_team_id

    @property
    def app_id(self) -> str:
        return self.workspace.app_id

    def add_user(self, name: str, id: str | None = None, **flags: Any) -> Person:  # noqa: A002 - Slack's own word
        """A person of the team; the flags are the fields of `User`. A stranger is of the second team unless said."""
        if flags.get("is_stranger"):
            flags.setdefault("team_id", self.other_team_id)
        user = User(**{"id": id or f"U0{_upper(name)}", "name": name, "team_id": self.team_id, **flags})
        self.workspace.add_user(user)
        return Person(user, self)

    def add_channel(
        self,
        name: str,
        id: str | None = None,  # noqa: A002 - Slack's own word
        members: Iterable[str | Person] | None = None,
        *,
        bot: bool = True,
        private: bool = False,
        is_ext_shared: bool = False,
    ) -> Channel:
        """A channel with these members by name, or everybody there is so far; `bot`: whether the bot was invited."""
        people = self._everybody() if members is None else [self._person(one).id for one in members]
        inside = {*people, *([self.bot_user_id] if bot else [])}
        place = Channel(id or f"C0{_upper(name)}", name, inside, is_private=private, is_ext_shared=is_ext_shared)
        self.workspace.channels[place.id] = place
        self.workspace.changes.tell()
        return place

    def add_group(self, handle: str, id: str | None = None, users: Iterable[str | Person] = ()) -> Group:  # noqa: A002 - as above
        group = Group(id or f"S0{_upper(handle)}", handle, [self._person(one).id for one in users])
        self.workspace.groups[group.id] = group
        return group

    def person(self, name: str) -> Person:
        """By name or id; LookupError names who there is."""
        for user in self.workspace.users.values():
            if name in (user.name, user.id):
                return Person(user, self)
        names = ", ".join(sorted(user.name for user in self.workspace.users.values()))
        raise LookupError(f"there is no {name!r} in the workspace, only {names}")

    def people(self) -> list[Person]:
        """Whoever can sit at a keyboard: no bots, nobody deactivated."""
        return [one for one in map(self.person, self._everybody()) if not one.user.deleted]

    def channel(self, name: str) -> Channel:
        """By id, name or #name."""
        for place in self.workspace.channels.values():
            if name.removeprefix("#") in (place.id, place.name):
                return place
        raise LookupError(f"there is no channel {name!r}")

    def direct(self, person: str | Person) -> Channel:
        """The person's direct conversation with the bot."""
        return self.workspace.direct(self._person(person).id)

    def group(self, handle: str) -> Group:
        return next(one for one in self.workspace.groups.values() if handle.removeprefix("@") in (one.id, one.handle))

    def channel_messages(self, channel: str) -> list[Message]:
        """What stands in the channel itself for everybody: no replies but broadcast ones, nothing ephemeral."""
        said = self.workspace.public(self.channel(channel).id)
        return [one for one in said if not one.is_reply or one.broadcast]

    def thread(self, channel: str, ts: str) -> list[Message]:
        """The parent and its replies, oldest first."""
        place = self.channel(channel)
        return [one for one in self.workspace.public(place.id) if ts in (one.ts, one.thread_ts)]

    def called(self, method: str) -> list[Call]:
        return [one for one in self.calls if one.method == method]

    def transcript(self, channel: str | None = None) -> str:
        """What people see, as text; times are UTC."""
        return render.transcript(self.workspace, self.channel(channel).id if channel else None)

    def shown(self, message: Message) -> str:
        """One message as text."""
        return "\n".join(render.body(message, self.workspace))

    def rendered(self, view: View) -> str:
        return render.view(view, self.workspace)

    async def until(self, condition: "Callable[[SlackSandbox], T | None]", timeout: float, what: str) -> T:  # noqa: ASYNC109 - says what for
        """The first thing the condition gives that is neither None, False nor empty; asked again on each change.
        TimeoutError after that many real seconds, with the last state."""
        try:
            async with asyncio.timeout(timeout):
                while not (found := condition(self)):
                    await self.workspace.changes.next()
                return found
        except TimeoutError:
            raise TimeoutError(f"waited {timeout:g} s for {what}; the last state:\n{self._state()}") from None

    def response_url(self, path: str) -> str:
        return f"{self.site}/commands/{path}"

    def keep(self, work: Coroutine[Any, Any, Any]) -> None:
        """Runs something beside the caller, until the sandbox closes at the latest."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.faults.comes_back()
        await self.sockets.close()

    def _person(self, one: str | Person) -> Person:
        return one if isinstance(one, Person) else self.person(one)

    def _everybody(self) -> list[str]:
        return [one.id for one in self.workspace.users.values() if not one.is_bot and one.name != "slackbot"]

    def _state(self) -> str:
        calls = "\n".join(f"  {one.method}: {one.status} {one.result.get('error', 'ok')}" for one in self.calls[-10:])
        return f"{self.transcript()}\nsockets open: {len(self.sockets.open)}\nlast calls:\n{calls}"


def _upper(name: str) -> str:
    return re.sub(r"[^A-Z0-9]", "", name.upper())


def _find_button(wanted: str, blocks: Sequence[Json]) -> tuple[Json, Json]:
    there: list[str] = []
    for block in blocks:
        for button in interactive(block):
            if button["type"] != "button":
                continue
            text = button["text"]["text"]
            if wanted in (text, button.get("action_id")):
                return block, button
            there.append(text)
    raise LookupError(f"there is no button {wanted!r}, only {there or 'none'}")


def _checked_errors(body: Json, view: View) -> dict[str, str]:
    """The errors by block_id; Slack refuses errors for blocks that are not there."""
    errors = {str(key): str(text) for key, text in (body.get("errors") or {}).items()}
    inputs = [block["block_id"] for block in view.blocks if block["type"] == "input"]
    strange = [f"errors name no input block: {one}" for one in errors if one not in inputs]
    refuse_faults("invalid_arguments", strange or ([] if errors else ["missing required field: errors"]))
    return errors
