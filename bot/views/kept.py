"""What is kept, and how it goes: the list, the notice before a purge, and the purge itself."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from bot.views.blocks import Block, Message, actions, button, context, escape, message, paragraph, quoted, section
from bot.views.snapshots import row
from bot.views.verification import left_behind
from bot.views.words import duration, listed, mention, when
from lifecycle.model import Kind, Verb
from lifecycle.operation import Goal, Operation
from lifecycle.plain import from_plain
from lifecycle.quantity import gibibytes, in_bytes
from lifecycle.retention import Purging
from lifecycle.verification import Leftover
from lifecycle.volumes import Volume
from storage.audit import Recorded
from storage.retention import KeptVolumes, Notice, NoticeState, Pin, Records
from storage.snapshots import Kept

LISTED, OTHERS = 15, 6
"""Sets, and of each other kind, that are listed: each set takes two of Slack's 50 blocks."""

FOR_GOOD = "Nothing brings it back: neither `/tml restore` nor this bot."


def kept(cluster: str, records: Records, now: datetime, namespace: str = "", left: Sequence[Leftover] = ()) -> Message:
    """What restore tests and failed sets left and the volumes that are kept, then the sets: each newest first."""
    text = f"Snapshot sets and kept volumes of {cluster}"
    rows = [block for one in records.sets[:LISTED] for block in _set_rows(one, records.pins.get(one.content.id), now)]
    if len(records.sets) > LISTED:
        rows.append(context(f"and {len(records.sets) - LISTED} older sets"))
    if not records.sets:
        take = f"`/tml snapshot {escape(cluster)}` takes one."
        rows.append(section(f"*Sets*\nThere is none that this bot took and saw ready. {take}"))
    others = [section(_volumes_row(one, now)) for one in reversed(records.volumes[-OTHERS:])]
    others += [section(_failed_row(one, now)) for one in reversed(records.failed[-OTHERS:])]
    return message(text, [section(f"*{escape(text)}*"), *left_behind(namespace, left), *others, *rows])


def _set_rows(one: Kept, pin: Pin | None, now: datetime) -> list[Block]:
    identity = one.content.id
    said = f"\n:pushpin: pinned by {mention(pin.person)}, {duration(now - pin.at)} ago: it stays" if pin else ""
    kinds = (("Restore", "restore_set"), ("Verify", "verify"), ("Unpin", "unpin") if pin else ("Pin", "pin"))
    buttons = actions(*(button(label, action, identity) for label, action in kinds))
    return [section(row(one, now) + said), {**buttons, "block_id": identity}]


def _volumes_row(one: KeptVolumes, now: datetime) -> str:
    by, keeping = one.by, one.keeping
    volumes = by.goal.volumes
    size = gibibytes(sum(in_bytes(volume.capacity) for volume in volumes))
    because = f", because {quoted(by.reason)}" if by.reason else ""
    until = "until `/tml purge`" if keeping.until is None else f"until {when(keeping.announced_for or keeping.until)}"
    claims = listed([quoted(volume.claim) for volume in volumes])
    return (
        f":floppy_disk: *{escape(by.id)}* kept volumes · {duration(now - keeping.removed_at)} old, kept {until} · "
        f"{len(volumes)} volumes, {size}: {claims}\n{mention(by.requester)} ({by.verb.words}){because}"
    )


def _failed_row(failed: Operation, now: datetime) -> str:
    """What was seen of it last; ``/tml plan purge`` looks what is there still."""
    ended = failed.ended_at or failed.begun_at
    seen = failed.outcome.snapshots if failed.outcome else ()
    names = listed([quoted(one.name) for one in seen]) if seen else "unknown how many"
    because = f", because {quoted(failed.reason)}" if failed.reason else ""
    return (
        f":warning: *{escape(failed.id)}* is no set: it failed, and left VolumeSnapshots behind · "
        f"{duration(now - ended)} old · {names}\n{mention(failed.requester)} ({failed.verb}){because}"
    )


# what becomes of kept volumes


def promised(goal: Goal) -> list[str]:
    """On the card of what keeps volumes."""
    if not (goal.keeps and goal.volumes):
        return []
    told = "and then destroyed for good; the channel is told before, with a button to keep them longer."
    return [f"Kept for *{duration(goal.keeps)}*, {told}"]


def dated(operation: Operation) -> list[str]:
    """At the end of it."""
    goal = operation.goal
    if not (goal.keeps and goal.volumes and operation.ended_at):
        return []
    until = when(operation.ended_at + goal.keeps)
    return [f"They are kept until {until}, and then destroyed for good; this channel is told before"]


# a purge


def planned(goal: Goal) -> list[str]:
    """On the card: what is gone for good, and what stays and why."""
    purging = goal.purging
    if purging is None:
        return []
    lines = [f":rotating_light: *Destroyed for good.* {FOR_GOOD}", *_going(goal, purging)]
    if goal.parts:
        lines.append(
            f"• what {listed([escape(one) for one in purging.captures])} wrote down of its objects (the capture)"
        )
    if purging.guard:
        lines.append(":information_source: the newest snapshot set has to be whole as long as it takes")
    return lines + [f":lock: {escape(one)} stays: {quoted(why)}" for one, why in sorted(purging.stays.items())]


def _going(goal: Goal, purging: Purging) -> list[str]:
    lines = [_volume_line(one) for one in goal.volumes]
    for identity in purging.sets:
        snapshots = [one for one in purging.doomed if one.set == identity]
        claims = listed([quoted(one.claim) for one in snapshots if one.claim])
        group = " and their volume group" if any(one.kind is Kind.GROUP for one in snapshots) else ""
        lines.append(f"• set {escape(identity)}: the snapshots of {claims}{group}, with their data")
    return lines


def _volume_line(volume: Volume) -> str:
    what = f"• volume {quoted(volume.name)} of {quoted(volume.claim)}, {quoted(volume.capacity)}"
    if volume.policy_before == "Delete":
        return f"{what}, with its data"
    return f"{what}: it gets back its policy {quoted(volume.policy_before)}; *its disk stays* and is removed by hand"


def finished(operation: Operation) -> list[str]:
    """At the end of a purge that reached its goal."""
    goal, took = operation.goal, duration((operation.ended_at or operation.begun_at) - operation.begun_at)
    lines = [f":wastebasket: *Purged* after {took}; every object was seen gone:"]
    assert goal.purging
    lines += _going(goal, goal.purging)
    left = [one for one in goal.volumes if one.policy_before != "Delete"]
    lines += [
        f":warning: volume {quoted(one.name)} is left with its policy {quoted(one.policy_before)}: "
        f"`kubectl delete persistentvolume {quoted(one.name)}` removes the object, and its disk "
        f"({quoted(one.handle or one.driver or 'see the object')}) is removed in the storage"
        for one in left
    ]
    return lines


# the notice


def headline(notice: Notice) -> str:
    match notice.state:
        case NoticeState.OPEN:
            return f"Kept volumes of {notice.cluster} are about to be purged"
        case NoticeState.EXTENDED:
            return f"Kept longer: the volumes of {notice.cluster}"
        case NoticeState.BEGUN:
            return f"The purge of {notice.cluster} has begun ({notice.operation})"
        case NoticeState.VOID:
            return f"Nothing to purge of {notice.cluster} any more"


def notice_live(notice: Notice, entries: Sequence[Recorded]) -> Message:
    """What goes when, with the button as long as it can be pressed."""
    symbol = {
        NoticeState.OPEN: ":bell:",
        NoticeState.EXTENDED: ":white_check_mark:",
        NoticeState.BEGUN: ":wastebasket:",
        NoticeState.VOID: ":leftwards_arrow_with_hook:",
    }
    lines = [f"{symbol[notice.state]} *{escape(headline(notice))}*", *_what(notice, entries)]
    blocks = [*paragraph(lines)]
    if notice.state is NoticeState.OPEN:
        blocks.append(actions(button("Keep longer", "keep-longer", notice.id)))
    return message(headline(notice), [*blocks, context(f"{escape(notice.id)} · {escape(notice.by)}")])


def _what(notice: Notice, entries: Sequence[Recorded]) -> list[str]:
    match notice.state:
        case NoticeState.OPEN:
            first = next((entry for entry in entries if entry.kind == "notice"), None)
            volumes = from_plain(tuple[Volume, ...], first.data["volumes"]) if first else ()
            held = [f":pause_button: it is time, but: {quoted(notice.held)}"] if notice.held else []
            going = f"What {escape(notice.by)} kept is destroyed *for good* {when(notice.due_at)}."
            return [
                f"{going} {_way_back(notice, first)}",
                *(f"• {quoted(one.claim)}: volume {quoted(one.name)}, {quoted(one.capacity)}" for one in volumes),
                *held,
            ]
        case NoticeState.EXTENDED:
            assert notice.kept_until
            assert notice.person
            return [f"{mention(notice.person)} keeps them until {when(notice.kept_until)}; it is told again before."]
        case NoticeState.BEGUN:
            return [f"Follow {escape(notice.operation or '')} in this channel."]
        case NoticeState.VOID:
            return ["They were restored, or somebody removed them without the bot."]


def _way_back(notice: Notice, told: Recorded | None) -> str:
    """Before it is too late; what a restore in place took out of use the bot never binds again."""
    cluster = escape(notice.cluster)
    if told and told.data.get("verb") == Verb.RESTORE_IN_PLACE:
        return f"A restore in place took it out of use; `/tml snapshots {cluster}` lists the sets to go back to."
    return f"`/tml restore {cluster}` before that brings everything back."


def notice_thread(_notice: Notice, entries: Sequence[Recorded]) -> Message | None:
    """What became of it, in order; None when these entries have nothing to say."""
    lines = [NOTICED[entry.kind](entry) for entry in entries if entry.kind in NOTICED]
    return message(lines[0], [context("\n".join(lines))]) if lines else None


def _until(entry: Recorded) -> str:
    return when(datetime.fromisoformat(entry.data["until"]))


def _actor(entry: Recorded) -> str:
    return mention(entry.actor) if entry.actor else "somebody"


NOTICED: Mapping[str, Callable[[Recorded], str]] = {
    "notice-extended": lambda entry: f":white_check_mark: {_actor(entry)} keeps them until {_until(entry)}",
    "notice-held": lambda entry: f":pause_button: not begun: {quoted(entry.data['why'])} It is tried again.",
    "notice-begun": lambda entry: f":arrow_forward: begun as {escape(entry.data['operation'])}",
    "notice-void": lambda entry: (
        ":leftwards_arrow_with_hook: restored meanwhile: nothing is purged"
        if entry.data["why"] == "restored"
        else ":leftwards_arrow_with_hook: nothing of it is left"
    ),
}


def notice_bare(notice: Notice) -> Message:
    """In place of a notice that Slack does not take."""
    text = f"{headline(notice)}. /tml snapshots {notice.cluster} shows them"
    return message(text, [section(f"*{quoted(text)}*")])


def kept_longer(notice: Notice) -> Message:
    """To whoever pressed."""
    assert notice.kept_until
    text = f"The volumes of {notice.cluster} are kept longer."
    return message(text, [section(f":white_check_mark: {escape(text)} Until {when(notice.kept_until)}.")])
