"""What people see, as plain text: mrkdwn with names in place of ids, blocks, threads."""

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

from sandbox.slack.workspace import Json, Message, Typed, View, Workspace

EMOJI = {
    "white_check_mark": "✅",
    "heavy_check_mark": "✔️",
    "warning": "⚠️",
    "x": "❌",
    "hourglass_flowing_sand": "⏳",
    "hourglass": "⌛",
    "octagonal_sign": "🛑",
    "arrow_forward": "▶️",
    "arrows_counterclockwise": "🔄",
    "lock": "🔒",
    "eyes": "👀",
    "information_source": "ℹ️",
    "mag": "🔍",
    "no_entry": "⛔",
    "no_entry_sign": "🚫",
    "white_circle": "⚪",
    "bell": "🔔",
    "camera_with_flash": "📸",
    "wastebasket": "🗑️",
    "checkered_flag": "🏁",
    "raised_hand": "✋",
    "recycle": "♻️",
    "leftwards_arrow_with_hook": "↩️",
    "floppy_disk": "💾",
    "grey_question": "❔",
    "pause_button": "⏸️",
    "pushpin": "📌",
    "rotating_light": "🚨",
    "red_circle": "🔴",
}
ALERT_SIGNS = {"error": "🟥", "warning": "🟧", "success": "🟩", "info": "🟦"}
TASK_SIGNS = {"pending": "○", "in_progress": "◐", "complete": "●", "error": "✗"}
ANGLED = re.compile(r"<([^<>]*)>")
NAMED_EMOJI = re.compile(r":([a-z0-9_+-]+):")
STRONG = re.compile(r"(?<![\w*])\*([^*\n]+)\*(?![\w*])")
FENCE = re.compile(r"```\n?(.*?)\n?```", re.DOTALL)


def mrkdwn(source: str, workspace: Workspace) -> str:
    """Mentions, links, dates, emoji and entities as they are seen; a fenced part stands as it is, on its own lines."""
    parts = FENCE.split(source)
    shown = []
    for index, part in enumerate(parts):
        if index % 2:
            shown.append(unescape(_references(part, workspace)))
        elif part.strip("\n") or len(parts) == 1:
            text = unescape(NAMED_EMOJI.sub(_emoji, STRONG.sub(r"\1", _references(part, workspace))))
            shown.append(text.strip("\n") if len(parts) > 1 else text)
    return "\n".join(shown)


def unescape(text: str) -> str:
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def _emoji(match: re.Match[str]) -> str:
    return EMOJI.get(match.group(1), match.group(0))


def _references(text: str, workspace: Workspace) -> str:
    return ANGLED.sub(lambda match: _reference(match.group(1), workspace), text)


def _reference(inside: str, workspace: Workspace) -> str:
    target, _, label = inside.partition("|")
    if target.startswith("@"):
        user = workspace.users.get(target[1:])
        return f"@{user.name if user else label or target[1:]}"
    if target.startswith("#"):
        channel = workspace.channels.get(target[1:])
        return f"#{channel.name if channel else label or target[1:]}"
    if target.startswith("!date^"):
        return _date(target, label, workspace.clock.wall())
    if target.startswith("!subteam^"):
        group = workspace.groups.get(target.removeprefix("!subteam^"))
        return f"@{group.handle}" if group else label or target
    if target.startswith("!"):
        return f"@{target[1:]}"
    return f"{label} ({target})" if label and label != target else target


def _date(target: str, fallback: str, now: float) -> str:
    _, seconds, pattern, *_ = [*target.split("^"), "", ""]
    if not seconds.lstrip("-").isdigit():
        return fallback
    moment, today = datetime.fromtimestamp(int(seconds), UTC), datetime.fromtimestamp(now, UTC).date()
    shown = re.sub(r"\{(\w+)\}", lambda match: _date_part(match.group(1), moment, today) or match.group(0), pattern)
    return shown or fallback


def _date_part(name: str, moment: datetime, today: date) -> str:
    day = f"{moment.day}{_ordinal(moment.day)}"
    plain = {
        "date_num": f"{moment:%Y-%m-%d}",
        "date": f"{moment:%B} {day}, {moment.year}",
        "date_short": f"{moment:%b} {moment.day}, {moment.year}",
        "date_long": f"{moment:%A, %B} {day}, {moment.year}",
        "time": f"{moment:%H:%M}",
        "time_secs": f"{moment:%H:%M:%S}",
    }
    if name.endswith("_pretty"):
        return _nearby(moment.date(), today) or plain.get(name.removesuffix("_pretty"), "")
    return plain.get(name, "")


def _ordinal(day: int) -> str:
    return "th" if 10 < day % 100 < 14 else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")


def _nearby(day: date, today: date) -> str:
    near = {today: "today", today - timedelta(days=1): "yesterday", today + timedelta(days=1): "tomorrow"}
    return near.get(day, "")


def blocks(given: list[Json], workspace: Workspace) -> list[str]:
    """The blocks as lines."""
    return [line for block in given for line in _block(block, workspace)]


def _block(block: Json, workspace: Workspace) -> list[str]:
    kind = block["type"]
    if kind == "section":
        return list(_section(block, workspace))
    if kind == "header":
        return _text(block["text"], workspace).split("\n")
    if kind == "alert":
        return f"{ALERT_SIGNS.get(block.get('level', ''), '⬜')} {_text(block['text'], workspace)}".split("\n")
    if kind == "divider":
        return ["─" * 24]
    if kind == "context":
        return " · ".join(_element(one, workspace) for one in block["elements"]).split("\n")
    if kind == "actions":
        return [" ".join(_element(one, workspace) for one in block["elements"])]
    if kind == "input":
        label = _text(block["label"], workspace)
        return [f"{label}: {_element(block['element'], workspace)}"]
    return _rich_block(block, workspace)


def _rich_block(block: Json, workspace: Workspace) -> list[str]:
    kind = block["type"]
    if kind == "image":
        return [f"[image: {block['alt_text']}]"]
    if kind == "markdown":
        return str(block["text"]).split("\n")
    if kind == "table":
        return _table(block["rows"], workspace)
    if kind == "plan":
        return [block["title"], *(f"  {_task(one)}" for one in block.get("tasks", []))]
    if kind == "task_card":
        return [_task(block)]
    if kind == "rich_text":
        return rich_text(block, workspace).split("\n")
    return [f"[{kind}]"]


def _section(block: Json, workspace: Workspace) -> Iterator[str]:
    if block.get("text"):
        yield from _text(block["text"], workspace).split("\n")
    for one in block.get("fields") or []:
        yield _text(one, workspace).replace("\n", " ")
    if block.get("accessory"):
        yield _element(block["accessory"], workspace)


def _text(given: Json, workspace: Workspace) -> str:
    if given["type"] == "mrkdwn":
        return mrkdwn(given["text"], workspace)
    return NAMED_EMOJI.sub(_emoji, unescape(given["text"]))


def _element(element: Json, workspace: Workspace) -> str:
    kind = element["type"]
    if kind in ("mrkdwn", "plain_text"):
        return _text(element, workspace)
    if kind == "button":
        return f"[ {_text(element['text'], workspace)} ]"
    if kind == "image":
        return f"[image: {element['alt_text']}]"
    if options := element.get("options"):
        return "[ " + " | ".join(_text(one["text"], workspace) for one in options) + " ]"
    placeholder = element.get("placeholder")
    return f"[ {_text(placeholder, workspace) if placeholder else '…'} ]"


def _task(task: Json) -> str:
    return f"{TASK_SIGNS[task['status']]} {task['title']} ({task['status'].replace('_', ' ')})"


def _table(rows: list[list[Json]], workspace: Workspace) -> list[str]:
    cells = [[_cell(cell, workspace) for cell in row] for row in rows]
    columns = max(len(row) for row in cells)
    widths = [max((len(row[at]) for row in cells if at < len(row)), default=0) for at in range(columns)]
    return ["   ".join(cell.ljust(widths[at]) for at, cell in enumerate(row)).rstrip() for row in cells]


def _cell(cell: Json, workspace: Workspace) -> str:
    if cell["type"] == "rich_text":
        return rich_text(cell, workspace).replace("\n", " ")
    return str(cell.get("text", cell.get("value", cell.get("number", ""))))


def rich_text(block: Json, workspace: Workspace) -> str:
    return "\n".join(_rich_part(part, workspace) for part in block["elements"])


def _rich_part(part: Json, workspace: Workspace) -> str:
    inner = part.get("elements") or []
    if part.get("type") == "rich_text_list":
        numbered = part.get("style") == "ordered"
        lines = [_rich_part(one, workspace) for one in inner]
        return "\n".join(f"{f'{at}.' if numbered else '•'} {line}" for at, line in enumerate(lines, start=1))
    text = "".join(_rich_leaf(one, workspace) for one in inner)
    return "\n".join(f"> {line}" for line in text.split("\n")) if part.get("type") == "rich_text_quote" else text


def _rich_leaf(leaf: Json, workspace: Workspace) -> str:
    kind = leaf.get("type")
    if kind == "user":
        return _reference(f"@{leaf.get('user_id')}", workspace)
    if kind == "channel":
        return _reference(f"#{leaf.get('channel_id')}", workspace)
    if kind == "usergroup":
        return _reference(f"!subteam^{leaf.get('usergroup_id')}", workspace)
    if kind == "emoji":
        return EMOJI.get(str(leaf.get("name")), f":{leaf.get('name')}:")
    if kind == "link":
        return _reference(f"{leaf.get('url')}|{leaf.get('text', '')}", workspace)
    return str(leaf.get("text") or leaf.get("fallback") or "")


def body(one: Message, workspace: Workspace) -> list[str]:
    """A message's lines: its blocks where it has some, as Slack's own clients do, else its text."""
    lines = blocks(one.blocks, workspace) if one.blocks else mrkdwn(one.text, workspace).split("\n")
    lines = [*lines, *(f"[file: {file['title']} ({file['size']} bytes)]" for file in one.files)]
    lines = [line for line in lines if line.strip() or len(lines) > 1]
    if one.edited:
        lines[-1] += " (edited)"
    return lines


def view(one: View, workspace: Workspace) -> str:
    """A modal: title, blocks with the errors below their inputs, the two buttons."""
    lines = [f"┌ {one.title}"]
    for block in one.blocks:
        lines += [f"│ {line}" for line in _block(block, workspace)]
        if block["block_id"] in one.errors:
            lines.append(f"│   ! {one.errors[block['block_id']]}")
    words: list[Any] = [one.content.get("close"), one.content.get("submit")]
    return "\n".join([*lines, "└ " + " ".join(f"[ {word['text']} ]" for word in words if word)])


def transcript(workspace: Workspace, channel: str | None = None) -> str:
    """Every channel, or one, with what was typed and said there; replies stand indented below their parent."""
    places = [one for one in workspace.channels.values() if channel in (None, one.id)]
    parts = [_place(one.id, workspace) for one in places]
    return "\n\n".join(part for part in parts if part)


def _place(channel: str, workspace: Workspace) -> str:
    said: list[Message | Typed] = [one for one in workspace.messages if one.channel == channel and not one.deleted]
    said += [one for one in workspace.typed if one.channel == channel]
    said.sort(key=lambda one: one.ts)
    top = [one for one in said if isinstance(one, Typed) or not one.is_reply]
    lines = [line for one in top for line in _with_replies(one, said, workspace)]
    return "\n".join([place_name(channel, workspace), *lines]) if lines else ""


def place_name(channel: str, workspace: Workspace) -> str:
    place = workspace.channels[channel]
    return f"tml with {workspace.users[place.im_of].name}" if place.im_of else f"#{place.name}"


def _with_replies(one: Message | Typed, said: list[Message | Typed], workspace: Workspace) -> Iterator[str]:
    yield from _entry(one, workspace, "  ")
    if isinstance(one, Typed):
        return
    for reply in said:
        if isinstance(reply, Message) and reply.is_reply and reply.thread_ts == one.ts:
            yield from _entry(reply, workspace, "      ")


def _entry(one: Message | Typed, workspace: Workspace, indent: str) -> Iterator[str]:
    moment = datetime.fromtimestamp(float(one.ts), UTC)
    name = workspace.users[one.user].name
    lines = [one.text] if isinstance(one, Typed) else body(one, workspace)
    if isinstance(one, Message) and one.only_for:
        lines = [f"(only visible to {workspace.users[one.only_for].name})", *lines]
    head = f"{indent}{moment:%H:%M:%S}  {name:<8}  "
    for at, line in enumerate(lines):
        yield (head if at == 0 else " " * len(head)) + line.rstrip()
