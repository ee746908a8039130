"""auth.*, users.* and usergroups.*: who is who."""

from sandbox.slack import payloads
from sandbox.slack.asking import Asked, SlackError, page
from sandbox.slack.workspace import SLACKBOT, Json


def auth_test(asked: Asked) -> Json:
    workspace = asked.workspace
    enterprise = {"enterprise_id": workspace.enterprise_id} if workspace.enterprise_id else {}
    return {
        "url": f"https://{workspace.team_domain}.slack.com/",
        "team": workspace.team_name,
        "user": workspace.users[workspace.bot_user_id].name,
        "team_id": workspace.team_id,
        "user_id": workspace.bot_user_id,
        "bot_id": workspace.bot_id,
        **enterprise,
        "is_enterprise_install": False,
    }


def api_test(asked: Asked) -> Json:
    if error := asked.text("error"):
        raise SlackError(error, args=dict(asked.arguments))
    return {"args": dict(asked.arguments)}


def users_info(asked: Asked) -> Json:
    return {"user": payloads.user(asked.user(), asked.workspace)}


def users_list(asked: Asked) -> Json:
    """The team's own people; strangers of shared channels come as well, as in Slack."""
    everyone = [payloads.user(one, asked.workspace) for one in asked.workspace.users.values() if one.id != SLACKBOT]
    members, metadata = page(everyone, asked)
    return {"members": members, "cache_ts": 1700000000, "response_metadata": metadata}


def groups_list(asked: Asked) -> Json:
    shown = [
        payloads.group(
            one, asked.workspace, with_users=asked.flag("include_users"), with_count=asked.flag("include_count")
        )
        for one in asked.workspace.groups.values()
        if asked.flag("include_disabled") or not one.disabled
    ]
    return {"usergroups": shown}


def group_users(asked: Asked) -> Json:
    found = asked.workspace.groups.get(asked.required("usergroup"))
    if found is None or (found.disabled and not asked.flag("include_disabled")):
        raise SlackError("no_such_subteam")
    if found.fails_with:
        raise SlackError(found.fails_with)
    return {"users": list(found.users)}
