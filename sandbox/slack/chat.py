"""chat.*: what the bot says, changes and takes back."""

from typing import Any

from sandbox.slack import payloads
from sandbox.slack.asking import Asked, SlackError, refuse_faults
from sandbox.slack.blocks import MESSAGE, faults_in_blocks, faults_in_metadata
from sandbox.slack.workspace import Channel, Json, Message

LONGEST_TEXT = 40_000
LARGEST_METADATA = 8_000


def checked_text(asked: Asked) -> str:
    text = asked.text("text")
    if len(text) > LONGEST_TEXT:
        raise SlackError("msg_too_long")
    return text


def checked_blocks(asked: Asked) -> list[Json]:
    blocks: Any = asked.structure("blocks", "invalid_blocks_format") or []
    if not isinstance(blocks, list):
        raise SlackError("invalid_blocks_format")
    refuse_faults("invalid_blocks", faults_in_blocks(blocks, MESSAGE))
    return blocks


def checked_metadata(asked: Asked) -> Json | None:
    """The metadata as given: None keeps what is there, an empty object takes it away."""
    metadata: Any = asked.structure("metadata", "invalid_metadata_format")
    if not metadata:
        return None if metadata is None else {}
    refuse_faults("invalid_metadata_format", faults_in_metadata(metadata))
    if len(str(metadata)) > LARGEST_METADATA:
        raise SlackError("metadata_too_large")
    return dict(metadata)


def post_message(asked: Asked) -> Json:
    place = _place_to_post(asked)
    text, blocks = checked_text(asked), checked_blocks(asked)
    if not (text or blocks or asked.arguments.get("attachments")):
        raise SlackError("no_text")
    thread_ts = _thread(asked, place)
    metadata = checked_metadata(asked)
    workspace = asked.workspace
    posted = workspace.post(
        Message(
            place.id,
            workspace.new_ts(),
            workspace.bot_user_id,
            text,
            blocks,
            thread_ts,
            metadata or None,
            workspace.bot_id,
            broadcast=bool(thread_ts) and asked.flag("reply_broadcast"),
        )
    )
    shown = payloads.message(posted, workspace, with_metadata=True)
    return {"channel": place.id, "ts": posted.ts, "message": shown}


def _place_to_post(asked: Asked) -> Channel:
    """Slack takes an id, a #name or a person here, and only here."""
    workspace, given = asked.workspace, asked.text("channel")
    if given in workspace.users:
        return workspace.direct(given)
    if given.startswith("#"):
        named = next((one for one in workspace.channels.values() if one.name == given[1:]), None)
        asked = Asked(workspace, {"channel": named.id if named else ""}, asked.base)
    place = asked.joined_channel()
    if place.is_archived:
        raise SlackError("is_archived")
    return place


def _thread(asked: Asked, place: Channel) -> str | None:
    """The parent's ts. Slack lets replies to a deleted parent through, and refuses what was never there."""
    thread_ts = asked.text("thread_ts")
    if not thread_ts:
        return None
    parent = asked.workspace.message(place.id, thread_ts)
    if parent is None and not any(one.thread_ts == thread_ts for one in asked.workspace.public(place.id)):
        raise SlackError("thread_not_found")
    if parent is not None and parent.is_reply:
        raise SlackError("cannot_reply_to_message")
    return thread_ts


def update(asked: Asked) -> Json:
    """Text without blocks removes the blocks; they are kept only where the text is left out."""
    place, workspace = asked.joined_channel(), asked.workspace
    changed = _own_message(asked, place, "cant_update_message")
    text, blocks, metadata = checked_text(asked), checked_blocks(asked), checked_metadata(asked)
    if not (text or blocks or metadata is not None or asked.arguments.get("attachments")):
        raise SlackError("no_text")
    if text or blocks:
        changed.blocks = workspace.with_ids(blocks)
    if text and text != changed.text:
        changed.text, changed.edited = text, workspace.new_ts()
    if metadata is not None:
        changed.metadata = metadata or None
    workspace.changes.tell()
    shown = payloads.message(changed, workspace, with_metadata=True)
    return {"channel": place.id, "ts": changed.ts, "text": changed.text, "message": shown}


def delete(asked: Asked) -> Json:
    place = asked.joined_channel()
    gone = _own_message(asked, place, "cant_delete_message")
    gone.deleted = True
    asked.workspace.changes.tell()
    return {"channel": place.id, "ts": gone.ts}


def _own_message(asked: Asked, place: Channel, otherwise: str) -> Message:
    found = asked.workspace.message(place.id, asked.text("ts"))
    if found is None:
        raise SlackError("message_not_found")
    if found.user != asked.workspace.bot_user_id:
        raise SlackError(otherwise)
    return found


def post_ephemeral(asked: Asked) -> Json:
    place, workspace = asked.joined_channel(), asked.workspace
    person = asked.user()
    if person.id not in place.members:
        raise SlackError("user_not_in_channel")
    text, blocks = checked_text(asked), checked_blocks(asked)
    if not (text or blocks or asked.arguments.get("attachments")):
        raise SlackError("no_text")
    posted = workspace.post(
        Message(
            place.id,
            workspace.new_ts(),
            workspace.bot_user_id,
            text,
            blocks,
            _thread(asked, place),
            bot_id=workspace.bot_id,
            only_for=person.id,
        )
    )
    return {"message_ts": posted.ts}


def get_permalink(asked: Asked) -> Json:
    place = asked.channel()
    found = asked.workspace.message(place.id, asked.text("message_ts"))
    if found is None:
        raise SlackError("message_not_found")
    link = f"https://{asked.workspace.team_domain}.slack.com/archives/{place.id}/p{found.ts.replace('.', '')}"
    if found.is_reply:
        link += f"?thread_ts={found.thread_ts}&cid={place.id}"
    return {"channel": place.id, "permalink": link}
