"""A message as plain text, for a terminal: what it says, without Slack's signs."""

import re
from collections.abc import Iterator
from typing import Any

from bot.views.blocks import Message

SIGNS = {
    "white_check_mark": "✓",
    "x": "✗",
    "no_entry": "✗",
    "no_entry_sign": "✗",
    "warning": "!",
    "arrow_forward": "→",
    "hourglass_flowing_sand": "…",
    "white_circle": "·",
}
"""Of the emoji that carry the meaning of a line; the others only mark it."""
DATE = re.compile(r"<!date\^[^|>]*\|([^>]*)>")
LINK = re.compile(r"<(?:https?://[^|>]*)\|([^>]*)>")
MENTION = re.compile(r"<([@#][A-Z0-9]+)(?:\|[^>]*)?>")
EMOJI = re.compile(r":([a-z0-9_+-]+): ?")
STRONG = re.compile(r"(?<![\w*])\*([^*\n]+)\*(?![\w*])")


def plain(message: Message) -> list[str]:
    """Its lines, buttons left out."""
    return [line for block in message["blocks"] for text in _texts(block) for line in _words(text).split("\n") if line]


def _texts(block: dict[str, Any]) -> Iterator[str]:
    if block["type"] == "section":
        yield block["text"]["text"]
    elif block["type"] == "context":
        yield from (one["text"] for one in block["elements"])


def _words(text: str) -> str:
    parts = text.split("```")
    shown = [part.strip("\n") if at % 2 else _unmarked(part) for at, part in enumerate(parts)]
    return _unescaped("\n".join(part for part in shown if part.strip()))


def _unmarked(text: str) -> str:
    text = MENTION.sub(r"\1", LINK.sub(r"\1", DATE.sub(r"\1", text)))
    return EMOJI.sub(lambda found: _sign(found[1]), STRONG.sub(r"\1", text))


def _sign(name: str) -> str:
    return f"{SIGNS[name]} " if name in SIGNS else ""


def _unescaped(text: str) -> str:
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
