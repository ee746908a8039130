"""What people read of a message, and what Slack would not take."""

import re
from collections.abc import Iterator
from typing import Any

from bot.views import thread
from bot.views.blocks import Message
from lifecycle.operation import Operation
from sandbox.slack.blocks import MESSAGE, faults_in_blocks
from tests.bot.views.world import recorded

OWN_MARKUP = re.compile(
    r"<@U0[A-Z]+>|<!subteam\^S0[A-Z]+>|<#C0[A-Z]+>|<!date\^\d+\^\{date_short_pretty\} \{time_secs\}\|[-0-9: ]+UTC>|"
    r"<https://tml\.slack\.com/[^<>|]+\|[-A-Za-z0-9 ]+>"
)
"""What the bot itself writes between angle brackets: people, channels, times, links to messages."""


def texts(value: Any) -> Iterator[str]:
    """Every text in it that Slack reads as mrkdwn."""
    if isinstance(value, dict):
        if value.get("type") == "mrkdwn":
            assert value["verbatim"] is True, "or Slack makes links of addresses that nobody wrote as links"
            yield value["text"]
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from texts(item)


def plain(text: str) -> str:
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def wrong_with(shown: Message) -> list[str]:
    """What Slack would refuse, and what of somebody else's words would be more than words."""
    wrong = faults_in_blocks(shown["blocks"], MESSAGE)
    if not shown["blocks"]:
        wrong.append("no blocks")
    if len(plain(shown["text"])) > 99:
        wrong.append("a notification that is too long")
    for text in [shown["text"], *texts(shown["blocks"])]:
        wrong += wrong_in(text)
    return wrong


def wrong_in(text: str) -> list[str]:
    wrong = []
    if set("<>") & set(OWN_MARKUP.sub("", text)):
        wrong.append(f"markup: {text[:200]!r}")
    if text.count("```") and not (text.count("```") == 2 and text.startswith("```\n") and text.endswith("\n```")):
        wrong.append(f"a fence: {text[:200]!r}")
    if any(ord(sign) < 32 and sign not in "\n\t" for sign in text) or "\u202e" in text:
        wrong.append(f"control characters: {text[:200]!r}")
    text.encode()  # no halves of characters
    return wrong


def words(shown: Message) -> str:
    return "\n".join(texts(shown["blocks"]))


def finish(one: Operation) -> str:
    """The end of its thread."""
    reply = thread.thread(one, [recorded(9, "finished", {})])
    assert reply is not None
    return words(reply)
