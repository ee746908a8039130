"""views.*: modals and home tabs."""

import copy
from typing import Any

from sandbox.slack import payloads
from sandbox.slack.asking import Asked, SlackError, missing, refuse_faults
from sandbox.slack.blocks import HOME, MODAL, faults_in_view
from sandbox.slack.workspace import Json, Trigger, View, Workspace

HIGHEST_STACK = 3


def open_view(asked: Asked) -> Json:
    view = checked_view(asked.structure("view", "invalid_arguments"), MODAL, asked.workspace)
    trigger = _exchanged(asked)
    workspace = asked.workspace
    opened = workspace.new_view(trigger.user, view)
    workspace.modals[trigger.user] = [opened]
    workspace.changes.tell()
    return {"view": payloads.view(opened, workspace)}


def push_view(asked: Asked) -> Json:
    view = checked_view(asked.structure("view", "invalid_arguments"), MODAL, asked.workspace)
    trigger = _exchanged(asked)
    return {"view": payloads.view(push(trigger.user, view, asked.workspace), asked.workspace)}


def push(user: str, view: Json, workspace: Workspace) -> View:
    stack = workspace.modals.setdefault(user, [])
    if len(stack) >= HIGHEST_STACK:
        raise SlackError("push_limit_reached")
    pushed = workspace.new_view(user, view, stack[-1] if stack else None)
    stack.append(pushed)
    workspace.changes.tell()
    return pushed


def update_view(asked: Asked) -> Json:
    found = _existing(asked)
    _refuse_stale(asked, found)
    view = checked_view(asked.structure("view", "invalid_arguments"), found.content["type"], asked.workspace, found)
    asked.workspace.replace_view(found, view)
    return {"view": payloads.view(found, asked.workspace)}


def publish_view(asked: Asked) -> Json:
    workspace = asked.workspace
    person = workspace.users.get(asked.required("user_id"))
    if person is None:
        raise SlackError("user_not_found")
    view = checked_view(asked.structure("view", "invalid_arguments"), HOME, workspace)
    shown = workspace.homes.get(person.id)
    if shown is None:
        shown = workspace.homes[person.id] = workspace.new_view(person.id, view)
    else:
        _refuse_stale(asked, shown)
        workspace.replace_view(shown, view)
    workspace.changes.tell()
    return {"view": payloads.view(shown, workspace)}


def checked_view(view: Any, kind: str, workspace: Workspace, replaced: View | None = None) -> Json:
    """The view, if Slack takes it as this kind: `invalid_arguments` names each fault."""
    if view is None:
        raise missing("view")
    refuse_faults("invalid_arguments", faults_in_view(view))
    if view["type"] != kind:
        refuse_faults("invalid_arguments", [f"must be a valid enum value ({kind}) [json-pointer:/view/type]"])
    taken = _by_external_id(view.get("external_id") or "", workspace)
    if taken is not None and taken is not replaced:
        raise SlackError("duplicate_external_id")
    checked: Json = copy.deepcopy(view)
    return checked


def _by_external_id(external_id: str, workspace: Workspace) -> View | None:
    shown = [one for stack in workspace.modals.values() for one in stack]
    return next((one for one in shown if external_id and one.content.get("external_id") == external_id), None)


def _exchanged(asked: Asked) -> Trigger:
    """The trigger, spent: it opens one view, within 3 s."""
    trigger = asked.workspace.triggers.get(asked.required("trigger_id"))
    if trigger is None:
        raise SlackError("invalid_trigger_id")
    if trigger.used:
        raise SlackError("exchanged_trigger_id")
    if asked.workspace.clock.passed(trigger.expires):
        raise SlackError("expired_trigger_id")
    trigger.used = True
    return trigger


def _existing(asked: Asked) -> View:
    view_id, external_id = asked.text("view_id"), asked.text("external_id")
    if not (view_id or external_id):
        raise missing("view_id")
    found = asked.workspace.view(view_id) or _by_external_id(external_id, asked.workspace)
    if found is None:
        raise SlackError("not_found")
    return found


def _refuse_stale(asked: Asked, view: View) -> None:
    given = asked.text("hash")
    if given and given != view.hash:
        raise SlackError("hash_conflict")
