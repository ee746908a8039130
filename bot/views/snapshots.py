"""Snapshot sets as people see them: in a plan, in a thread, and as a list."""

import shlex
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from bot.views.blocks import Message, actions, button, context, escape, message, paragraph, quoted, section
from bot.views.modals import REASON, form, text_input
from bot.views.verification import known
from bot.views.words import duration, listed, mention, when
from lifecycle.model import Verb
from lifecycle.operation import Goal, Operation, State
from lifecycle.plan import Plan
from lifecycle.quantity import gibibytes
from lifecycle.quiescing import HotCommands, Quiescence
from lifecycle.snapshots import MAY_NOT_EXECUTE, Cutting, Ending, Flush, SnapshotSet, Temperature, Unsaved
from lifecycle.volumes import Volume
from storage.proposals import Proposal
from storage.snapshots import Kept

MODAL = "restore_set"
ENDING = {
    Ending.CLEAN: ":white_check_mark: clean: every database container was seen to end by itself",
    Ending.KILLED: ":warning: a database was killed (exit 137): it will recover on start",
    Ending.UNSEEN: ":warning: the end of a database was not seen: unknown whether it was clean",
    Ending.RUNNING: ":information_source: the pods ran: databases recover on start",
}


def planned(goal: Goal) -> list[str]:
    """What a plan says of its set: which volumes are cut, and which are not and why."""
    cutting = goal.cutting
    if cutting is None:
        return []
    lines = [_kind(cutting)] if cutting.members else ["*No snapshots* are taken:"]
    apart = [f"• not as one volume group: {quoted(cutting.apart, 500)}"] if cutting.apart else []
    told = [*lines, *apart, *_commands(cutting.commands), *unsaved_lines(cutting.unsaved)]
    return [*told, *_unflushed(cutting), *written_down(goal)]


def _commands(commands: HotCommands | None) -> list[str]:
    """What is run around the cut, word for word."""
    if commands is None:
        return []
    where = f"in a pod of {commands.component}"
    return [
        f"• before the cut, {where}: {quoted(shlex.join(commands.before), 300)}",
        f"• after it, {where}, whatever came of the others: {quoted(shlex.join(commands.after), 300)}",
    ]


def _unflushed(cutting: Cutting) -> list[str]:
    """Where it is allowed, it is a step of the plan."""
    if cutting.may_flush or not cutting.memories:
        return []
    names = listed([quoted(ref.name) for ref in cutting.memories])
    why = f"{MAY_NOT_EXECUTE}, see deploy/rbac/check.yaml"
    return [f":information_source: *not flushed* before going down: {names}, because {why}"]


def written_down(goal: Goal) -> list[str]:
    """Where the objects are written down, and what is lost with the namespace."""
    if goal.copies:
        where = listed([quoted(one) for one in goal.copies])
        return [f"*Written down* in Secrets of the namespace and, as a copy, of {where}: its loss leaves the way back."]
    lost = "whoever removes the namespace removes the way back (`captures.copy_to`)"
    return [f"*Written down* in Secrets of the namespace only: {lost}."]


def cloned(goal: Goal) -> list[str]:
    """What a restore makes of the chosen set."""
    if not goal.clones:
        return []
    claims = listed([quoted(clone.claim) for clone in goal.clones])
    lines = [f"*From the set {escape(goal.chosen)}*: {claims}. What was written after it was cut is not in them."]
    if anew := [quoted(clone.claim) for clone in goal.clones if clone.is_lost]:
        lines.append(f"*Bound anew*, for their snapshots are gone and the data were kept: {listed(anew)}.")
    return lines


def emptied(goal: Goal) -> list[str]:
    """What a restore has neither a volume nor a snapshot for, though there was a volume once."""
    back = {*(clone.claim for clone in goal.clones), *(volume.claim for volume in goal.volumes)}
    empty = sorted(claim.name for claim in goal.claims if claim.volume and claim.name not in back)
    return [f":warning: {quoted(claim)} comes back empty" for claim in empty]


def exchanged(goal: Goal) -> list[str]:
    """What a restore in place does to the data that are there."""
    warning = (
        ":warning: *All that was written since then goes out of use.* The volumes of now are kept (Retain), and a set "
        "of them is cut first: going back is another restore in place, to that set."
    )
    return [*cloned(goal), warning, *(_old(volume) for volume in goal.volumes)]


def _old(volume: Volume) -> str:
    return f"• {quoted(volume.claim)}: volume {quoted(volume.name)}, {quoted(volume.capacity)}"


def _kind(cutting: Cutting) -> str:
    how = "cold, all of one moment" if cutting.temperature is Temperature.COLD else _hot(cutting)
    claims = listed([quoted(member.claim) for member in cutting.members])
    return f"*Snapshots* ({how}), kept whatever becomes of the namespace: {claims}"


def _hot(cutting: Cutting) -> str:
    if cutting.group_class:
        return f"hot, as one volume group by {quoted(cutting.group_class)}, all of one moment"
    return "hot, one by one, each of a moment of its own"


def unsaved_lines(unsaved: Sequence[Unsaved]) -> list[str]:
    return [
        f"{':warning:' if one.is_wanted else '•'} no snapshot of {quoted(one.claim)}: {quoted(one.why)}"
        for one in unsaved
    ]


def told(taken: SnapshotSet) -> list[str]:
    """In the thread, once all of it was seen ready."""
    return [
        f":camera_with_flash: *Snapshot set {escape(taken.id)}* is ready, {_what(taken)}, {gibibytes(taken.size)}",
        ENDING[taken.ending],
        *(_flush_line(one) for one in taken.flushes),
        *_quiescence(taken.quiescence),
        *([f"• volume group {quoted(taken.group.name)}"] if taken.group else []),
        *(f"• {quoted(one.claim)} → {quoted(one.name)} ({gibibytes(one.size)})" for one in taken.members),
        *unsaved_lines(taken.unsaved),
    ]


def _flush_line(one: Flush) -> str:
    name = quoted(one.workload.name)
    if not one.trouble:
        return f":white_check_mark: {name} was flushed before it went down"
    why = f"{quoted(one.trouble, 400)}. Its commit log is replayed on start"
    return f":information_source: {name} was *not flushed* before it went down: {why}"


def _what(taken: SnapshotSet) -> str:
    return f"{_how(taken)}, cut {when(taken.taken_at)}"


def _how(taken: SnapshotSet) -> str:
    """A cold set is of one moment however it was cut."""
    if taken.temperature is Temperature.COLD:
        return taken.temperature
    return f"{taken.temperature} as one group" if taken.group else f"{taken.temperature} one by one"


def _quiescence(found: Quiescence | None) -> list[str]:
    if found is None:
        return []
    if found.is_quiesced:
        return [
            ":white_check_mark: quiesced: the command before succeeded, then all was cut, then the one after succeeded"
        ]
    return [f":warning: *not quiesced*: {quoted(found.why, 300)}"]


def held(operation: Operation) -> list[str]:
    """Where the command after a hot cut was not seen to succeed: what to do by hand."""
    if not operation.outcome or not operation.outcome.by_hand or operation.state is not State.DONE:
        return []
    told = "*The command after the cut was not seen to succeed*: what the one before it did to"
    return [
        f":rotating_light: {told} {escape(operation.cluster)} may hold still. Run it by hand, see the thread's end."
    ]


def way_back(operation: Operation) -> list[str]:
    """Of a restore in place: what is left of the time before."""
    goal = operation.goal
    if operation.verb is not Verb.RESTORE_IN_PLACE:
        return []
    lines = [f"*Kept* {quoted(one.name)}, Retain: {quoted(one.claim)} as it was before" for one in goal.volumes]
    if goal.cutting and goal.cutting.members:
        back = f"`/tml restore {escape(operation.cluster)} {escape(operation.id)}` goes back to it"
        lines.append(f":camera_with_flash: the set of before is {escape(operation.id)}: {back}")
    return lines


def choice(hot: tuple[Proposal, Plan], cold: tuple[Proposal, Plan], downtime: int | None) -> Message:
    """Hot or cold, by a button each; ``downtime`` in seconds, from earlier runs."""
    proposal = hot[0]
    text = f"Snapshot {proposal.cluster}: hot or cold?"
    because = f"\nbecause {quoted(proposal.reason)}" if proposal.reason else ""
    down = f"about {minutes(downtime)}" if downtime is not None else "for as long as a stop and a start take"
    lines = [
        f"*Hot*: nothing is stopped. {_moment(hot[1].goal)}; databases recover on start.",
        f"*Cold*: the cluster is stopped, cut, and started again as soon as all is cut. Traffic is down {down}.",
        *planned(hot[1].goal)[1:],
    ]
    return message(
        text,
        [
            section(f"*{escape(text)}*{because}"),
            *paragraph(lines),
            actions(button("Hot, no downtime", "confirm", hot[0].id, "primary")),  # one "confirm" in a block (Slack)
            actions(
                button(f"Cold, traffic down {down}"[:75], "confirm", cold[0].id, "danger"),
                button("Leave it", "dismiss", cold[0].id),
            ),
            context(f"answer until {when(proposal.expires_at)}"),
        ],
    )


def _moment(goal: Goal) -> str:
    return "All volumes are cut at one moment" if goal.is_grouped else "Each volume is cut at a moment of its own"


def modal(one: Kept, now: datetime, *, has_to_say_why: bool) -> dict[str, Any]:
    """To go back to a set: which it is, what that means, and why."""
    cluster = one.operation.cluster
    in_place = f":warning: *Where {escape(cluster)} is there, this goes back in time in place*"
    lines = [
        row(one, now),
        f"{in_place}: all that was written since goes out of use. A second person has to say yes, to the whole plan.",
        "Where it was deleted, or somebody erased it, it is made again, with what is in this set.",
    ]
    why = text_input(REASON, "Why?", optional=not has_to_say_why)
    return form(MODAL, one.content.id, f"Restore {cluster}", "Restore …", [*paragraph(lines), why])


def unopened(one: Kept) -> Message:
    """In place of the modal, which Slack did not open."""
    text = "Slack did not open the dialog, so nothing was asked for."
    line = f"`/tml restore {escape(one.operation.cluster)} {escape(one.content.id)} because …`"
    return message(text, [section(f":warning: {text} Press again, or type {line}.")])


def minutes(seconds: int) -> str:
    """Rounded up, as people plan with."""
    return f"{max(1, -(-seconds // 60))} min"


def _marks(taken: SnapshotSet) -> str:
    """What else a set says of itself in a list."""
    if taken.quiescence is None:
        return ""
    return "quiesced · " if taken.quiescence.is_quiesced else f"not quiesced: {quoted(taken.quiescence.why)} · "


def row(one: Kept, now: datetime) -> str:
    """A set in a list."""
    taken, operation = one.content, one.operation
    because = f", because {quoted(operation.reason)}" if operation.reason else ""
    missing = f" · without {listed([quoted(left.claim) for left in taken.unsaved])}" if taken.unsaved else ""
    return (
        f":camera_with_flash: *{escape(taken.id)}* {_how(taken)}, {escape(taken.ending)}{_flushed(taken)} · "
        f"{_marks(taken)}{duration(now - taken.taken_at)} old, {when(taken.taken_at)} · {len(taken.members)} volumes, "
        f"{gibibytes(taken.size)}{missing}\n{mention(operation.requester)} ({operation.verb}){because}\n"
        f"{known(one.verification)}"
    )


def _flushed(taken: SnapshotSet) -> str:
    """In a few words; nothing where nothing was taken down for it."""
    troubles = [one.trouble for one in taken.flushes if one.trouble]
    if troubles:
        return f", not flushed ({quoted('; '.join(troubles), 200)})"
    return ", flushed" if taken.flushes else ""
