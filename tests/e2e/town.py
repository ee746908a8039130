"""The whole bot on both sandboxes, as one test has it."""

from collections.abc import AsyncIterator, Callable
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

FAST = Timing(Pace(posts=0.02, updates=0.05, all_updates=0.0, hopeless=1.0, trouble=0.05), watch_seconds=0.6)
SCALE = 0.002
PATIENCE = 20.0


@dataclass
class Town:
    """What a test says and asks, in people's words."""

    box: Sandbox

    async def types(self, person: str, words: str, channel: str = "ops") -> Message:
        """The private answer to `/tml WORDS`."""
        return (await self.reply(person, words, channel)).messages[-1]

    async def reply(self, person: str, words: str, channel: str = "ops") -> Reply:
        reply = await self.box.slack.person(person).types(f"/tml {words}", channel)
        await reply.answers(1, timeout=PATIENCE)
        return reply

    async def presses(self, person: str, button: str, message: Message) -> Message:
        """What stands there afterwards: the answer, or what took the message's place."""
        reply = await self.box.slack.person(person).presses(button, message)
        return (await reply.answers(1, timeout=PATIENCE))[-1]

    async def orders(self, person: str, words: str, channel: str = "prod") -> Message:
        """Type it, say yes to the card if there is one, and wait for the live message."""
        before = {message.ts for message in self.posted(channel)}
        answer = await self.types(person, words)
        if "confirm" in str(answer.blocks):
            await self.presses(person, "confirm", answer)

        def fresh(_slack: object) -> Message | None:
            return next((message for message in self.posted(channel) if message.ts not in before), None)

        return await self.box.slack.until(fresh, PATIENCE, f"a live message for {words!r}")

    def posted(self, channel: str) -> list[Message]:
        """The bot's public messages of the channel, threads left out."""
        return [
            message
            for message in self.box.slack.channel_messages(channel)
            if not message.is_reply and message.only_for is None
        ]

    async def until_says(self, message: Message, start: str) -> None:
        """Wait until the live message's notification text begins so, and its thread has come to its end."""

        def said(_slack: object) -> bool:
            return message.text.startswith(start)

        await self.box.slack.until(said, PATIENCE, f"{start!r}, but it says {message.text!r}")
        if not start.startswith(("Stopping", "Starting", "Restarting")):
            await self.until_thread(message, "*Volumes*")

    async def until_thread(self, message: Message, words: str) -> str:
        """Wait until the thread has these words; returns all of it."""

        def told(_slack: object) -> str | None:
            text = self.thread(message)
            return text if words in text else None

        return await self.box.slack.until(told, PATIENCE, f"{words!r} in the thread")

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
    return "\n".join(_texts(message.blocks))


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["text"]] if isinstance(value.get("text"), str) else []
        return own + [text for item in value.values() for text in _texts(item)]
    return [text for item in value for text in _texts(item)] if isinstance(value, list) else []


@asynccontextmanager
async def town(
    folder: Path, *, before: Callable[[Sandbox], None] | None = None, serve: bool = True
) -> AsyncIterator[Town]:
    """Both sandboxes, and the bot in this process unless it is to run in one of its own."""
    async with sandbox.start(folder, time_scale=SCALE, limits=None) as box:
        if before:
            before(box)
        configuration = box.write_configuration()
        if not serve:
            yield Town(box)
            return
        async with bot(box, configuration):
            yield Town(box)


@asynccontextmanager
async def bot(box: Sandbox, configuration: Path) -> AsyncIterator[None]:
    async with serving(load_settings(configuration, box.environ), FAST):
        yield
