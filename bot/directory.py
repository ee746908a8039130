"""Who people are, asked of Slack when it matters and never remembered for long."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.access import DirectoryUnavailable, Profile
from bot.slack_trouble import UNREACHED, code_of, is_passing, named
from lifecycle.model import Person

MAX_AGE = 5.0
"""Seconds from the moment a question was asked for which its answer counts; also how long Slack may take."""

NO_SUCH_GROUP = frozenset({"no_such_subteam", "subteam_not_found"})
SLACKBOT = "USLACKBOT"
"""Slack's own bot, whose profile says that it is none."""

T = TypeVar("T")


@dataclass(frozen=True)
class _Asked(Generic[T]):
    at: float
    answer: asyncio.Task[T]


class _Shared(Generic[T]):
    """Answers by question: who asks the same within MAX_AGE shares one call. A failure is shared, not kept."""

    def __init__(self, ask: Callable[[str], Awaitable[T]], monotonic: Callable[[], float]) -> None:
        self._ask = ask
        self._monotonic = monotonic
        self._asked: dict[str, _Asked[T]] = {}

    async def get(self, question: str) -> T:
        now = self._monotonic()
        self._asked = {key: asked for key, asked in self._asked.items() if _counts(asked, now)}
        asked = self._asked.get(question)
        if asked is None:
            asked = self._asked[question] = _Asked(now, asyncio.ensure_future(self._in_time(question)))
            asked.answer.add_done_callback(_collect)
        return await asyncio.shield(asked.answer)  # one who stops waiting does not stop the others

    async def _in_time(self, question: str) -> T:
        try:
            async with asyncio.timeout(MAX_AGE):
                return await self._ask(question)
        except TimeoutError as error:
            raise DirectoryUnavailable(retry=True, reason="no answer in time") from error


def _counts(asked: _Asked[Any], now: float) -> bool:
    failed = asked.answer.done() and (asked.answer.cancelled() or asked.answer.exception() is not None)
    return not failed and now - asked.at < MAX_AGE


def _collect(answer: "asyncio.Task[Any]") -> None:
    """Whoever waits gets the error; when nobody waits any more it is nobody's."""
    if not answer.cancelled():
        answer.exception()


class SlackDirectory:
    """A Directory over Slack's Web API (users.info, usergroups.users.list)."""

    def __init__(self, client: AsyncWebClient, monotonic: Callable[[], float]) -> None:
        self._client = client
        self._profiles = _Shared(self._ask_profile, monotonic)
        self._members = _Shared(self._ask_members, monotonic)

    async def profile(self, person: Person) -> Profile:
        """What users.info says; raises DirectoryUnavailable, also for a user that Slack does not show."""
        return await self._profiles.get(person.user)

    async def members(self, group: str) -> frozenset[str]:
        """The user ids that usergroups.users.list names; raises DirectoryUnavailable."""
        return await self._members.get(group)

    async def _ask_profile(self, user: str) -> Profile:
        answer = await _answered(self._client.users_info(user=user))
        described = answer.get("user")
        if not isinstance(described, dict) or described.get("id") != user:
            raise DirectoryUnavailable(retry=False, reason="users.info answered without the user")
        return _profile(described)

    async def _ask_members(self, group: str) -> frozenset[str]:
        try:
            answer = await _answered(self._client.usergroups_users_list(usergroup=group))
        except _NoSuchGroup:
            return frozenset()
        users = answer.get("users")
        if not isinstance(users, list) or not all(isinstance(user, str) for user in users):
            raise DirectoryUnavailable(retry=False, reason="usergroups.users.list answered without users")
        return frozenset(users)


class _NoSuchGroup(DirectoryUnavailable):
    """Slack knows no group with this id."""


async def _answered(call: Awaitable[Any]) -> Mapping[str, Any]:
    try:
        data = (await call).data
    except SlackApiError as error:
        raise _unavailable(error) from error
    except UNREACHED as error:
        raise DirectoryUnavailable(retry=True, reason="Slack could not be reached") from error
    return data if isinstance(data, dict) else {}


def _unavailable(error: SlackApiError) -> DirectoryUnavailable:
    kind = _NoSuchGroup if code_of(error) in NO_SUCH_GROUP else DirectoryUnavailable
    return kind(retry=is_passing(error), reason=named(error))


def _profile(user: Mapping[str, Any]) -> Profile:
    grid = user.get("enterprise_user") or {}
    described = user.get("profile") or {}
    return Profile(
        team_id=user.get("team_id") or "",
        enterprise_id=grid.get("enterprise_id") or user.get("enterprise_id"),
        name=described.get("display_name") or user.get("real_name") or user.get("name") or "",
        deleted=bool(user.get("deleted")),
        is_bot=bool(user.get("is_bot")) or user.get("id") == SLACKBOT,
        is_app_user=bool(user.get("is_app_user")),
        is_restricted=bool(user.get("is_restricted")),
        is_ultra_restricted=bool(user.get("is_ultra_restricted")),
        is_stranger=bool(user.get("is_stranger")),
    )
