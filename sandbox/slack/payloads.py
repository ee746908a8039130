"""The JSON that Slack sends for what the workspace holds: in answers, envelopes and events."""

from collections.abc import Mapping
from typing import Any

from sandbox.slack.workspace import SLACKBOT, Channel, Group, Json, Message, User, View, Workspace


def user(one: User, workspace: Workspace) -> Json:
    answer: Json = {
        "id": one.id,
        "team_id": one.team_id,
        "name": one.name,
        "deleted": one.deleted,
        "real_name": one.real_name or one.name,
        "tz": one.tz,
        "profile": {"real_name": one.real_name or one.name, "display_name": one.name, "team": one.team_id},
        "is_bot": one.is_bot,
        "is_app_user": False,
        "updated": 1700000000,
    }
    if "users:read.email" in workspace.scopes and one.email:
        answer["profile"]["email"] = one.email
    if not one.deleted:  # Slack leaves the roles of a deactivated account out
        answer |= {
            "is_admin": one.is_admin,
            "is_owner": False,
            "is_restricted": one.is_restricted,
            "is_ultra_restricted": one.is_ultra_restricted,
        }
    if one.is_stranger or one.team_id != workspace.team_id:
        answer["is_stranger"] = one.is_stranger
    if workspace.enterprise_id:
        answer["enterprise_user"] = {
            "id": one.id,
            "enterprise_id": workspace.enterprise_id,
            "is_admin": one.is_admin,
            "is_owner": False,
            "teams": [one.team_id],
        }
    return answer


def group(one: Group, workspace: Workspace, *, with_users: bool, with_count: bool) -> Json:
    answer: Json = {
        "id": one.id,
        "team_id": workspace.team_id,
        "is_usergroup": True,
        "name": one.handle,
        "handle": one.handle,
        "description": "",
        "is_external": False,
        "date_create": 1700000000,
        "date_update": 1700000000,
        "date_delete": 1700000000 if one.disabled else 0,
        "auto_type": None,
        "prefs": {"channels": [], "groups": []},
    }
    if with_users:
        answer["users"] = list(one.users)
    if with_count:
        answer["user_count"] = len(one.users)
    return answer


def channel(one: Channel, workspace: Workspace) -> Json:
    common: Json = {
        "id": one.id,
        "created": 1700000000,
        "is_archived": one.is_archived,
        "is_im": bool(one.im_of),
        "is_org_shared": False,
        "is_ext_shared": one.is_ext_shared,
        "is_pending_ext_shared": False,
        "is_shared": one.is_ext_shared,
        "context_team_id": workspace.team_id,
    }
    if one.im_of:
        return common | {"user": one.im_of, "is_user_deleted": workspace.users[one.im_of].deleted}
    return common | {
        "name": one.name,
        "name_normalized": one.name,
        "is_channel": not one.is_private,
        "is_group": one.is_private,
        "is_mpim": False,
        "is_private": one.is_private,
        "is_general": False,
        "is_member": workspace.bot_user_id in one.members,
        "num_members": len(one.members),
        "topic": {"value": "", "creator": "", "last_set": 0},
        "purpose": {"value": "", "creator": "", "last_set": 0},
    }


def message(one: Message, workspace: Workspace, *, with_metadata: bool = False) -> Json:
    """A message as history shows it; metadata goes along only where it was asked for."""
    answer: Json = {
        "type": "message",
        "user": one.user,
        "ts": one.ts,
        "text": one.text,
        "team": workspace.users[one.user].team_id,
    }
    if one.bot_id:
        answer |= {
            "bot_id": one.bot_id,
            "app_id": workspace.app_id,
            "bot_profile": {
                "id": one.bot_id,
                "app_id": workspace.app_id,
                "user_id": one.user,
                "name": workspace.users[one.user].name,
                "deleted": False,
                "team_id": workspace.team_id,
            },
        }
    if one.blocks:
        answer["blocks"] = one.blocks
    if one.edited:
        answer["edited"] = {"user": one.bot_id or one.user, "ts": one.edited}
    if one.files:
        answer["files"] = one.files
    if one.broadcast:
        answer["subtype"] = "thread_broadcast"
    if one.metadata and with_metadata:
        answer["metadata"] = one.metadata
    return answer | _threading(one, workspace)


def _threading(one: Message, workspace: Workspace) -> Json:
    if one.is_reply:
        parent = workspace.message(one.channel, one.thread_ts or "")
        return {"thread_ts": one.thread_ts, **({"parent_user_id": parent.user} if parent else {})}
    replies = [] if one.only_for else workspace.replies(one)
    if not replies:
        return {}
    return {
        "thread_ts": one.ts,
        "reply_count": len(replies),
        "reply_users_count": len({reply.user for reply in replies}),
        "reply_users": sorted({reply.user for reply in replies}),
        "latest_reply": replies[-1].ts,
        "is_locked": False,
        "subscribed": False,
    }


def view(one: View, workspace: Workspace) -> Json:
    given = one.content
    return {
        "id": one.id,
        "team_id": workspace.team_id,
        "type": given["type"],
        "blocks": given["blocks"],
        "private_metadata": given.get("private_metadata") or "",
        "callback_id": given.get("callback_id") or "",
        "state": {"values": one.state},
        "hash": one.hash,
        "title": given.get("title"),
        "clear_on_close": bool(given.get("clear_on_close")),
        "notify_on_close": bool(given.get("notify_on_close")),
        "close": given.get("close"),
        "submit": given.get("submit"),
        "previous_view_id": one.previous_id,
        "root_view_id": one.root_id,
        "app_id": workspace.app_id,
        "external_id": given.get("external_id") or "",
        "app_installed_team_id": workspace.team_id,
        "bot_id": workspace.bot_id,
    }


def command(sender: User, place: Channel, word: str, text: str, workspace: Workspace, response_url: str) -> Json:
    """A slash command: flat, and every value a string."""
    # Slack hides the names of private and direct conversations here.
    shown = "directmessage" if place.im_of else "privategroup" if place.is_private else place.name
    enterprise = {"enterprise_id": workspace.enterprise_id, "enterprise_name": "TML"} if workspace.enterprise_id else {}
    return {
        "token": workspace.verification_token,
        "team_id": sender.team_id,
        "team_domain": _domain(sender, workspace),
        **enterprise,
        "channel_id": place.id,
        "channel_name": shown,
        "user_id": sender.id,
        "user_name": sender.name,
        "command": word,
        "text": text,
        "api_app_id": workspace.app_id,
        "is_enterprise_install": "false",
        "response_url": response_url,
        "trigger_id": workspace.new_trigger(sender.id),
    }


def click(sender: User, button: Mapping[str, Any], block: Mapping[str, Any], workspace: Workspace) -> Json:
    """block_actions without its place: see `on_message` and `on_view`."""
    action = {key: value for key, value in button.items() if key != "confirm"}
    action |= {"block_id": block["block_id"], "action_ts": workspace.new_ts()}
    return _interaction("block_actions", sender, workspace) | {"actions": [action], "state": {"values": {}}}


def on_message(clicked: Message, place: Channel, workspace: Workspace, response_url: str) -> Json:
    """Where a click happened. Of an ephemeral message Slack sends the timestamp, not the message."""
    name = "directmessage" if place.im_of else "privategroup" if place.is_private else place.name
    container: Json = {
        "type": "message",
        "message_ts": clicked.ts,
        "channel_id": place.id,
        "is_ephemeral": clicked.only_for is not None,
    }
    if clicked.thread_ts:
        container["thread_ts"] = clicked.thread_ts
    answer: Json = {"container": container, "channel": {"id": place.id, "name": name}, "response_url": response_url}
    if clicked.only_for is None:
        answer["message"] = message(clicked, workspace)
    return answer


def on_view(clicked: View, workspace: Workspace) -> Json:
    return {"container": {"type": "view", "view_id": clicked.id}, "view": view(clicked, workspace)}


def submission(sender: User, submitted: View, workspace: Workspace) -> Json:
    interaction = _interaction("view_submission", sender, workspace, submitted.id)
    return interaction | {"view": view(submitted, workspace), "response_urls": []}


def closing(sender: User, closed: View, workspace: Workspace, *, cleared: bool) -> Json:
    answer = _interaction("view_closed", sender, workspace) | {"view": view(closed, workspace), "is_cleared": cleared}
    del answer["trigger_id"]
    return answer


def event(inner: Json, workspace: Workspace) -> Json:
    return {
        "token": workspace.verification_token,
        "team_id": workspace.team_id,
        "context_team_id": workspace.team_id,
        "context_enterprise_id": workspace.enterprise_id,
        "api_app_id": workspace.app_id,
        "event": inner,
        "type": "event_callback",
        "event_id": workspace.new_id("Ev"),
        "event_time": int(workspace.clock.wall()),
        "authorizations": [
            {
                "enterprise_id": workspace.enterprise_id,
                "team_id": workspace.team_id,
                "user_id": workspace.bot_user_id,
                "is_bot": True,
                "is_enterprise_install": False,
            }
        ],
        "is_ext_shared_channel": False,
    }


def _interaction(kind: str, sender: User, workspace: Workspace, view_id: str | None = None) -> Json:
    enterprise = {"id": workspace.enterprise_id, "name": "TML"} if workspace.enterprise_id else None
    return {
        "type": kind,
        "user": {"id": sender.id, "username": sender.name, "name": sender.name, "team_id": sender.team_id},
        "api_app_id": workspace.app_id,
        "token": workspace.verification_token,
        "trigger_id": workspace.new_trigger(sender.id, view_id),
        "team": {"id": workspace.team_id, "domain": workspace.team_domain},
        "enterprise": enterprise,
        "is_enterprise_install": False,
    }


def _domain(sender: User, workspace: Workspace) -> str:
    return workspace.team_domain if sender.team_id == workspace.team_id else "partner"


def failure_notice(command_word: str, error: str, place: str, person: str, workspace: Workspace) -> Message:
    """What Slack itself tells a person whose command went wrong."""
    text = f'{command_word} failed with the error "{error}"'
    return Message(place, workspace.new_ts(), SLACKBOT, text, only_for=person)
