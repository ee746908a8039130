"""files.*: the three steps of an upload. The second is a plain POST of the bytes to the address given by the first."""

from typing import Any

from sandbox.slack.asking import Asked, SlackError, missing
from sandbox.slack.chat import checked_text
from sandbox.slack.workspace import File, Json, Message

MOST_BYTES = 1_000_000_000


def get_upload_url(asked: Asked) -> Json:
    length = asked.number("length", 0)
    if length == 0:
        raise missing("length")
    if length > MOST_BYTES:
        raise SlackError("file_upload_size_restricted")
    file = File(asked.workspace.new_id("F"), asked.required("filename"), length)
    asked.workspace.files[file.id] = file
    return {"upload_url": f"{asked.base}/upload/v1/{file.id}", "file_id": file.id}


def complete_upload(asked: Asked) -> Json:
    """Shares the uploaded files as one message, where a channel is named."""
    wanted: Any = asked.structure("files", "invalid_arguments")
    if not isinstance(wanted, list) or not wanted:
        raise missing("files")
    files = [_uploaded(one, asked) for one in wanted]
    place_id = asked.text("channel_id") or asked.text("channels").split(",")[0]
    shown = [_shown(one) for one in files]
    if place_id:
        _share(place_id, shown, asked)
    for file in files:
        file.shared = True
    return {"files": shown}


def _uploaded(wanted: Json, asked: Asked) -> File:
    file = asked.workspace.files.get(str(wanted.get("id")))
    if file is None or file.content is None or file.shared:
        raise SlackError("file_not_found")
    file.title = wanted.get("title") or file.name
    return file


def _shown(file: File) -> Json:
    return {"id": file.id, "name": file.name, "title": file.title, "size": file.length}


def _share(place_id: str, shown: list[Json], asked: Asked) -> None:
    workspace = asked.workspace
    comment = asked.text("initial_comment")
    inner = Asked(workspace, {"channel": place_id, "text": comment}, asked.base)
    place, text, thread_ts = inner.joined_channel(), checked_text(inner), asked.text("thread_ts") or None
    if thread_ts and workspace.message(place.id, thread_ts) is None:
        raise SlackError("thread_not_found")
    workspace.post(
        Message(
            place.id,
            workspace.new_ts(),
            workspace.bot_user_id,
            text,
            thread_ts=thread_ts,
            bot_id=workspace.bot_id,
            files=shown,
        )
    )
