"""Slack's rate limits: so many calls of a method in a sliding window, per workspace or per channel."""

import math
from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass

from sandbox.slack.clock import Clock


@dataclass(frozen=True)
class Rate:
    """At most `calls` in any `seconds` of Slack's clock."""

    calls: int
    seconds: float
    per_channel: bool = False


TIER_2 = Rate(20, 60)
TIER_3 = Rate(50, 60)
TIER_4 = Rate(100, 60)


@dataclass(frozen=True)
class Limits:
    """A rate for each method; a method without one is not limited."""

    rates: Mapping[str, Rate]

    def having(self, changed: Mapping[str, Rate]) -> "Limits":
        return Limits({**self.rates, **changed})


DEFAULT = Limits(
    {
        # One message a second in a channel on average; Slack lets a short burst through.
        "chat.postMessage": Rate(5, 5, per_channel=True),
        "chat.update": TIER_3,
        "chat.delete": TIER_3,
        "chat.postEphemeral": TIER_4,
        "conversations.info": TIER_3,
        "conversations.list": TIER_2,
        "conversations.open": TIER_3,
        "conversations.history": TIER_3,
        "conversations.replies": TIER_3,
        "conversations.members": TIER_4,
        "users.info": TIER_4,
        "users.list": TIER_2,
        "usergroups.list": TIER_2,
        "usergroups.users.list": TIER_2,
        "views.open": TIER_4,
        "views.update": TIER_4,
        "views.publish": TIER_4,
        "files.getUploadURLExternal": TIER_4,
        "files.completeUploadExternal": TIER_4,
        # Documented as tier 1, yet a fleet of ten sockets opens without trouble.
        "apps.connections.open": TIER_2,
    }
)


class RateLimiter:
    def __init__(self, limits: Limits | None, clock: Clock) -> None:
        self.limits = limits
        self._clock = clock
        self._calls: dict[tuple[str, str], deque[float]] = defaultdict(deque)

    def retry_after(self, method: str, channel: str) -> int | None:
        """None when the call may go (it is counted), else how long to wait: whole real seconds, at least one."""
        rate = self.limits.rates.get(method) if self.limits else None
        if rate is None:
            return None
        now, window = self._clock.monotonic(), self._clock.real(rate.seconds)
        calls = self._calls[method, channel if rate.per_channel else ""]
        while calls and calls[0] <= now - window:
            calls.popleft()
        if len(calls) < rate.calls:
            calls.append(now)
            return None
        return max(1, math.ceil(calls[0] + window - now))
