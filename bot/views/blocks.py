"""Block Kit in the few shapes this bot uses, within Slack's limits (docs.slack.dev/block-kit)."""

from collections.abc import Sequence
from typing import Any

Block = dict[str, Any]
Message = dict[str, Any]
"""What chat.postMessage and response_url take: text and blocks."""

SECTION_LIMIT = 3000
BLOCK_LIMIT = 50
NOTIFICATION_LIMIT = 99
"""Characters: people read the notification text on a phone at night."""


def escape(text: str) -> str:
    """Text that Slack shows as it is: no mention, no link, no channel-wide alarm can be made of it."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def clipped(text: str, limit: int) -> str:
    """At most ``limit`` characters, the cut marked."""
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def section(markdown: str) -> Block:
    return {"type": "section", "text": {"type": "mrkdwn", "text": clipped(markdown, SECTION_LIMIT)}}


def context(markdown: str) -> Block:
    return {"type": "context", "elements": [{"type": "mrkdwn", "text": clipped(markdown, SECTION_LIMIT)}]}


def preformatted(lines: Sequence[str]) -> list[Block]:
    """Fixed-width text, in as many sections as it needs; a line is never torn apart."""
    blocks: list[Block] = []
    part: list[str] = []
    for line in (escape(clipped(line, 500)) for line in lines):
        if sum(len(kept) + 1 for kept in part) + len(line) > SECTION_LIMIT - 10:
            blocks.append(_fence(part))
            part = []
        part.append(line)
    return [*blocks, _fence(part)] if part else blocks


def _fence(lines: Sequence[str]) -> Block:
    return section("```" + "\n".join(lines) + "```")


def button(text: str, action: str, value: str, style: str | None = None) -> Block:
    """A button; ``value`` is an opaque id, never authority."""
    made: Block = {
        "type": "button",
        "text": {"type": "plain_text", "text": text},
        "action_id": action,
        "value": value,
    }
    return {**made, "style": style} if style else made


def actions(*buttons: Block) -> Block:
    return {"type": "actions", "elements": list(buttons)}


def message(text: str, blocks: Sequence[Block]) -> Message:
    """A message; ``text``, not yet escaped, is what notifications and screen readers use."""
    kept = list(blocks)
    if len(kept) > BLOCK_LIMIT:
        kept = [*kept[: BLOCK_LIMIT - 1], context(f"… and {len(kept) - BLOCK_LIMIT + 1} more")]
    return {"text": escape(clipped(text, NOTIFICATION_LIMIT)), "blocks": kept}
