"""Block Kit in the few shapes this bot uses, within Slack's limits (docs.slack.dev/block-kit)."""

import re
import unicodedata
from collections.abc import Sequence
from typing import Any

Block = dict[str, Any]
Message = dict[str, Any]
"""What chat.postMessage and response_url take: text and blocks."""

SECTION_LIMIT = 3000
ALERT_LIMIT = 200
BLOCK_LIMIT = 50
MODAL_LIMIT = 100
NOTIFICATION_LIMIT = 99
"""Characters: people read the notification text on a phone at night."""
LONGEST_QUOTE = 500
"""Characters of one foreign text; escaped they are still less than a section."""
FENCE = re.compile("`{3,}")
CUT_MARKUP = re.compile(r"(<[^<>]*|&[a-z]{0,3})$")
"""The beginning of a mention, link, date or entity whose end was cut off."""
UNSEEN = frozenset({"Cc", "Cs"})
"""Control characters and halves of characters: nobody sees them, and terminals and parsers choke on them."""
TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""They let text be read in another order than it stands."""


def escape(text: str) -> str:
    """Text that Slack shows as it is: no mention, link, alarm or end of a code block can be made of it."""
    seen = "".join(sign for sign in text if sign in "\n\t" or not _is_unseen(sign))
    return FENCE.sub("'''", seen).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _is_unseen(sign: str) -> bool:
    return sign in TURNING or unicodedata.category(sign) in UNSEEN


def clipped(text: str, limit: int) -> str:
    """At most ``limit`` characters, the cut marked."""
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def quoted(text: str, limit: int = LONGEST_QUOTE) -> str:
    """What somebody else wrote, escaped and on one line: it can pass for no line of the bot's."""
    return escape(clipped(" ".join(text.split()), limit))


def section(markdown: str) -> Block:
    return {"type": "section", "text": _mrkdwn(markdown)}


def alert(markdown: str) -> Block:
    """A notice in red, on its own; Slack shows it in modals only, and not in every workspace yet."""
    return {"type": "alert", "level": "error", "text": _mrkdwn(clipped(markdown, ALERT_LIMIT))}


def without_alerts(blocks: Sequence[Block]) -> list[Block]:
    """The same for a workspace that does not know them."""
    return [section(f":red_circle: {one['text']['text']}") if one["type"] == "alert" else one for one in blocks]


def context(markdown: str) -> Block:
    return {"type": "context", "elements": [_mrkdwn(markdown)]}


def _mrkdwn(markdown: str) -> Block:
    """``verbatim``: Slack makes no links of addresses and names that were not written as links."""
    text = markdown
    if len(text) > SECTION_LIMIT:
        text = CUT_MARKUP.sub("", text[: SECTION_LIMIT - 1]) + "…"
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def paragraph(lines: Sequence[str]) -> list[Block]:
    """Lines in as many sections as they need."""
    return [section("\n".join(part)) for part in _parts(lines)]


def preformatted(lines: Sequence[str]) -> list[Block]:
    """Fixed-width text, in as many sections as it needs; a line is never torn apart and cannot end the code block."""
    parts = _parts([escape(clipped(line, LONGEST_QUOTE)) for line in lines])
    return [section("\n".join(["```", *part, "```"])) for part in parts]


def _parts(lines: Sequence[str]) -> list[list[str]]:
    """The lines in parts that fit into a section, also within a fence."""
    parts: list[list[str]] = []
    room = 0
    for line in lines:
        if len(line) + 1 > room:
            parts.append([])
            room = SECTION_LIMIT - 10
        parts[-1].append(line)
        room -= len(line) + 1
    return parts


def button(text: str, action: str, value: str, style: str | None = None) -> Block:
    """A button; ``value`` is an opaque id, never authority."""
    made: Block = {
        "type": "button",
        "text": {"type": "plain_text", "text": text},
        "action_id": action,
        "value": value,
    }
    return {**made, "style": style} if style else made


def asking_first(made: Block, title: str, question: str, yes: str, no: str) -> Block:
    """The button with a dialog in front of it: for what is pressed among messages that everybody reads."""
    texts = {"title": title, "text": question, "confirm": yes, "deny": no}
    return {**made, "confirm": {name: {"type": "plain_text", "text": text} for name, text in texts.items()}}


def actions(*buttons: Block) -> Block:
    return {"type": "actions", "elements": list(buttons)}


def message(text: str, blocks: Sequence[Block]) -> Message:
    """A message; ``text``, not yet escaped, is what notifications and screen readers use."""
    return {"text": quoted(text, NOTIFICATION_LIMIT), "blocks": _fitting(blocks)}


def _fitting(blocks: Sequence[Block]) -> list[Block]:
    """At most as many as Slack takes; the buttons are kept, and what stands below them."""
    buttons = next((number for number, block in enumerate(blocks) if block["type"] == "actions"), len(blocks))
    return shortened(blocks[:buttons], BLOCK_LIMIT - len(blocks) + buttons) + list(blocks[buttons:])


def shortened(blocks: Sequence[Block], limit: int) -> list[Block]:
    """At most ``limit`` of them, the cut said."""
    if len(blocks) <= limit:
        return list(blocks)
    return [*blocks[: limit - 1], context(f"… and {len(blocks) - limit + 1} more")]
