"""response_url: five answers in half an hour to whoever typed or clicked."""

from typing import Any

from sandbox.slack.asking import Asked, SlackError
from sandbox.slack.chat import checked_blocks, checked_metadata, checked_text
from sandbox.slack.workspace import Json, Message, ResponseUrl, Workspace

IN_CHANNEL, EPHEMERAL = "in_channel", "ephemeral"


def answer(path: str, body: Json, workspace: Workspace) -> None:
    """Does what the body says. Raises SlackError, and then the use does not count."""
    address = workspace.response_urls.get(path)
    if address is None or workspace.clock.passed(address.expires):
        raise SlackError("expired_url")
    if address.uses_left == 0:
        raise SlackError("used_url")
    done = _act(address, body, workspace)
    address.uses_left -= 1
    address.answers.append(done)
    workspace.changes.tell()


def say(body: Json, place: str, person: str, workspace: Workspace) -> Message:
    """Posts a body as an ack or a response_url carries it: only for the person unless it says in_channel."""
    asked = Asked(workspace, body, "")
    text, blocks = checked_text(asked), checked_blocks(asked)
    if not (text or blocks or body.get("attachments")):
        raise SlackError("no_text")
    return workspace.post(
        Message(
            place,
            workspace.new_ts(),
            workspace.bot_user_id,
            text,
            blocks,
            body.get("thread_ts") or None,
            checked_metadata(asked),
            workspace.bot_id,
            only_for=None if body.get("response_type") == IN_CHANNEL else person,
        )
    )


def _act(address: ResponseUrl, body: Json, workspace: Workspace) -> Message:
    origin = address.origin
    if origin is not None and origin.deleted:
        origin = None
    if origin is not None and _is_true(body.get("delete_original")):
        origin.deleted = True
        return origin
    if origin is not None and _is_true(body.get("replace_original")):
        return _replace(origin, body, workspace)
    return say(body, address.channel, address.user, workspace)


def _replace(origin: Message, body: Json, workspace: Workspace) -> Message:
    asked = Asked(workspace, body, "")
    text, blocks = checked_text(asked), checked_blocks(asked)
    if not (text or blocks):
        raise SlackError("no_text")
    origin.text, origin.blocks = text, workspace.with_ids(blocks)
    if not origin.only_for:
        origin.edited = workspace.new_ts()
    return origin


def _is_true(value: Any) -> bool:
    return value is True or str(value).lower() == "true"
