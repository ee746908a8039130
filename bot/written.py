"""Single values as people write them: which are right, and what is said of one that is not."""

import re
from collections.abc import Sequence
from datetime import timedelta
from difflib import get_close_matches
from enum import StrEnum
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BeforeValidator

from bot import grammar
from lifecycle.decide import NAMES
from lifecycle.model import Component

PRODUCTION = "production"
DURATION = re.compile(r"(?:(\d{1,3})d)?(?:(\d{1,4})h)?(?:(\d{1,6})m)?(?:(\d{1,8})s)?")
TOKEN = re.compile(r"x(?:ox[a-z]|app)[-.][^\s'\",;]+", re.IGNORECASE)
"""What Slack's tokens look like; wherever one was written by mistake, no error repeats it."""


class StopMode(StrEnum):
    """What a stop does besides taking the components down."""

    SCALE = "scale"
    REMOVE = "remove"


def shown(value: object) -> str:
    """A value as an error shows it: short, and never the inside of a list or mapping."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return f"the yes-or-no value {str(value).lower()}"
    if isinstance(value, (dict, list)):
        return "a mapping" if isinstance(value, dict) else "a list"
    if isinstance(value, int) and abs(value) >= 10**30:  # Python refuses to write down integers of 4,300 digits
        return "a very large number"
    text = repr(TOKEN.sub("(a token)", value) if isinstance(value, str) else value)
    return text if len(text) <= 60 else f"{text[:59]}…"


def matching(pattern: str, expected: str) -> BeforeValidator:
    def check(value: object) -> str:
        if isinstance(value, str) and re.fullmatch(pattern, value):
            return value
        hint = " (put it in quotes)" if isinstance(value, (bool, int, float)) else ""
        raise ValueError(f"expected {expected}, got {shown(value)}{hint}")

    return BeforeValidator(check)


def as_cluster_name(value: str) -> str:
    if value in grammar.RESERVED:
        raise ValueError(f"{value!r} is a command's word; call the cluster something else")
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,39}", value):
        raise ValueError("expected a cluster name of at most 40 characters a-z, 0-9 and -, not beginning with -")
    return value


def as_phase_name(value: str) -> str:
    if value not in NAMES:
        raise ValueError(unknown("phase", value, NAMES))
    return value


def as_component_name(value: str) -> str:
    known = [component.value for component in Component]
    if value not in known:
        raise ValueError(unknown("component", value, known))
    return value


def as_duration(value: object) -> timedelta:
    parts = DURATION.fullmatch(value) if isinstance(value, str) else None
    days, hours, minutes, seconds = (int(part or 0) for part in parts.groups()) if parts else (0, 0, 0, 0)
    length = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    if not length:
        raise ValueError(f"expected a duration such as 90s, 10m, 1h30m or 7d, got {shown(value)}")
    return length


def as_component(value: object) -> Component:
    found = next((component for component in Component if component == value), None)
    if found is None:
        raise ValueError(f"expected one of {', '.join(Component)}, got {shown(value)}")
    return found


def as_pattern(value: object) -> str:
    """A regular expression; what it was is not repeated, for people may look for a secret."""
    if not isinstance(value, str) or not value:
        raise ValueError(f"expected a regular expression that is searched for, got {shown(value)}")
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"expected a regular expression: {error.msg} at {error.pos}") from None
    return value


def as_people(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 99:
        raise ValueError(f"expected a number of people, got {shown(value)}")
    return value


def as_count(value: object, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 9999:
        raise ValueError(f"expected a number of {what}, at least 1, got {shown(value)}")
    return value


def as_yes_or_no(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"expected true or false, got {shown(value)}")
    return value


def as_stop_mode(value: object) -> StopMode:
    if value not in list(StopMode):
        raise ValueError(f"expected {' or '.join(StopMode)}, got {shown(value)}")
    return StopMode(str(value))


def as_port(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 65535:
        raise ValueError(f"expected a port between 0 and 65535, got {shown(value)}")
    return value


def as_web_address(value: object) -> str:
    if not isinstance(value, str) or not _is_web_address(value):
        raise ValueError(f"expected an address that begins with http:// or https://, got {_address_shown(value)}")
    if "@" in urlsplit(value).netloc:
        raise ValueError("expected an address without a user or a password: it is shown to people")
    return value


def _is_web_address(value: str) -> bool:
    try:
        parts = urlsplit(value)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and " " not in value
    except ValueError:
        return False


def as_database_address(value: object) -> object:
    if isinstance(value, str) and not value.startswith("sqlite+aiosqlite://"):
        raise ValueError("expected an SQLite address, which begins with sqlite+aiosqlite://")
    return value


def _address_shown(value: object) -> str:
    return "one with a user or a password" if isinstance(value, str) and "@" in value else shown(value)


Text = matching(r"(?s).*\S.*", "text")
Argument = matching(r"(?s).+", "text")
Channel = matching(r"[CG][A-Z0-9]{2,20}", "a channel id (C… or G…)")
Namespace = matching(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", "a namespace's name")
Word = matching(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}", f"one word such as {PRODUCTION} or staging")
Operator = matching(r"[UW][A-Z0-9]{2,20}|@S[A-Z0-9]{2,20}", "a user id (U…/W…) or a user group (@S…)")
Viewer = matching(r"[UW][A-Z0-9]{2,20}|@S[A-Z0-9]{2,20}|\*", 'a user id (U…/W…), a user group (@S…) or "*"')
User = matching(r"[UW][A-Z0-9]{2,20}", "a user id (U…/W…)")
Team = matching(r"[TE][A-Z0-9]{2,20}", "a workspace's id (T…), of an organisation E…")
WebAddress = BeforeValidator(as_web_address)
Duration = Annotated[timedelta, BeforeValidator(as_duration)]
YesOrNo = Annotated[bool, BeforeValidator(as_yes_or_no)]


def unknown(what: str, word: str, known: Sequence[str]) -> str:
    near = get_close_matches(word, known, n=1)
    return f"unknown {what}, " + (f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}")
