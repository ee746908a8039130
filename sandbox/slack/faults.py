"""What a test lets go wrong between the bot and Slack."""

import asyncio
from dataclasses import dataclass
from enum import Enum

from sandbox.slack.sockets import Sockets
from sandbox.slack.workspace import Changes

EVERY_METHOD = "*"


class Away(Enum):
    """How Slack is not there: it hangs up at once, or it takes the request and never answers."""

    HANGS_UP = "hangs up"
    SILENT = "silent"


@dataclass
class Planned:
    """One thing to go wrong. A status is answered; without one the connection drops, before the effect or after it."""

    method: str
    times: int
    status: int | None = None
    retry_after: int = 1
    after_effect: bool = False


class Faults:
    """A method is named as in the Web API; `response_url` and `upload` are the two addresses besides, `*` is all."""

    def __init__(self, sockets: Sockets, changes: Changes) -> None:
        self._sockets = sockets
        self._changes = changes
        self._planned: list[Planned] = []
        self._away: Away | None = None
        self._back = asyncio.Event()

    def answers(self, method: str, status: int, *, times: int = 1, retry_after: int = 1) -> None:
        """The next calls are answered 429, 500 or 503, and do nothing."""
        self._planned.append(Planned(method, times, status, retry_after))

    def drops_before(self, method: str, *, times: int = 1) -> None:
        """The next calls do nothing, and the connection drops."""
        self._planned.append(Planned(method, times))

    def drops_after(self, method: str, *, times: int = 1) -> None:
        """The next calls do their work, and the answer is lost."""
        self._planned.append(Planned(method, times, after_effect=True))

    def goes_away(self, how: Away = Away.HANGS_UP) -> None:
        """Everything is away until `comes_back`: the Web API, response_url and the sockets."""
        self._away = how
        self._back.clear()
        self._sockets.silent = how is Away.SILENT
        if how is Away.HANGS_UP:
            self._sockets.drop()
        self._changes.tell()

    def comes_back(self) -> None:
        self._away = None
        self._sockets.silent = False
        self._back.set()
        self._changes.tell()

    def drops_sockets(self) -> None:
        self._sockets.drop()

    async def disconnects(self, reason: str = "refresh_requested") -> None:
        await self._sockets.disconnect(reason)

    def ignores_acks(self) -> None:
        self._sockets.ignoring_acks = True

    def heeds_acks(self) -> None:
        self._sockets.ignoring_acks = False

    def next_for(self, method: str) -> Planned | None:
        """What was planned for this call; it counts as used."""
        planned = next((one for one in self._planned if one.method in (method, EVERY_METHOD)), None)
        if planned:
            planned.times -= 1
            if planned.times <= 0:
                self._planned.remove(planned)
        return planned

    async def hangs_up(self) -> bool:
        """True when Slack is away; a silent one first lets the caller wait until it is back."""
        if self._away is Away.SILENT:
            await self._back.wait()
            return True
        return self._away is Away.HANGS_UP
