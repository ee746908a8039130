"""Who may do what, from the configuration; whoever is not named there may do nothing."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from bot.settings import ClusterSettings
from lifecycle.errors import NotAllowed
from lifecycle.model import Person

EVERYBODY = "*"
GROUP = "@"


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
    """What the configuration says about a person; ``notes`` tell of groups that granted nobody anything."""

    role: Role | None
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
        answer = await self._look_up(person, cluster, role)
        if answer.role is None or answer.role < role:
            raise _refusal(cluster, role, answer)

    async def role_of(self, person: Person, cluster: ClusterSettings) -> Role | None:
        """The highest role the person has at this moment; None also where Slack did not say."""
        try:
            await self.admit(person)
        except NotAllowed:
            return None
        operator = (await self._look_up(person, cluster, Role.OPERATOR)).role
        return operator or (await self._look_up(person, cluster, Role.VIEWER)).role

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

    async def _look_up(self, person: Person, cluster: ClusterSettings, wanted: Role) -> _Answer:
        """The highest role that was found; groups are asked about only when no listed id grants what is wanted."""
        if person.user in cluster.operators:
            return _Answer(Role.OPERATOR)
        if wanted is Role.VIEWER and {person.user, EVERYBODY} & set(cluster.viewers):
            return _Answer(Role.VIEWER)
        answer = await self._ask_groups(person, cluster.operators, Role.OPERATOR)
        if answer.role is None and wanted is Role.VIEWER:
            answer = _joined(answer, await self._ask_groups(person, cluster.viewers, Role.VIEWER))
        return answer

    async def _ask_groups(self, person: Person, listed: Iterable[str], granted: Role) -> _Answer:
        answer = _Answer(None)
        for group in _groups(listed):
            try:
                members = await self._directory.members(group)
            except DirectoryUnavailable as error:
                unread = (f"group {group} could not be read ({error}), so it grants nobody",)
                answer = _joined(answer, _Answer(None, unread, retry=error.retry, undecided=True))
                continue
            if person.user in members:
                return _Answer(granted)
            if not members:
                answer = _joined(answer, _Answer(None, (f"group {group} is empty, so it grants nobody",)))
        return answer


def _joined(one: _Answer, other: _Answer) -> _Answer:
    notes = tuple(dict.fromkeys((*one.notes, *other.notes)))
    return _Answer(other.role, notes, one.retry or other.retry, one.undecided or other.undecided)


def _groups(listed: Iterable[str]) -> list[str]:
    return [entry.removeprefix(GROUP) for entry in listed if entry.startswith(GROUP)]


def _refusal(cluster: ClusterSettings, role: Role, answer: _Answer) -> NotAllowed:
    sentences = [_for_whom(cluster, role), *(f"{note[0].upper()}{note[1:]}." for note in answer.notes)]
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
