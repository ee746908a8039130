"""Buttons that open a modal: what it shows to whom, and what its submission does."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bot.access import Access, Role
from bot.commands import Change
from bot.gate import Gate
from bot.grammar import parse
from bot.line import escaped, normalised
from bot.outcome import Request
from bot.sites import Site
from bot.views import approval as approval_views
from bot.views import snapshots as snapshot_views
from bot.views.blocks import Message
from bot.views.modals import NAME, REASON
from bot.views.outcome import told
from lifecycle.errors import NotUnderstood
from lifecycle.model import Person, Place, Verb
from lifecycle.ports import Clock
from storage.memory import Memory
from storage.snapshots import Kept


@dataclass(frozen=True)
class Dialog:
    """A modal to open; ``unopened`` is the answer where Slack does not."""

    view: dict[str, Any]
    unopened: Message


@dataclass(frozen=True)
class Form:
    """``opens`` and ``submits`` are given by whom, where, and the id of what it is about; then what was typed.

    Nothing slow may be done before it opens: Slack takes the trigger for 3 s. ``words`` stand for it in the audit log.
    """

    words: str
    opens: Callable[[Person, Place, str], Awaitable[Dialog]]
    submits: Callable[[Person, Place, str, Mapping[str, str]], Awaitable[Message]]


class Forms:
    """Every button that opens a modal."""

    def __init__(self, sites: Mapping[str, Site], gate: Gate, access: Access, memory: Memory, clock: Clock) -> None:
        self._sites = sites
        self._gate = gate
        self._access = access
        self._memory = memory
        self._clock = clock

    @property
    def by_name(self) -> Mapping[str, Form]:
        """By the button's action and the modal's callback, which are the same."""
        return {
            approval_views.MODAL: Form("approve", self._look_at, self._approve),
            snapshot_views.MODAL: Form("restore set", self._ask_why, self._restore),
        }

    async def _look_at(self, person: Person, place: Place, identity: str) -> Dialog:
        approval = await self._gate.consent.look_at(person, identity, place)
        return Dialog(approval_views.modal(approval), approval_views.unopened(approval))

    async def _approve(self, person: Person, _place: Place, identity: str, typed: Mapping[str, str]) -> Message:
        name, reason = normalised(typed.get(NAME, "")), typed.get(REASON, "")
        return told(await self._gate.consent.approve(person, identity, name, reason))

    async def _ask_why(self, person: Person, _place: Place, identity: str) -> Dialog:
        """Whether it is in place, and takes a second person, only the cluster tells: that is looked at afterwards."""
        found = await self._set(person, identity)
        terms = self._sites[found.operation.cluster].settings.approval.get(Verb.RESTORE_IN_PLACE)
        view = snapshot_views.modal(
            found, self._clock.now(), has_to_say_why=terms is not None and terms.reason_required
        )
        return Dialog(view, snapshot_views.unopened(found))

    async def _restore(self, person: Person, place: Place, identity: str, typed: Mapping[str, str]) -> Message:
        """As if it had been typed, with the reason."""
        found = await self._set(person, identity)
        reason = " ".join(typed.get(REASON, "").split())
        because = f" because {escaped(reason)}" if reason else ""
        words = f"restore {found.operation.cluster} {found.content.id}{because}"
        command = parse(words, list(self._sites))
        assert isinstance(command, Change)
        return told(await self._gate.submit(Request(person, place, words), command))

    async def _set(self, person: Person, identity: str) -> Kept:
        """One that this person may restore from. Raises NoSuchSet."""
        found = await self._memory.retention.set_of(identity)
        site = self._sites.get(found.operation.cluster)
        if site is None:
            raise NotUnderstood(f"{found.operation.cluster} is not in this bot's configuration any more.")
        await self._access.require(person, site.settings, Role.OPERATOR)
        return found
