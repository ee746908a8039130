"""Direct messages to those whose yes or no is asked for.

They are a courtesy: what counts is the card in the channel, and a message that does not arrive is logged and not
repeated. The reminder and the next tier come as messages of their own.
"""

import asyncio
from collections.abc import Iterable
from contextlib import suppress

import structlog
from slack_sdk.web.async_client import AsyncWebClient

from bot.access import Directory, DirectoryUnavailable
from bot.overview import Permalink
from bot.slack_trouble import UNREACHED
from bot.views import approval as views
from lifecycle.approval import GROUP, Approval
from lifecycle.model import Place
from storage.database import StorageError
from storage.messages import Messages

log = structlog.get_logger(__name__)

CARD_POSTED = 15.0
"""Seconds to wait for the card, so that the message can link to it."""
LOOK_AGAIN = 0.2


class Notices:
    """Tells approvers, in tasks of their own: nobody waits for a direct message."""

    def __init__(self, client: AsyncWebClient, directory: Directory, messages: Messages, permalink: Permalink) -> None:
        self._client = client
        self._directory = directory
        self._messages = messages
        self._permalink = permalink
        self._tasks: set[asyncio.Task[None]] = set()

    def tell(self, approval: Approval, entries: Iterable[str]) -> None:
        """Tell these approvers, users and groups as written in the configuration; returns at once."""
        task = asyncio.create_task(self._tell(approval, tuple(entries)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """What is not sent yet stays unsent."""
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _tell(self, approval: Approval, entries: tuple[str, ...]) -> None:
        message = views.notice(approval, await self._link(approval))
        settled = {approval.requester.user, *(person.user for person in approval.approvers)}
        for user in sorted(await self._people(entries) - settled):
            try:
                await self._client.chat_postMessage(channel=user, unfurl_links=False, **message)
            except UNREACHED as error:
                log.warning("an approver was not told", approval=approval.id, user=user, reason=repr(error))

    async def _people(self, entries: Iterable[str]) -> set[str]:
        people: set[str] = set()
        for entry in entries:
            if not entry.startswith(GROUP):
                people.add(entry)
                continue
            try:
                people |= await self._directory.members(entry.removeprefix(GROUP))
            except DirectoryUnavailable as error:
                log.warning("a group of approvers could not be read", group=entry, reason=str(error))
        return people

    async def _link(self, approval: Approval) -> str | None:
        """The card's address, once it is posted."""
        with suppress(TimeoutError, StorageError):
            async with asyncio.timeout(CARD_POSTED):
                while True:
                    card = await self._messages.live(approval.id)
                    if card and card.ts:
                        return await self._permalink(Place(card.team, card.channel, card.ts))
                    await asyncio.sleep(LOOK_AGAIN)
        return None
