"""What Slack accepts as Block Kit: tables of shapes, and functions from a value to the faults in it.

A fault reads as Slack's do: `must be less than 151 characters [json-pointer:/blocks/0/text/text]`.
Limits: https://docs.slack.dev/reference/block-kit and the constants in slack_sdk.models.blocks.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Check = Callable[[Any, str], Iterator[str]]


def fault(what: str, path: str) -> str:
    return f"{what} [json-pointer:{path}]"


@dataclass(frozen=True)
class Shape:
    """An object: its fields, which of them it must have, and at least one of `any_of`."""

    fields: Mapping[str, Check]
    required: Sequence[str] = ()
    any_of: Sequence[str] = ()


def string(most: int, least: int = 1) -> Check:
    def check(value: Any, path: str) -> Iterator[str]:
        if not isinstance(value, str):
            yield fault("must be a string", path)
        elif len(value) < least:
            yield fault(f"must be more than {least - 1} characters", path)
        elif len(value) > most:
            yield fault(f"must be less than {most + 1} characters", path)

    return check


def boolean(value: Any, path: str) -> Iterator[str]:
    if not isinstance(value, bool):
        yield fault("must be a boolean", path)


def number(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, bool) or not isinstance(value, int):
        yield fault("must be an integer", path)


def choice(*values: str) -> Check:
    def check(value: Any, path: str) -> Iterator[str]:
        if value not in values:
            yield fault(f"must be a valid enum value ({', '.join(values)})", path)

    return check


def items(each: Check, most: int, least: int = 1) -> Check:
    def check(value: Any, path: str) -> Iterator[str]:
        if not isinstance(value, list):
            yield fault("must be an array", path)
            return
        if len(value) < least:
            yield fault(f"no less than {least} items allowed", path)
        if len(value) > most:
            yield fault(f"no more than {most} items allowed", path)
        for index, item in enumerate(value):
            yield from each(item, f"{path}/{index}")

    return check


def anything(_value: Any, _path: str) -> Iterator[str]:
    return iter(())


def mapping(value: Any, path: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield fault("must provide an object", path)


def shaped(shape: Shape) -> Check:
    def check(value: Any, path: str) -> Iterator[str]:
        if not isinstance(value, dict):
            yield fault("must provide an object", path)
            return
        for name in shape.required:
            if value.get(name) is None:
                yield fault(f"missing required field: {name}", path)
        if shape.any_of and all(value.get(name) is None for name in shape.any_of):
            yield fault(f"missing required field: {' or '.join(shape.any_of)}", path)
        for name, part in value.items():
            if name not in shape.fields:
                yield fault(f"invalid additional property: {name}", path)
            elif part is not None:
                yield from shape.fields[name](part, f"{path}/{name}")

    return check


def typed(shapes: Mapping[str, Shape]) -> Check:
    """An object whose `type` says which of the shapes it has."""

    def check(value: Any, path: str) -> Iterator[str]:
        if not isinstance(value, dict):
            yield fault("must provide an object", path)
        elif "type" not in value:
            yield fault("missing required field: type", path)
        elif value["type"] not in shapes:
            yield fault(f"unsupported type: {value['type']}", f"{path}/type")
        else:
            yield from shaped(shapes[value["type"]])(value, path)

    return check


def text_shapes(most: int) -> dict[str, Shape]:
    common = {"type": anything, "text": string(most)}
    return {
        "plain_text": Shape({**common, "emoji": boolean}, ["text"]),
        "mrkdwn": Shape({**common, "verbatim": boolean}, ["text"]),
    }


def text(most: int) -> Check:
    return typed(text_shapes(most))


def plain(most: int) -> Check:
    return typed({"plain_text": text_shapes(most)["plain_text"]})


CONFIRM = shaped(
    Shape(
        {
            "title": plain(100),
            "text": text(300),
            "confirm": plain(30),
            "deny": plain(30),
            "style": choice("primary", "danger"),
        },
        ["title", "text", "confirm", "deny"],
    )
)
OPTION = shaped(
    Shape({"text": text(75), "value": string(150), "description": text(75), "url": string(3000)}, ["text", "value"])
)
OPTION_GROUP = shaped(Shape({"label": plain(75), "options": items(OPTION, 100)}, ["label", "options"]))
STYLE = choice("primary", "danger")


def element(fields: Mapping[str, Check], required: Sequence[str] = (), any_of: Sequence[str] = ()) -> Shape:
    return Shape({"type": anything, "action_id": string(255), **fields}, required, any_of)


def select(fields: Mapping[str, Check], any_of: Sequence[str] = ()) -> Shape:
    common = {"placeholder": plain(150), "confirm": CONFIRM, "focus_on_load": boolean}
    return element({**common, **fields}, any_of=any_of)


OPTIONS: dict[str, Check] = {"options": items(OPTION, 100), "option_groups": items(OPTION_GROUP, 100)}
CHANNEL_PICK: dict[str, Check] = {"response_url_enabled": boolean, "filter": mapping}
SELECTS: dict[str, Shape] = {
    "static_select": select({**OPTIONS, "initial_option": OPTION}, ["options", "option_groups"]),
    "external_select": select({"min_query_length": number, "initial_option": OPTION}),
    "users_select": select({"initial_user": string(255)}),
    "conversations_select": select(
        {**CHANNEL_PICK, "initial_conversation": string(255), "default_to_current_conversation": boolean}
    ),
    "channels_select": select({"initial_channel": string(255), "response_url_enabled": boolean}),
    "multi_static_select": select(
        {**OPTIONS, "initial_options": items(OPTION, 100), "max_selected_items": number}, ["options", "option_groups"]
    ),
    "multi_users_select": select({"initial_users": items(string(255), 100), "max_selected_items": number}),
    "multi_conversations_select": select(
        {"initial_conversations": items(string(255), 100), "max_selected_items": number, "filter": mapping}
    ),
    "multi_channels_select": select({"initial_channels": items(string(255), 100), "max_selected_items": number}),
}
TICKS: dict[str, Check] = {"options": items(OPTION, 10), "confirm": CONFIRM, "focus_on_load": boolean}
PICKERS: dict[str, Shape] = {
    "datepicker": select({"initial_date": string(10)}),
    "timepicker": select({"initial_time": string(5), "timezone": string(255)}),
    "datetimepicker": element({"initial_date_time": number, "confirm": CONFIRM, "focus_on_load": boolean}),
    "checkboxes": element({**TICKS, "initial_options": items(OPTION, 10)}, ["options"]),
    "radio_buttons": element({**TICKS, "initial_option": OPTION}, ["options"]),
}
BUTTON = element(
    {
        "text": plain(75),
        "value": string(2000, least=0),
        "url": string(3000),
        "style": STYLE,
        "confirm": CONFIRM,
        "accessibility_label": string(75),
    },
    ["text"],
)
IMAGE_FIELDS: dict[str, Check] = {
    "type": anything,
    "image_url": string(3000),
    "slack_file": mapping,
    "alt_text": string(2000),
}
IMAGE = Shape(IMAGE_FIELDS, ["alt_text"], ["image_url", "slack_file"])
OVERFLOW = element({"options": items(OPTION, 5), "confirm": CONFIRM}, ["options"])
CLICKABLE: dict[str, Shape] = {"button": BUTTON, "overflow": OVERFLOW, **SELECTS, **PICKERS}
TYPED: dict[str, Check] = {
    "placeholder": plain(150),
    "initial_value": string(3000, least=0),
    "focus_on_load": boolean,
    "dispatch_action_config": mapping,
}
INPUTS: dict[str, Shape] = {
    **SELECTS,
    **PICKERS,
    "plain_text_input": element({**TYPED, "multiline": boolean, "min_length": number, "max_length": number}),
    "number_input": element(
        {**TYPED, "is_decimal_allowed": boolean, "min_value": anything, "max_value": anything}, ["is_decimal_allowed"]
    ),
    "email_text_input": element(TYPED),
    "url_text_input": element(TYPED),
    "rich_text_input": element({**TYPED, "initial_value": mapping}),
    "file_input": element({"filetypes": items(string(20), 100), "max_files": number}),
}
IN_CONTEXT: dict[str, Shape] = {**text_shapes(3000), "image": IMAGE}

MESSAGE, MODAL, HOME = "message", "modal", "home"
EVERYWHERE = (MESSAGE, MODAL, HOME)
RICH_TEXT: dict[str, Check] = {"elements": items(mapping, 10_000, least=0)}
CELLS: dict[str, Shape] = {
    "raw_text": Shape({"type": anything, "text": string(3000)}, ["text"]),
    "raw_number": Shape({"type": anything, "text": anything, "value": anything, "number": anything}),
    "rich_text": Shape({"type": anything, "block_id": string(255), **RICH_TEXT}, ["elements"]),
}
TASK_CARD = Shape(
    {
        "type": anything,
        "block_id": string(255),
        "task_id": string(255),
        "title": string(3000),
        "status": choice("pending", "in_progress", "complete", "error"),
        "details": mapping,
        "output": mapping,
        "sources": items(mapping, 100, least=0),
    },
    ["task_id", "title", "status"],
)


@dataclass(frozen=True)
class Kind:
    """A block: the surfaces that show it, its fields besides type and block_id."""

    fields: Mapping[str, Check]
    required: Sequence[str] = ()
    any_of: Sequence[str] = ()
    surfaces: Sequence[str] = field(default=EVERYWHERE)

    @property
    def shape(self) -> Shape:
        return Shape({"type": anything, "block_id": string(255), **self.fields}, self.required, self.any_of)


KINDS: dict[str, Kind] = {
    "section": Kind(
        {
            "text": text(3000),
            "fields": items(text(2000), 10),
            "accessory": typed({**CLICKABLE, "image": IMAGE}),
            "expand": boolean,
        },
        any_of=["text", "fields"],
    ),
    "header": Kind({"text": plain(150)}, ["text"]),
    "divider": Kind({}),
    "image": Kind({**IMAGE_FIELDS, "title": plain(2000)}, ["alt_text"], ["image_url", "slack_file"]),
    "actions": Kind({"elements": items(typed(CLICKABLE), 25)}, ["elements"]),
    "context": Kind({"elements": items(typed(IN_CONTEXT), 10)}, ["elements"]),
    "context_actions": Kind({"elements": items(mapping, 5)}, ["elements"], surfaces=[MESSAGE]),
    "input": Kind(
        {
            "label": plain(2000),
            "element": typed(INPUTS),
            "hint": plain(2000),
            "optional": boolean,
            "dispatch_action": boolean,
        },
        ["label", "element"],
    ),
    "rich_text": Kind(RICH_TEXT, ["elements"]),
    "markdown": Kind({"text": string(12_000)}, ["text"], surfaces=[MESSAGE]),
    "table": Kind(
        {
            "rows": items(items(typed(CELLS), 20), 100),
            "column_settings": items(anything, 20, least=0),
        },
        ["rows"],
        surfaces=[MESSAGE],
    ),
    "plan": Kind(
        {"title": string(3000), "tasks": items(typed({"task_card": TASK_CARD}), 50, least=0)},
        ["title"],
        surfaces=[MESSAGE],
    ),
    "task_card": Kind(TASK_CARD.fields, TASK_CARD.required, surfaces=[MESSAGE]),
    "alert": Kind(
        {"text": text(200), "level": choice("default", "info", "warning", "error", "success")},
        ["text"],
        surfaces=[MODAL],
    ),
}
MOST_BLOCKS = {MESSAGE: 50, MODAL: 100, HOME: 100}


def faults_in_blocks(blocks: Any, surface: str, path: str = "/blocks") -> list[str]:
    """Everything wrong with the blocks of a message, modal or home tab, first to last."""
    shapes = {name: kind.shape for name, kind in KINDS.items() if surface in kind.surfaces}
    found = list(items(typed(shapes), MOST_BLOCKS[surface], least=0)(blocks, path))
    if not found:
        found += [*_repeated_block_ids(blocks, path), *_repeated_action_ids(blocks, path), *_crowded(blocks, path)]
    return found


def interactive(block: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The elements of a block that a person can use."""
    if block["type"] == "actions":
        return list(block["elements"])
    single = block.get("accessory") or (block.get("element") if block["type"] == "input" else None)
    return [single] if single and single["type"] != "image" else []


def _repeated_block_ids(blocks: list[dict[str, Any]], path: str) -> Iterator[str]:
    seen: set[str] = set()
    for index, block in enumerate(blocks):
        block_id = block.get("block_id")
        if block_id in seen:
            yield fault(f"`block_id` {block_id} already exists", f"{path}/{index}/block_id")
        if block_id:
            seen.add(block_id)


def _repeated_action_ids(blocks: list[dict[str, Any]], path: str) -> Iterator[str]:
    for index, block in enumerate(blocks):
        ids = [part["action_id"] for part in interactive(block) if part.get("action_id")]
        for repeated in sorted({one for one in ids if ids.count(one) > 1}):
            yield fault(f"`action_id` {repeated} already exists", f"{path}/{index}")


def _crowded(blocks: list[dict[str, Any]], path: str) -> Iterator[str]:
    kinds = [block["type"] for block in blocks]
    if kinds.count("table") > 1:
        yield fault("only one table allowed", path)
    if "plan" in kinds and "task_card" in kinds:
        yield fault("plan and task_card are mutually exclusive", path)
    if sum(len(block["text"]) for block in blocks if block["type"] == "markdown") > 12_000:
        yield fault("markdown blocks must be less than 12001 characters in total", path)


VIEW_FIELDS: dict[str, Check] = {
    "type": choice(MODAL, HOME),
    "title": plain(24),
    "submit": plain(24),
    "close": plain(24),
    "blocks": anything,
    "private_metadata": string(3000, least=0),
    "callback_id": string(255, least=0),
    "external_id": string(255, least=0),
    "clear_on_close": boolean,
    "notify_on_close": boolean,
    "submit_disabled": boolean,
}


def faults_in_view(view: Any) -> list[str]:
    """Everything wrong with a modal or a home tab."""
    kind = view.get("type") if isinstance(view, dict) else None
    required = ["type", "blocks", *(["title"] if kind == MODAL else [])]
    found = list(shaped(Shape(VIEW_FIELDS, required))(view, "/view"))
    if found or not isinstance(kind, str):
        return found
    found = faults_in_blocks(view["blocks"], kind, "/view/blocks")
    if not found and kind == MODAL and not view.get("submit") and any(b["type"] == "input" for b in view["blocks"]):
        found.append(fault("missing required field: submit", "/view"))
    return found


def faults_in_metadata(metadata: Any) -> list[str]:
    shape = Shape(
        {"event_type": string(255), "event_payload": mapping, "entities": items(mapping, 100)},
        [] if isinstance(metadata, dict) and "entities" in metadata else ["event_type", "event_payload"],
    )
    return list(shaped(shape)(metadata, "/metadata"))
