"""What Slack makes of the text a person types."""

import re

from sandbox.slack.workspace import Workspace

LINK = re.compile(r"https?://[^\s<>|]+")
NAMED = re.compile(r"(?<![\w<])([@#])([\w-]+(?:\.[\w-]+)*)")


def escaped(text: str, workspace: Workspace) -> str:
    """As `should_escape: true` of the manifest makes it: entities first, then links, people, groups and channels."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = LINK.sub(lambda match: f"<{match.group(0)}>", text)
    return NAMED.sub(lambda match: _reference(match, workspace), text)


def with_mentions(text: str, workspace: Workspace) -> str:
    """`@name` as the bare id that a sent message carries."""
    return NAMED.sub(lambda match: re.sub(r"\|[^>]*", "", _reference(match, workspace)), text)


def _reference(match: re.Match[str], workspace: Workspace) -> str:
    sign, name = match.groups()
    if sign == "#":
        place = next((one for one in workspace.channels.values() if one.name == name), None)
        return f"<#{place.id}|{place.name}>" if place else match.group(0)
    user = next((one for one in workspace.users.values() if one.name == name), None)
    if user:
        return f"<@{user.id}|{user.name}>"
    group = next((one for one in workspace.groups.values() if one.handle == name), None)
    return f"<!subteam^{group.id}|@{group.handle}>" if group else match.group(0)
