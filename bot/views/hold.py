"""A hold, wherever it is shown."""

from collections.abc import Sequence

from bot.views.blocks import Message, context, escape, message, quoted, section
from bot.views.words import duration, mention, when
from lifecycle.hold import Hold
from lifecycle.operation import Operation
from storage.audit import Recorded

SIGN = ":lock:"


def headline(hold: Hold) -> str:
    return f"{hold.cluster} is {'no longer held' if hold.released_at else 'held'}: {hold.reason}"


def live(hold: Hold) -> Message:
    """In the cluster's channel, as long as it is held and after."""
    text = headline(hold)
    lead = f"{':white_check_mark:' if hold.released_at else SIGN} *{quoted(text)}*"
    return message(text, [section(f"{lead}\n{_whose(hold)}"), context(f"{escape(hold.id)}{_since(hold)}")])


def _whose(hold: Hold) -> str:
    if hold.released_at and hold.released_by:
        return f"{mention(hold.person)} held it for {duration(hold.released_at - hold.since)}, {_end(hold)}."
    return f"{mention(hold.person)} holds it: {_way_out(hold)}"


def _end(hold: Hold) -> str:
    assert hold.released_by
    return f"{mention(hold.released_by)} let go"


def _way_out(hold: Hold) -> str:
    return f"nothing begins on it until somebody lets go, `/tml release {escape(hold.cluster)}`"


def _since(hold: Hold) -> str:
    return f" · since {when(hold.since)}"


def thread(hold: Hold, entries: Sequence[Recorded]) -> Message | None:
    """That it was let go."""
    if not hold.released_by or not any(entry.kind == "released" for entry in entries):
        return None
    return message(headline(hold), [context(f":white_check_mark: {_end(hold)}")])


def held(hold: Hold, running: Operation | None) -> Message:
    """The answer to who holds it."""
    text = f"{hold.cluster} is held ({hold.id})"
    goes_on = f"\n{escape(running.id)} goes on; `/tml cancel {escape(running.id)}` ends it." if running else ""
    return message(text, [section(f"{SIGN} *{escape(text)}*: {_way_out(hold)}.{goes_on}")])


def released(hold: Hold) -> Message:
    """The answer to who let go."""
    text = f"{hold.cluster} is held no more"
    by = f"{mention(hold.person)} had held it since {when(hold.since)}: {quoted(hold.reason)}"
    return message(text, [section(f":white_check_mark: *{escape(text)}*\n{by}")])


def note(hold: Hold) -> str:
    """In a line of something else."""
    return f"{SIGN} held by {mention(hold.person)} since {when(hold.since)}: {quoted(hold.reason)}"


def above(hold: Hold | None, shown: Message) -> Message:
    """What is shown of a cluster, with its hold first."""
    return {**shown, "blocks": [section(note(hold)), *shown["blocks"]]} if hold else shown
