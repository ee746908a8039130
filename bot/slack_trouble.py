"""What Slack's failures mean: what passes by itself, and what only people can mend."""

from typing import Any

import aiohttp
from slack_sdk.errors import SlackApiError, SlackClientError

UNREACHED = (SlackClientError, aiohttp.ClientError, TimeoutError)
"""What the client raises when no answer came; SlackApiError is one of them and is an answer, so it goes first."""

PASSING = frozenset(
    {
        "fatal_error",
        "internal_error",
        "rate_limited",
        "ratelimited",
        "request_timeout",
        "service_unavailable",
        "team_added_to_org",
    }
)
"""Slack's error codes that go away by themselves (https://docs.slack.dev, each method's errors)."""


def is_passing(error: SlackApiError) -> bool:
    """Whether the same call may work in a while; Slack says so by its code or, like a proxy, by the status alone."""
    status = status_of(error)
    return code_of(error) in PASSING or status == 429 or status >= 500


def code_of(error: SlackApiError) -> str:
    """Slack's word for what is wrong; empty where a proxy answered in its place."""
    data = getattr(error.response, "data", None)
    return str(data.get("error", "")) if isinstance(data, dict) else ""


def status_of(error: SlackApiError) -> int:
    """The HTTP status, 0 for none: the client gives aiohttp's own response where the body was no JSON."""
    response: Any = error.response
    return int(getattr(response, "status_code", 0) or getattr(response, "status", 0) or 0)


def named(error: SlackApiError) -> str:
    """The code, or the status where there is none."""
    return code_of(error) or f"HTTP {status_of(error)}"
