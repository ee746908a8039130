"""Operating a cluster from the machine that the bot runs on, when Slack is away: the same gate, journal and Lease."""

import asyncio
import os
import pwd
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from bot.access import DirectoryUnavailable, Profile
from bot.commands import Cancel, Change
from bot.desk import Desk
from bot.gate import Gate
from bot.grammar import parse
from bot.outcome import Asked, Begun, Opposed, Request
from bot.settings import CommandLine
from bot.views import answers
from bot.views.blocks import Message
from bot.views.plain import plain
from bot.views.thread import thread
from lifecycle.approval import Approval
from lifecycle.errors import ClusterError, NotAllowed, NotUnderstood, Refused
from lifecycle.model import Person, Place
from lifecycle.operation import Operation, State
from storage.memory import Memory

CHANGES = ("stop", "start", "restart", "cancel")
"""What can be done here: nothing that takes a second person."""
SHOWN = ("status", "plan")

LOOK = 0.5
"""Seconds between two looks at what another process carries out."""

DONE, FAILED, REFUSED, INTERRUPTED = 0, 1, 2, 3
"""Exit codes."""

LEFT = "Interrupted. What was begun is not cancelled: the bot goes on with it, and `tml-bot op cancel CLUSTER` ends it."
Say = Callable[[str], None]
Confirm = Callable[[str], bool]


@dataclass(frozen=True)
class Nobody:
    """Implements Directory where Slack is not asked: the configuration says who somebody is, groups say nothing."""

    team: str

    async def profile(self, _person: Person) -> Profile:
        return Profile(self.team)

    async def members(self, _group: str) -> frozenset[str]:
        raise DirectoryUnavailable(retry=False, reason="the command line asks Slack nothing")


@dataclass(frozen=True)
class Untold:
    """Implements Notifier: nothing that is done here asks an approver."""

    def tell(self, approval: Approval, _entries: Iterable[str]) -> None:
        raise AssertionError(f"{approval.id} was asked for on the command line")


async def no_link(_place: Place) -> str | None:
    return None


def agreed(_cluster: str) -> bool:
    """``--yes`` was given."""
    return True


def asked(cluster: str) -> bool:
    """The cluster's name, typed once more; nobody there to type it is a no."""
    try:
        return input(f"Type {cluster} to go on: ").strip() == cluster
    except EOFError:
        return False


def line(words: Sequence[str], reason: str) -> str:
    """As it would be typed in Slack. Raises NotUnderstood for what cannot be done here, or not without a reason."""
    if words[0] not in (*SHOWN, *CHANGES):
        here = ", ".join((*SHOWN, *CHANGES))
        raise NotUnderstood(
            f"'{words[0]}' is not done here. Without Slack there are {here}: nothing that needs two people."
        )
    if words[0] in SHOWN:
        return " ".join(words)
    if not reason.strip():
        raise NotUnderstood("Say why: --reason '…'. It stands in the record and in the cluster's channel.")
    return f"{' '.join(words)} because {reason}"


def person_here(configured: CommandLine) -> Person:
    """Who the operating system's user is to the bot: by the user's id, whatever the environment says.

    Raises NotAllowed.
    """
    name = _user()
    user = configured.people.get(name)
    if user is None:
        raise NotAllowed(
            f"The operating system's user {name} is nobody to the bot: name it in the configuration, "
            f"command_line: {{people: {{{name}: U…}}}}."
        )
    return Person(configured.team, user)


def _user() -> str:
    """A container's user may have no name: then its number."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


@dataclass(frozen=True)
class Terminal:
    """One command of one person; what is said is what Slack would have shown."""

    person: Person
    gate: Gate
    desk: Desk
    memory: Memory
    clusters: tuple[str, ...]
    say: Say
    confirm: Confirm

    async def obey(self, words: str) -> int:
        """The exit code."""
        try:
            return await self._obey(words)
        except Refused as refusal:
            await self.desk.record_refusal(self._request(words), refusal)
            self._show(answers.refused(refusal))
        except ClusterError as error:
            self._show(answers.unreachable(error))
        return REFUSED

    async def _obey(self, words: str) -> int:
        command = parse(words, self.clusters)
        if isinstance(command, Cancel):
            cancelled = await self.gate.cancelling.cancel(self._request(words), command)
            await self._followed(cancelled)
            return DONE
        if isinstance(command, Change) and words.split()[0] in CHANGES:
            return await self._begin(words, command)
        self._show(await self.desk.answer(self._request(words)))
        return DONE

    async def _begin(self, words: str, command: Change) -> int:
        came = await self.gate.submit(self._request(words), command)
        while isinstance(came, Asked):
            self._show(answers.card(came.proposal, came.plan, changed=came.changed))
            if not self.confirm(command.cluster):
                await self.gate.dismiss(self.person, came.proposal.id)
                return REFUSED
            came = await self.gate.confirm(self.person, came.proposal.id)
        if isinstance(came, Opposed):
            await self.gate.dismiss(self.person, came.proposal.id)
            raise NotUnderstood(
                f"{command.cluster} is busy: {came.running.id} runs the other way. `tml-bot op cancel "
                f"{command.cluster}` ends it."
            )
        assert isinstance(came, Begun)
        ended = await self._followed(came.operation)
        return DONE if ended.state is State.DONE else FAILED

    async def _followed(self, operation: Operation) -> Operation:
        """Say each line of its thread until it has ended, whichever process carries it out."""
        told = 0
        while True:
            entries = await self.memory.messages.entries_of(operation.id)
            found = await self.memory.operations.get(operation.id)  # after them: no entry is newer than what it says
            assert found is not None
            for entry in entries[told:]:
                if reply := thread(found, [entry]):
                    self._show(reply)
            told = len(entries)
            if found.state is not State.RUNNING:
                return found
            await asyncio.sleep(LOOK)

    def _request(self, words: str) -> Request:
        return Request(self.person, Place(self.person.team, ""), words)

    def _show(self, message: Message) -> None:
        self.say("\n".join(plain(message)))
