"""What Slack's client puts into `view.state.values` when somebody fills a modal in."""

from collections.abc import Callable, Mapping
from typing import Any

from sandbox.slack.blocks import interactive

Json = dict[str, Any]
Fill = Callable[[Json, Any], Json]


def filled(blocks: list[Json], values: Mapping[str, Any], before: Mapping[str, Any]) -> Json:
    """The state for these values by action_id or block_id: an empty one clears the field, and a field without one
    stays as it was in the state before. ValueError names what is left empty, unknown or too long."""
    _refuse_unknown(blocks, values)
    state: Json = {}
    for block in blocks:
        for element in interactive(block):
            given = next((values[key] for key in (element["action_id"], block["block_id"]) if key in values), None)
            earlier = before.get(block["block_id"], {}).get(element["action_id"])
            entry = earlier if given is None and earlier else _entry(element, given)
            if entry is None:
                continue
            if block["type"] == "input" and not block.get("optional") and _is_empty(entry):
                raise ValueError(f"{block['label']['text']!r} must be filled in")
            state.setdefault(block["block_id"], {})[element["action_id"]] = entry
    return state


def kept(blocks: list[Json], state: Mapping[str, Any]) -> Json:
    """Of a view's state what its new blocks keep: the fields of the same block_id, action_id and type."""
    same: Json = {}
    for block in blocks:
        for element in interactive(block):
            entry = state.get(block["block_id"], {}).get(element["action_id"])
            if entry and entry["type"] == element["type"]:
                same.setdefault(block["block_id"], {})[element["action_id"]] = entry
    return same


def _refuse_unknown(blocks: list[Json], values: Mapping[str, Any]) -> None:
    known = {key for block in blocks for one in interactive(block) for key in (one["action_id"], block["block_id"])}
    if unknown := set(values) - known:
        raise ValueError(f"the modal has no field {', '.join(sorted(unknown))}")


def _entry(element: Json, value: Any) -> Json | None:
    fill = FILLS.get(element["type"])
    return {"type": element["type"], **fill(element, value)} if fill else None


def _is_empty(entry: Json) -> bool:
    return not any(value for key, value in entry.items() if key != "type")


def _text(element: Json, value: Any) -> Json:
    text = element.get("initial_value") if value is None else str(value)
    if text and not element.get("min_length", 0) <= len(text) <= element.get("max_length", 3000):
        raise ValueError(f"{text!r} is too short or too long for {element['action_id']}")
    return {"value": text or None}


def _one_option(element: Json, value: Any) -> Json:
    if value is None:
        return {"selected_option": element.get("initial_option")}
    return {"selected_option": _option(element, value) if value else None}


def _many_options(element: Json, value: Any) -> Json:
    if value is None:
        return {"selected_options": element.get("initial_options") or []}
    return {"selected_options": [_option(element, one) for one in value]}


def _option(element: Json, value: Any) -> Json:
    """An option by its value or its text."""
    groups = element.get("option_groups") or []
    options: list[Json] = [*(element.get("options") or []), *(one for group in groups for one in group["options"])]
    for option in options:
        if value in (option["value"], option["text"]["text"]):
            return option
    raise ValueError(f"{element['action_id']} has no option {value!r}")


def _plainly(result: str, initial: str) -> Fill:
    return lambda element, value: {result: element.get(initial) if value is None else value or None}


FILLS: dict[str, Fill] = {
    "plain_text_input": _text,
    "number_input": _text,
    "email_text_input": _text,
    "url_text_input": _text,
    "static_select": _one_option,
    "radio_buttons": _one_option,
    "multi_static_select": _many_options,
    "checkboxes": _many_options,
    "users_select": _plainly("selected_user", "initial_user"),
    "channels_select": _plainly("selected_channel", "initial_channel"),
    "conversations_select": _plainly("selected_conversation", "initial_conversation"),
    "multi_users_select": _plainly("selected_users", "initial_users"),
    "multi_channels_select": _plainly("selected_channels", "initial_channels"),
    "multi_conversations_select": _plainly("selected_conversations", "initial_conversations"),
    "datepicker": _plainly("selected_date", "initial_date"),
    "timepicker": _plainly("selected_time", "initial_time"),
    "datetimepicker": _plainly("selected_date_time", "initial_date_time"),
}
