"""Who may do what, from the configuration; whoever is not named there may do nothing."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import IntEnum
from functools import partial
from typing import Protocol

from bot.settings import ClusterSettings
from lifecycle.approval import GROUP
from lifecycle.errors import NotAllowed
from lifecycle.model import Person, Verb

EVERYBODY = "*"


class Role(IntEnum):
    """What a person may do to one cluster; the higher one includes the lower."""

    VIEWER = 1
    OPERATOR = 2


@dataclass(frozen=True)
class Profile:
    """What Slack says about a user, in its own words (users.info). ``name`` is for reading and decides nothing."""

    team_id: str
    enterprise_id: str | None = None
    name: str = ""
    deleted: bool = False
    is_bot: bool = False
    is_app_user: bool = False
    """Has authorised some app: says nothing about who it is."""
    is_restricted: bool = False
    is_ultra_restricted: bool = False
    is_stranger: bool = False


class DirectoryUnavailable(Exception):
    """Slack did not say; ``retry`` means that it may say so in a while."""

    def __init__(self, retry: bool, reason: str = "no answer") -> None:
        super().__init__(reason)
        self.retry = retry


class Undecided(NotAllowed):
    """Turned down because Slack did not say who the person is, or who is in a group."""

    code = "undecided"


class Directory(Protocol):
    """Who people are. Both raise DirectoryUnavailable."""

    async def profile(self, person: Person) -> Profile:
        """What Slack says about the person at this moment."""

    async def members(self, group: str) -> frozenset[str]:
        """The user ids in the group with this id (`S…`); a group that does not exist has none."""


@dataclass(frozen=True)
class _Answer:
    """What the groups say about a person; ``notes`` tell of those that granted nobody anything."""

    is_member: bool = False
    notes: tuple[str, ...] = ()
    retry: bool = False
    undecided: bool = False


class Access:
    """The rules. ``team`` and ``enterprise`` are the workspace's own ids; a person is (one of them, user id)."""

    def __init__(self, directory: Directory, team: str, enterprise: str | None = None) -> None:
        self._directory = directory
        self._team = team
        self._enterprise = enterprise or None

    async def require(self, person: Person, cluster: ClusterSettings, role: Role) -> None:
        """Return when the person has the role; raises NotAllowed, whose text says who has it or why that is unknown."""
        await self.admit(person)
        found, answer = await self._look_up(person, cluster, role)
        if found is None or found < role:
            raise _refusal(_for_whom(cluster, role), answer)

    async def require_approver(self, person: Person, cluster: ClusterSettings, verb: Verb) -> None:
        """Return when the person may approve or deny the verb at this moment, as the configuration is now.

        That the requester may not is a rule of lifecycle.approval. Raises NotAllowed, and Undecided where Slack did not
        say.
        """
        await self.admit(person)
        listed = cluster.approval[verb].listed
        if person.user in listed:
            return
        answer = await self._ask_groups(person, listed)
        if not answer.is_member:
            raise _refusal(f"This is for approvers of a {verb} of {cluster.name}: {_listed(listed)}.", answer)

    async def may_see_approvals(self, person: Person, cluster: ClusterSettings, verb: Verb) -> bool:
        """Whether the person may look at the cluster, or decide on the verb.

        Raises Undecided where Slack did not say; unlike the others' its text names neither cluster nor people.
        """
        ways_in = (
            partial(self.require, person, cluster, Role.VIEWER),
            partial(self.require_approver, person, cluster, verb),
        )
        unread = False
        for lets_in in ways_in:
            try:
                await lets_in()
            except NotAllowed as refusal:
                unread = unread or isinstance(refusal, Undecided)
            else:
                return True
        if unread:
            raise Undecided("Slack did not say whether you may see this, so nothing was done. Try again in a minute.")
        return False

    async def still_approvers(
        self, people: Collection[Person], cluster: ClusterSettings, verb: Verb
    ) -> frozenset[Person]:
        """Those of them who may approve the verb at this moment; raises Undecided where Slack did not say."""
        return frozenset([person for person in people if await self._is_approver(person, cluster, verb)])

    async def _is_approver(self, person: Person, cluster: ClusterSettings, verb: Verb) -> bool:
        try:
            await self.require_approver(person, cluster, verb)
        except Undecided:
            raise
        except NotAllowed:
            return False
        return True

    async def role_of(self, person: Person, cluster: ClusterSettings) -> Role | None:
        """The highest role the person has at this moment; None also where Slack did not say."""
        try:
            await self.admit(person)
        except NotAllowed:
            return None
        operator, _ = await self._look_up(person, cluster, Role.OPERATOR)
        return operator or (await self._look_up(person, cluster, Role.VIEWER))[0]

    async def admit(self, person: Person) -> None:
        """Only full members of the own workspace come in at all, whatever the configuration says; raises NotAllowed."""
        if not self._is_own(person.team):
            raise NotAllowed("People of other workspaces may not do this.")
        try:
            profile = await self._directory.profile(person)
        except DirectoryUnavailable as error:
            again = " Try again in a minute." if error.retry else ""
            raise Undecided(f"Slack did not say who you are ({error}), so nothing was done.{again}") from error
        why = self._why_not(profile)
        if why:
            raise NotAllowed(f"{why} may not do this, even if they are listed in the configuration.")

    def _why_not(self, profile: Profile) -> str | None:
        reasons = (
            (profile.deleted, "Deactivated users"),
            (profile.is_bot, "Bots"),
            (profile.is_restricted or profile.is_ultra_restricted, "Guests"),
            (profile.is_stranger or not self._is_colleague(profile), "People of other workspaces"),
        )
        return next((text for holds, text in reasons if holds), None)

    def _is_own(self, team: str) -> bool:
        return bool(team) and team in (self._team, self._enterprise)

    def _is_colleague(self, profile: Profile) -> bool:
        same_enterprise = self._enterprise is not None and profile.enterprise_id == self._enterprise
        return same_enterprise or (bool(profile.team_id) and profile.team_id == self._team)

    async def _look_up(self, person: Person, cluster: ClusterSettings, wanted: Role) -> tuple[Role | None, _Answer]:
        """The highest role that was found; groups are asked about only when no listed id grants what is wanted."""
        if person.user in cluster.operators:
            return Role.OPERATOR, _Answer()
        if wanted is Role.VIEWER and {person.user, EVERYBODY} & set(cluster.viewers):
            return Role.VIEWER, _Answer()
        answer = await self._ask_groups(person, cluster.operators)
        if answer.is_member:
            return Role.OPERATOR, answer
        if wanted is Role.VIEWER:
            answer = _joined(answer, await self._ask_groups(person, cluster.viewers))
        return Role.VIEWER if answer.is_member else None, answer

    async def _ask_groups(self, person: Person, listed: Iterable[str]) -> _Answer:
        answer = _Answer()
        for group in _groups(listed):
            try:
                members = await self._directory.members(group)
            except DirectoryUnavailable as error:
                unread = (f"group {group} could not be read ({error}), so it grants nobody",)
                answer = _joined(answer, _Answer(notes=unread, retry=error.retry, undecided=True))
                continue
            if person.user in members:
                return _Answer(is_member=True)
            if not members:
                answer = _joined(answer, _Answer(notes=(f"group {group} is empty, so it grants nobody",)))
        return answer


def _joined(one: _Answer, other: _Answer) -> _Answer:
    notes = tuple(dict.fromkeys((*one.notes, *other.notes)))
    return _Answer(other.is_member, notes, one.retry or other.retry, one.undecided or other.undecided)


def _groups(listed: Iterable[str]) -> list[str]:
    return [entry.removeprefix(GROUP) for entry in listed if entry.startswith(GROUP)]


def _refusal(for_whom: str, answer: _Answer) -> NotAllowed:
    sentences = [for_whom, *(f"{note[0].upper()}{note[1:]}." for note in answer.notes)]
    if answer.retry:
        sentences.append("Try again in a minute.")
    kind = Undecided if answer.undecided else NotAllowed
    return kind(" ".join(sentences))


def _for_whom(cluster: ClusterSettings, role: Role) -> str:
    """Who has the role, by id: views make mentions of them."""
    operators = f"operators of {cluster.name}: {_listed(cluster.operators)}"
    if role is Role.OPERATOR:
        return f"This is for {operators}."
    return f"This is for viewers of {cluster.name}: {_listed(cluster.viewers)}; and for {operators}."


def _listed(entries: Iterable[str]) -> str:
    return ", ".join(_entry(entry) for entry in entries) or "nobody"


def _entry(entry: str) -> str:
    if entry == EVERYBODY:
        return "every full member"
    return f"group {entry.removeprefix(GROUP)}" if entry.startswith(GROUP) else entry
