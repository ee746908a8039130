"""What the workspace holds: people, groups, channels, messages, views. Nothing here speaks HTTP."""

import asyncio
import random
import string
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from sandbox.slack.blocks import interactive
from sandbox.slack.clock import Clock
from sandbox.slack.forms import kept

Json = dict[str, Any]

SLACKBOT = "USLACKBOT"
TRIGGER_LIFE = 3.0
RESPONSE_URL_LIFE = 30 * 60.0
RESPONSE_URL_USES = 5


@dataclass
class User:
    id: str
    name: str
    team_id: str
    real_name: str = ""
    tz: str = "Etc/UTC"
    is_bot: bool = False
    is_restricted: bool = False
    is_ultra_restricted: bool = False
    is_stranger: bool = False
    deleted: bool = False
    is_admin: bool = False
    email: str = ""


@dataclass
class Group:
    """A user group. `fails_with` is the error that reading its users answers, such as `plan_upgrade_required`."""

    id: str
    handle: str
    users: list[str]
    disabled: bool = False
    fails_with: str = ""


@dataclass
class Channel:
    id: str
    name: str
    members: set[str]
    is_private: bool = False
    is_ext_shared: bool = False
    is_archived: bool = False
    im_of: str = ""  # the person of a direct conversation with the bot

    @property
    def kind(self) -> str:
        """The word in Slack's scopes: channels, groups or im."""
        return "im" if self.im_of else "groups" if self.is_private else "channels"


@dataclass(eq=False)
class Message:
    """A message as it stands now: an edit changes it in place, and `deleted` marks one that is gone."""

    channel: str
    ts: str
    user: str
    text: str
    blocks: list[Json] = field(default_factory=list)
    thread_ts: str | None = None
    metadata: Json | None = None
    bot_id: str | None = None
    edited: str | None = None
    only_for: str | None = None  # the one person who sees an ephemeral message
    broadcast: bool = False
    files: list[Json] = field(default_factory=list)
    deleted: bool = False

    @property
    def is_reply(self) -> bool:
        return self.thread_ts is not None and self.thread_ts != self.ts


@dataclass(frozen=True)
class Typed:
    """A slash command as it was typed; Slack shows it to nobody, transcripts do."""

    channel: str
    ts: str
    user: str
    text: str


@dataclass(eq=False)
class View:
    """A modal on a person's screen, or their home tab."""

    id: str
    user: str
    content: Json
    hash: str
    root_id: str
    previous_id: str | None = None
    state: Json = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)

    @property
    def blocks(self) -> list[Json]:
        blocks: list[Json] = self.content["blocks"]
        return blocks

    @property
    def title(self) -> str:
        return str((self.content.get("title") or {}).get("text", ""))


@dataclass
class Trigger:
    user: str
    expires: float
    view: str | None = None  # the modal it came from
    used: bool = False


@dataclass(eq=False)
class ResponseUrl:
    user: str
    channel: str
    expires: float
    origin: Message | None
    uses_left: int = RESPONSE_URL_USES
    answers: list[Message] = field(default_factory=list)


@dataclass
class File:
    id: str
    name: str
    length: int
    content: bytes | None = None
    title: str = ""
    shared: bool = False


class Changes:
    """Wakes those who wait for something to happen; they look again themselves."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Future[None]] = set()
        self.count = 0

    def tell(self) -> None:
        self.count += 1
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)

    async def next(self) -> None:
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(waiting)
        try:
            await waiting
        finally:
            self._waiting.discard(waiting)


class Workspace:
    """One team, the app in it, and everything said there."""

    def __init__(self, clock: Clock, rng: random.Random, scopes: Iterable[str], enterprise_id: str | None = None):
        self.clock = clock
        self.rng = rng
        self.scopes = frozenset(scopes)
        self.changes = Changes()
        self.team_id, self.team_name, self.team_domain = "T0TML", "TML", "tml"
        self.other_team_id = "T0PARTNER"
        self.enterprise_id = enterprise_id
        self.app_id, self.bot_id, self.bot_user_id = "A0TMLBOT", "B0TMLBOT", "U0TMLBOT"
        self.bot_token, self.app_token = f"xoxb-{self.new_id('', 20)}", f"xapp-1-{self.app_id}-{self.new_id('', 20)}"
        self.verification_token = self.new_id("", 24)
        self.users: dict[str, User] = {}
        self.groups: dict[str, Group] = {}
        self.channels: dict[str, Channel] = {}
        self.messages: list[Message] = []
        self._placed: dict[tuple[str, str], Message] = {}
        self._threads: dict[tuple[str, str], list[Message]] = {}
        self.typed: list[Typed] = []
        self.modals: dict[str, list[View]] = {}
        self.homes: dict[str, View] = {}
        self.triggers: dict[str, Trigger] = {}
        self.response_urls: dict[str, ResponseUrl] = {}
        self.files: dict[str, File] = {}
        self._last_ts = 0
        self.add_user(User(self.bot_user_id, "tml", self.team_id, "TML Bot", is_bot=True))
        self.add_user(User(SLACKBOT, "slackbot", self.team_id, "Slackbot"))

    def add_user(self, user: User) -> None:
        self.users[user.id] = user
        self.changes.tell()

    def new_id(self, prefix: str, length: int = 10) -> str:
        return prefix + "".join(self.rng.choices(string.ascii_uppercase + string.digits, k=length))

    def new_ts(self) -> str:
        """Unix time with microseconds, later than every one before."""
        self._last_ts = max(self._last_ts + 1, int(self.clock.wall() * 1_000_000))
        return f"{self._last_ts // 1_000_000}.{self._last_ts % 1_000_000:06d}"

    def post(self, message: Message) -> Message:
        message.blocks = self.with_ids(message.blocks)
        self.messages.append(message)
        self._placed[message.channel, message.ts] = message
        if message.thread_ts and message.is_reply and not message.only_for:
            self._threads.setdefault((message.channel, message.thread_ts), []).append(message)
        self.changes.tell()
        return message

    def with_ids(self, blocks: list[Json]) -> list[Json]:
        """The blocks with the ids that Slack makes up where the app gave none."""
        for block in blocks:
            block.setdefault("block_id", self.new_id("", 5))
            for element in interactive(block):
                element.setdefault("action_id", self.new_id("", 5))
        return blocks

    def message(self, channel: str, ts: str) -> Message | None:
        """The message as the Web API finds it: an ephemeral or deleted one does not exist there."""
        found = self._placed.get((channel, ts))
        return None if found is None or found.deleted or found.only_for else found

    def public(self, channel: str) -> list[Message]:
        return [one for one in self.messages if one.channel == channel and not one.deleted and not one.only_for]

    def replies(self, parent: Message) -> list[Message]:
        return [one for one in self._threads.get((parent.channel, parent.ts), []) if not one.deleted]

    def direct(self, user_id: str) -> Channel:
        """The conversation between a person and the bot, opened when it is not."""
        found = next((one for one in self.channels.values() if one.im_of == user_id), None)
        if found is None:
            found = Channel(self.new_id("D"), user_id, {user_id, self.bot_user_id}, is_private=True, im_of=user_id)
            self.channels[found.id] = found
        return found

    def new_trigger(self, user: str, view: str | None = None) -> str:
        trigger_id = f"{self.rng.randrange(10**12)}.{self.rng.randrange(10**12)}.{self.new_id('', 32).lower()}"
        self.triggers[trigger_id] = Trigger(user, self.clock.after(TRIGGER_LIFE), view)
        return trigger_id

    def new_response_url(self, user: str, channel: str, origin: Message | None) -> str:
        """The path below the server's address."""
        path = f"{self.team_id}/{self.rng.randrange(10**12)}/{self.new_id('', 24)}"
        self.response_urls[path] = ResponseUrl(user, channel, self.clock.after(RESPONSE_URL_LIFE), origin)
        return path

    def modal(self, user: str) -> View | None:
        """The modal on top of the person's screen."""
        stack = self.modals.get(user)
        return stack[-1] if stack else None

    def view(self, view_id: str) -> View | None:
        everything = [*self.homes.values(), *(one for stack in self.modals.values() for one in stack)]
        return next((one for one in everything if one.id == view_id), None)

    def new_view(self, user: str, content: Json, below: View | None = None) -> View:
        self.with_ids(content["blocks"])
        view_id = self.new_id("V")
        root_id, previous_id = (below.root_id, below.id) if below else (view_id, None)
        return View(view_id, user, content, self.new_hash(), root_id, previous_id)

    def new_hash(self) -> str:
        return f"{self.new_ts().split('.')[0]}.{self.new_id('', 8)}"

    def replace_view(self, view: View, content: Json) -> None:
        view.content = {**content, "blocks": self.with_ids(content["blocks"])}
        view.state = kept(view.blocks, view.state)
        view.hash = self.new_hash()
        view.errors = {}
        self.changes.tell()
