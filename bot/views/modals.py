"""Modals: the frame, what is typed into them, and their last page."""

from collections.abc import Mapping, Sequence
from typing import Any

from bot.views.blocks import Block, Message, without_alerts

NAME, REASON = "name", "reason"
"""The inputs, by block and action."""
AT_INPUT = {
    "wrong-name": (
        NAME,
        "That is not the name of the cluster, so nothing was decided. Type it exactly as it stands above.",
    ),
    "reason-missing": (REASON, "Say why, so that an approver can judge it. Nothing was asked for yet."),
}
"""By the refusal's code: where it is shown, so that it can be typed again, in words that send nobody away from it."""


def form(name: str, about: str, title: str, submit: str, blocks: Sequence[Block]) -> dict[str, Any]:
    """Nothing in it is authority but the id of what it is about, which is looked up when it comes back."""
    return {
        "type": "modal",
        "callback_id": name,
        "private_metadata": about,
        "title": _plain(title[:24]),
        "submit": _plain(submit),
        "close": _plain("Leave it"),
        "blocks": list(blocks),
    }


def text_input(name: str, label: str, *, optional: bool) -> Block:
    element = {"type": "plain_text_input", "action_id": name, "max_length": 500}
    return {"type": "input", "block_id": name, "optional": optional, "label": _plain(label[:150]), "element": element}


def _plain(text: str) -> Block:
    return {"type": "plain_text", "text": text}


def errors(code: str) -> Mapping[str, str]:
    """Below the input that this refusal is about."""
    return dict([AT_INPUT[code]])


def plainer(view: dict[str, Any]) -> dict[str, Any]:
    """The same modal in blocks that every workspace knows."""
    return {**view, "blocks": without_alerts(view["blocks"])}


def page(answer: Message) -> dict[str, Any]:
    """The modal's last page: an answer, and nothing left to submit."""
    return {"type": "modal", "title": _plain("tml-bot"), "close": _plain("Close"), "blocks": answer["blocks"]}
