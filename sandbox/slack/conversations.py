"""conversations.*: channels and what was said in them. The scope follows the kind of the channel."""

from sandbox.slack import payloads
from sandbox.slack.asking import Asked, SlackError, missing, page
from sandbox.slack.workspace import Channel, Json, Message, User, Workspace

KINDS = {"public_channel": "channels", "private_channel": "groups", "im": "im", "mpim": "mpim"}


def info(asked: Asked) -> Json:
    place = asked.channel()
    asked.needs_scope(f"{place.kind}:read")
    return {"channel": payloads.channel(place, asked.workspace)}


def list_channels(asked: Asked) -> Json:
    kinds = [one.strip() for one in (asked.text("types") or "public_channel").split(",")]
    if unknown := [one for one in kinds if one not in KINDS]:
        raise SlackError("invalid_types", needed=",".join(unknown))
    for kind in kinds:
        asked.needs_scope(f"{KINDS[kind]}:read")
    shown = [one for one in asked.workspace.channels.values() if _is_listed(one, kinds, asked)]
    channels, metadata = page([payloads.channel(one, asked.workspace) for one in shown], asked)
    return {"channels": channels, "response_metadata": metadata}


def _is_listed(place: Channel, kinds: list[str], asked: Asked) -> bool:
    if asked.flag("exclude_archived") and place.is_archived:
        return False
    visible = not place.is_private or asked.workspace.bot_user_id in place.members
    return visible and place.kind in [KINDS[kind] for kind in kinds]


def open_direct(asked: Asked) -> Json:
    asked.needs_scope("im:write")
    known: Json = {"no_op": True, "already_open": True}
    if asked.text("channel"):
        place = asked.channel()
        if not place.im_of:
            raise SlackError("method_not_supported_for_channel_type")
    else:
        people = [one for one in asked.text("users").split(",") if one]
        if not people:
            raise SlackError("users_list_not_supplied")
        if any(one not in asked.workspace.users for one in people):
            raise SlackError("user_not_found")
        if len(people) > 1:
            asked.needs_scope("mpim:write")
        person = asked.workspace.users[people[0]]
        _refuse_unreachable(person, asked.workspace)
        if not any(one.im_of == person.id for one in asked.workspace.channels.values()):
            known = {}
        place = asked.workspace.direct(person.id)
    shown = payloads.channel(place, asked.workspace)
    return {**known, "channel": shown if asked.flag("return_im") else {"id": place.id}}


def _refuse_unreachable(person: User, workspace: Workspace) -> None:
    if person.deleted:
        raise SlackError("user_disabled")
    if person.is_bot:
        raise SlackError("cannot_dm_bot")
    both = {person.id, workspace.bot_user_id}
    if person.is_stranger and not any(both <= one.members for one in workspace.channels.values()):
        raise SlackError("invalid_user_combination")


def members(asked: Asked) -> Json:
    place = asked.channel()
    asked.needs_scope(f"{place.kind}:read")
    shown, metadata = page([{"id": one} for one in sorted(place.members)], asked)
    return {"members": [one["id"] for one in shown], "response_metadata": metadata}


def history(asked: Asked) -> Json:
    """The channel's own messages and replies that were broadcast to it, newest first."""
    place = _readable(asked)
    shown = [one for one in asked.workspace.public(place.id) if not one.is_reply or one.broadcast]
    return _messages([one for one in reversed(shown) if _is_within(one, asked)], asked)


def replies(asked: Asked) -> Json:
    """The parent and its replies, oldest first."""
    place = _readable(asked)
    ts = asked.text("ts")
    if not ts:
        raise missing("ts")
    found = asked.workspace.message(place.id, ts)
    if found is None:
        raise SlackError("thread_not_found")
    parent = asked.workspace.message(place.id, found.thread_ts or ts) or found
    inside = [one for one in asked.workspace.replies(parent) if _is_within(one, asked)]
    return _messages([parent, *inside], asked)


def _readable(asked: Asked) -> Channel:
    place = asked.joined_channel()
    asked.needs_scope(f"{place.kind}:history")
    return place


def _is_within(one: Message, asked: Asked) -> bool:
    oldest, latest = asked.text("oldest"), asked.text("latest")
    inclusive = asked.flag("inclusive")
    after = not oldest or float(one.ts) > float(oldest) or (inclusive and float(one.ts) == float(oldest))
    before = not latest or float(one.ts) < float(latest) or (inclusive and float(one.ts) == float(latest))
    return after and before


def _messages(chosen: list[Message], asked: Asked) -> Json:
    with_metadata = asked.flag("include_all_metadata")
    rendered = [payloads.message(one, asked.workspace, with_metadata=with_metadata) for one in chosen]
    shown, metadata = page(rendered, asked)
    has_more = bool(metadata["next_cursor"])
    answer: Json = {"messages": shown, "has_more": has_more}
    return answer | ({"response_metadata": metadata} if has_more else {})
