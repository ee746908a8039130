"""The whole bot on both sandboxes, as one test has it."""

import json
import re
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sandbox
from bot.__main__ import SystemClock, Timing, serving
from bot.projector import Pace
from bot.settings import load_settings
from sandbox import Sandbox
from sandbox.slack import Message, Reply
from storage.audit import AuditLog, Recorded
from storage.database import open_database
from tests.e2e.belongings import assert_no_secret_in, everything_told, fill

FAST = Timing(Pace(posts=0.02, updates=0.05, all_updates=0.0, hopeless=1.0, trouble=0.05), watch_seconds=0.6, rest=0.1)
SCALE = 0.002
PATIENCE = 40.0
LAST_WORDS = {
    "Purged": "*Purged*",
    "FAILED to purge": "*Go on with*",
    "Deleted": "*Kept*",
    "Verified": "was touched",
    "CANCELLED before it could verify": "was touched",
    "Restored in place": "the set of before is",
    "FAILED to delete": "*Go on with*",
    "FAILED to snapshot": "*Go on with*",
}
"""With what the thread of an operation ends, where that is not the table of its volumes."""


@dataclass
class Town:
    """What a test says and asks, in people's words."""

    box: Sandbox
    patience: float = PATIENCE
    """Seconds for whatever is waited for."""

    async def types(self, person: str, words: str, channel: str = "ops") -> Message:
        """The private answer to `/tml WORDS`."""
        return (await self.reply(person, words, channel)).messages[-1]

    async def reply(self, person: str, words: str, channel: str = "ops") -> Reply:
        reply = await self.box.slack.person(person).types(f"/tml {words}", channel)
        await reply.answers(1, timeout=self.patience)
        return reply

    async def presses(self, person: str, button: str, message: Message) -> Message:
        """What stands there afterwards: the answer, or what took the message's place."""
        reply = await self.box.slack.person(person).presses(button, message)
        return (await reply.answers(1, timeout=self.patience))[-1]

    async def orders(self, person: str, words: str, channel: str = "prod") -> Message:
        """Type it, say yes to the card if there is one, and wait for the live message."""
        before = {message.ts for message in self.posted(channel)}
        answer = await self.types(person, words)
        if "confirm" in str(answer.blocks):
            await self.presses(person, "confirm", answer)

        def fresh(_slack: object) -> Message | None:
            return next((message for message in self.posted(channel) if message.ts not in before), None)

        return await self.box.slack.until(fresh, self.patience, f"a live message for {words!r}")

    def posted(self, channel: str) -> list[Message]:
        """The bot's public messages of the channel, threads left out."""
        return [
            message
            for message in self.box.slack.channel_messages(channel)
            if not message.is_reply and message.only_for is None
        ]

    async def asks(self, person: str, words: str, channel: str = "prod") -> tuple[str, Message]:
        """Type what needs a second person; the approval's id and its card."""
        answer = words_of(await self.types(person, words))
        assert "Asked for: " in answer, answer
        identity = approval_in(answer)
        return identity, await self.card(identity, channel)

    async def card(self, identity: str, channel: str = "prod") -> Message:
        """The approval's card, once it stands in the channel."""

        def posted(_slack: object) -> Message | None:
            cards = [message for message in self.posted(channel) if f"{identity} · plan" in words_of(message)]
            return cards[0] if cards else None

        return await self.box.slack.until(posted, self.patience, f"the card of {identity}")

    async def says_yes(self, person: str, card: Message, name: str, reason: str = "") -> str:
        """Open the modal, type the name, submit; what its last page says."""
        approver = self.box.slack.person(person)
        view = await approver.opens("approve", card, timeout=self.patience)
        reply = await approver.submits(view, {"name": name, "reason": reason})
        if reply.timed_out:  # a busy machine: Slack says so in the modal, and people press once more
            reply = await approver.submits(view)
        assert not reply.failed, reply.failed
        assert not reply.errors, reply.errors

        def decided(_slack: object) -> str | None:
            last = approver.modal
            text = words_of_blocks(last.blocks) if last else "closed"
            return None if "Looking at the cluster" in text else text

        return await self.box.slack.until(decided, self.patience, "the modal's last page")

    async def operation(self, text: str, channel: str = "prod") -> Message:
        """The live message of the operation that an answer names."""
        identity = operation_in(text)

        def live(_slack: object) -> Message | None:
            told = [message for message in self.posted(channel) if f"{identity} · " in words_of(message)]
            return told[0] if told else None

        return await self.box.slack.until(live, self.patience, f"the live message of {identity}")

    async def the_one(self, start: str) -> Message:
        """The only live message of all in #ops that says so, once its thread has come to its end."""

        def said(_slack: object) -> list[Message]:
            return [message for message in self.posted("ops") if message.text.startswith(start)]

        (live,) = await self.box.slack.until(said, self.patience, f"a message that begins with {start!r}")
        await self.until_says(live, start)
        return live

    async def until_says(self, message: Message, start: str) -> None:
        """Wait until the live message's notification text begins so, and its thread has come to its end."""

        def said(_slack: object) -> bool:
            return message.text.startswith(start)

        try:
            await self.box.slack.until(said, self.patience, f"{start!r}")
        except TimeoutError as error:
            raise AssertionError(f"not {start!r}, it says {message.text!r}\n{error}") from error
        if not start.startswith(("Stopping", "Starting", "Restarting")):
            ends = (end for verb, end in LAST_WORDS.items() if start.startswith(verb))
            await self.until_thread(message, next(ends, "*Volumes*"))

    async def until_thread(self, message: Message, words: str) -> str:
        """Wait until the thread has these words; returns all of it."""

        def told(_slack: object) -> str | None:
            text = self.thread(message)
            return text if words in text else None

        return await self.box.slack.until(told, self.patience, f"{words!r} in the thread")

    def thread(self, message: Message) -> str:
        replies = self.box.slack.thread(message.channel, message.ts)
        return "\n".join(words_of(reply) for reply in replies if reply.ts != message.ts)

    async def audit(self, **filters: Any) -> tuple[Recorded, ...]:
        async with open_database(f"sqlite+aiosqlite:///{self.box.folder}/tml-bot.db") as database:
            log = AuditLog(database, SystemClock())
            assert await log.verify() is None
            return await log.entries(newest_first=False, limit=10_000, **filters)


def words_of(message: Message) -> str:
    """All text of a message's blocks."""
    return words_of_blocks(message.blocks)


def words_of_blocks(blocks: Any) -> str:
    return "\n".join(_texts(blocks))


def approval_in(text: str) -> str:
    return _identity("ap", text)


def operation_in(text: str) -> str:
    return _identity("op", text)


def _identity(prefix: str, text: str) -> str:
    found = re.search(rf"\b{prefix}-[0-9a-z]{{6}}\b", text)
    assert found, f"no {prefix}-… in {text!r}"
    return found[0]


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["text"]] if isinstance(value.get("text"), str) else []
        return own + [text for item in value.values() for text in _texts(item)]
    return [text for item in value for text in _texts(item)] if isinstance(value, list) else []


@asynccontextmanager
async def town(
    folder: Path,
    *,
    before: Callable[[Sandbox], None] | None = None,
    configured: Callable[[Sandbox], Path] = Sandbox.write_configuration,
    filled: Iterable[str] = (),
    serve: bool = True,
    timing: Timing = FAST,
) -> AsyncIterator[Town]:
    """Both sandboxes, and the bot in this process unless it is to run in one of its own.

    ``filled`` are the namespaces whose volumes have bytes of their own.
    """
    async with sandbox.start(folder, time_scale=SCALE, limits=None) as box:
        if before:
            before(box)
        for namespace in filled:
            fill(box, namespace)
        configuration = configured(box)
        if serve:
            async with bot(box, configuration, timing):
                yield Town(box)
        else:
            yield Town(box)
        assert_no_secret_in(everything_told(box))


@asynccontextmanager
async def bot(box: Sandbox, configuration: Path, timing: Timing = FAST) -> AsyncIterator[None]:
    async with serving(load_settings(configuration, box.environ), timing):
        yield


def unhurried(box: Sandbox) -> Path:
    """A configuration with deadlines that neither a busy machine nor the start of a next process uses up."""
    path = box.write_configuration()
    path.write_text(re.sub(r"(down|up): \d+s", r"\1: 60s", path.read_text()))
    return path


def staging_with(key: str, value: Any) -> Callable[[Sandbox], Path]:
    """An unhurried configuration in which staging has this besides."""

    def configured(box: Sandbox) -> Path:
        path = unhurried(box)
        head, staging = path.read_text().split("  staging:\n")
        path.write_text(f"{head}  staging:\n    {key}: {json.dumps(value)}\n{staging}")
        return path

    return configured
