"""What a Web API method is given, and how it refuses."""

import copy
import json
from collections.abc import Mapping
from typing import Any

from sandbox.slack.workspace import Channel, Json, User, Workspace


class SlackError(Exception):
    """An answer `{"ok": false, "error": code}`, with whatever else Slack adds to it."""

    def __init__(self, code: str, **more: Any) -> None:
        super().__init__(code)
        self.code = code
        self.more = more

    def answer(self) -> Json:
        return {"ok": False, "error": self.code, **self.more}


def refuse_faults(code: str, faults: list[str]) -> None:
    """Raises the error that carries Slack's list of what is wrong."""
    if faults:
        raise SlackError(code, errors=faults, response_metadata={"messages": [f"[ERROR] {one}" for one in faults]})


def missing(name: str) -> SlackError:
    message = f"[ERROR] missing required field: {name}"
    return SlackError("invalid_arguments", response_metadata={"messages": [message]})


class Asked:
    """One call: its arguments, which a form gives as text and JSON as values, and the workspace it is about."""

    def __init__(self, workspace: Workspace, arguments: Mapping[str, Any], base: str) -> None:
        self.workspace = workspace
        self.arguments = arguments
        self.base = base

    def text(self, name: str) -> str:
        value = self.arguments.get(name)
        return "" if value is None else str(value)

    def required(self, name: str) -> str:
        if not self.text(name):
            raise missing(name)
        return self.text(name)

    def flag(self, name: str) -> bool:
        return self.text(name).lower() in ("1", "true")

    def number(self, name: str, default: int) -> int:
        value = self.text(name)
        if not value:
            return default
        if not value.lstrip("-").isdigit() or int(value) < 0:
            raise SlackError("invalid_limit" if name == "limit" else "invalid_arguments")
        return int(value)

    def structure(self, name: str, error: str) -> Any:
        """A JSON value, whether it came as JSON or as text holding JSON; None when it is absent.
        A copy: the workspace adds ids to blocks, and a recorded call stays as it was sent."""
        value = self.arguments.get(name)
        if not isinstance(value, str):
            return copy.deepcopy(value)
        try:
            return json.loads(value) if value else None
        except json.JSONDecodeError:
            raise SlackError(error) from None

    def needs_scope(self, scope: str) -> None:
        scopes = self.workspace.scopes
        if scope not in scopes:
            raise SlackError("missing_scope", needed=scope, provided=",".join(sorted(scopes)))

    def channel(self) -> Channel:
        """The channel, if the bot can know of it: a private one without the bot does not exist for it."""
        given = self.text("channel")
        found = self.workspace.channels.get(given)
        if found is None or (found.is_private and self.workspace.bot_user_id not in found.members):
            raise SlackError("channel_not_found")
        return found

    def joined_channel(self) -> Channel:
        found = self.channel()
        if self.workspace.bot_user_id not in found.members:
            raise SlackError("not_in_channel")
        return found

    def user(self, name: str = "user") -> User:
        found = self.workspace.users.get(self.text(name))
        if found is None:
            raise SlackError("user_not_found")
        return found


def page(everything: list[Json], asked: Asked, default: int = 100) -> tuple[list[Json], Json]:
    """One page of a list and its `response_metadata`; a cursor is the place where the next page starts."""
    cursor = asked.text("cursor")
    if cursor and not cursor.isdigit():
        raise SlackError("invalid_cursor")
    start = int(cursor or 0)
    end = start + (asked.number("limit", default) or default)
    return everything[start:end], {"next_cursor": str(end) if end < len(everything) else ""}
