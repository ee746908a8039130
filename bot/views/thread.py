"""The thread of an operation: each step, and the end."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from bot.views import snapshots, verification
from bot.views.blocks import SECTION_LIMIT, Block, Message, context, escape, message, paragraph, quoted, section
from bot.views.ending import CANCELLED_SIGN, diagnosis_blocks, diagnosis_of, exit_line, finished, reason_of
from bot.views.operation import headline, stepped
from bot.views.plan import cautions, waves
from bot.views.words import ARRIVED, PHASES, REACHED, duration, listed, mention, object_label, object_labels
from lifecycle.decide.quiescing import has_commands
from lifecycle.model import Action, Kind, Verb
from lifecycle.operation import Operation, Outcome
from lifecycle.plain import from_plain
from lifecycle.plan import SCALING, Plan
from lifecycle.snapshots import SnapshotSet
from lifecycle.verification import Verification
from storage.audit import Recorded

GOING = {
    Action.FLUSH: "writing to its volume what it holds in memory (nodetool flush)",
    Action.SCALE_TO_ZERO: "going to 0 (was {replicas}, remembered)",
    Action.SCALE_UP: "going up to {replicas}",
    Action.ROLLOUT_RESTART: "rolling {replicas}",
    Action.CAPTURE: "writing down every object, as it is live",
    Action.CUT: "being cut",
    Action.LABEL: "being put into the set's volume group",
    Action.QUIESCE: "held still: the command before, the cut, the command after",
    Action.RESUME: "set going again: the command after",
    Action.RETAIN: "being kept in snapshots, whatever becomes of the namespace",
    Action.KEEP: "being set to Retain, to stay when the claim goes",
    Action.REMOVE: "being removed",
    Action.MAKE: "being made again, as written down",
    Action.OVERWRITE: "being overwritten with what is written down",
    Action.REBIND: "being freed for the claim of the old name, and for no other",
    Action.GIVE_BACK: "getting back the reclaim policy of before",
    Action.CLONE: "being made of its snapshot",
    Action.CHECK: "beginning, in a pod of its own",
    Action.LET_GO: "being let go with its claim",
    Action.CLEAN: "being removed",
    Action.RELEASE: "being released: the data go with it",
    Action.GIVE_UP: "being given up, with the reclaim policy of before",
}
SHOWN_KINDS = frozenset(
    {Kind.STATEFUL_SET, Kind.DEPLOYMENT, Kind.CLAIM, Kind.VOLUME, Kind.POD, Kind.SNAPSHOT, Kind.GROUP}
)
"""Of other objects only their arrival is told: there are dozens, and nobody waits for one of them."""


def thread(operation: Operation, entries: Sequence[Recorded]) -> Message | None:
    """One reply for these entries, in order; None when none of them has anything to say."""
    blocks = [block for several in _together(entries) for block in _told_together(operation, several)]
    return message(headline(operation), joined(blocks)) if blocks else None


def _together(entries: Sequence[Recorded]) -> list[list[Recorded]]:
    """Steps that follow each other and do the same to claims, volumes or objects are told in one line."""
    found: list[list[Recorded]] = []
    for entry in entries:
        if found and _alike(entry) is not None and _alike(entry) == _alike(found[-1][-1]):
            found[-1].append(entry)
        else:
            found.append([entry])
    return found


def _alike(entry: Recorded) -> tuple[str, bool] | None:
    """None for what is told by itself: a count has a number of its own."""
    if entry.kind != "step" or Action(entry.data["action"]) in (*SCALING, Action.CAPTURE):
        return None
    return entry.data["action"], entry.data["undone"]


def _told_together(operation: Operation, entries: Sequence[Recorded]) -> list[Block]:
    if len(entries) == 1:
        return _told(operation, entries[0])
    names = [stepped(entry.data) for entry in entries if Kind(entry.data["kind"]) in SHOWN_KINDS]
    return [_step_line(listed(object_labels(operation.goal, names)), entries[0].data)] if names else []


def joined(blocks: Sequence[Block]) -> list[Block]:
    """Small lines that follow each other become one block: calmer to read, and within Slack's 50."""
    kept: list[Block] = []
    for block in blocks:
        if kept and block["type"] == kept[-1]["type"] == "context":
            text = f"{kept[-1]['elements'][0]['text']}\n{block['elements'][0]['text']}"
            if len(text) <= SECTION_LIMIT:
                kept[-1] = context(text)
                continue
        kept.append(block)
    return kept


def _told(operation: Operation, entry: Recorded) -> list[Block]:
    tell = TELLERS.get(entry.kind)
    return tell(operation, entry.data, entry.at) if tell else []


def _begun(_operation: Operation, data: Any, _at: datetime) -> list[Block]:
    plan = from_plain(Plan, data["plan"])
    return paragraph(["*Plan*", *waves(plan), *cautions(plan)])


def _taken(_operation: Operation, data: Any, _at: datetime) -> list[Block]:
    if data["first"]:
        return []
    return [context(f":arrows_counterclockwise: taken up by {quoted(data['executor'])}, goes on where it was")]


def _step(operation: Operation, data: Any, _at: datetime) -> list[Block]:
    if data["action"] == Action.CAPTURE:
        return [context(f":arrow_forward: {GOING[Action.CAPTURE]}")]
    if Kind(data["kind"]) not in SHOWN_KINDS:
        return []
    return [_step_line(object_label(operation.goal, stepped(data)), data)]


def _step_line(label: str, data: Any) -> Block:
    again = " again: somebody else had changed it" if data["undone"] else ""
    return context(f":arrow_forward: *{label}* {GOING[Action(data['action'])].format(**data)}{again}")


def _step_failed(_operation: Operation, data: Any, _at: datetime) -> list[Block]:
    return [context(f":warning: {escape(stepped(data))}: {quoted(data['error'], 300)}")]


def _arrived(operation: Operation, data: Any, _at: datetime) -> list[Block]:
    if data["phase"] == "capture":
        return []
    labels = object_labels(operation.goal, data["objects"])
    return [context(f":white_check_mark: {listed(labels)} {ARRIVED[data['phase']]}")]


def _passed(operation: Operation, data: Any, _at: datetime) -> list[Block]:
    return [context(f":checkered_flag: *{PHASES[data['phase']]}*")] if operation.goal.is_wide else []


def _snapshot_set(_operation: Operation, data: Any, _at: datetime) -> list[Block]:
    return paragraph(snapshots.told(from_plain(SnapshotSet, data)))


def _set_rebound(_operation: Operation, data: Any, _at: datetime) -> list[Block]:
    claims = listed([quoted(one["claim"]) for one in data["now"]])
    return [context(f":camera_with_flash: set {escape(data['set'])}: other snapshots stand for {claims} from here on")]


def _verified(_operation: Operation, data: Any, _at: datetime) -> list[Block]:
    return verification.told(from_plain(Verification, data))


def _turned_back(operation: Operation, data: Any, _at: datetime) -> list[Block]:
    failure = from_plain(Outcome, data["failure"])
    if operation.verb is Verb.VERIFY:
        return [*verification.turned_back(reason_of(failure)), *diagnosis_blocks(diagnosis_of(failure))]
    what = "saved" if operation.verb is Verb.SNAPSHOT else REACHED[operation.verb]
    sign = CANCELLED_SIGN if failure.cancelled else ":x:"
    first = "The command after the cut is run" if has_commands(operation.goal) else "It is started again"
    lead = f"{sign} *{escape(operation.cluster)} is not {what}, and nothing was removed.* {first} first"
    return [section(f"{lead}; then more.\n{quoted(reason_of(failure))}"), *diagnosis_blocks(diagnosis_of(failure))]


def _cancelled(operation: Operation, data: Any, _at: datetime) -> list[Block]:
    assert operation.cancellation
    because = f", because {quoted(data['reason'])}" if data["reason"] else ""
    return [
        section(
            f"{CANCELLED_SIGN} *{mention(operation.cancellation.person)} cancelled it*{because}. No new step is taken"
        )
    ]


def _exit(_operation: Operation, data: Any, _at: datetime) -> list[Block]:
    return [context(exit_line(data["pod"], data["container"], data["code"]))]


def _slow(_operation: Operation, data: Any, _at: datetime) -> list[Block]:
    findings = data["diagnosis"]["findings"]
    because = f"{findings[0]['object']}: {findings[0]['message']}" if findings else "nothing conspicuous was found"
    return [context(f":hourglass_flowing_sand: slow, because {quoted(because, 400)}")]


def _late_told(operation: Operation, _data: Any, at: datetime) -> list[Block]:
    after = duration(at - (operation.ended_at or at))
    return [section(f":information_source: *{REACHED[operation.verb]} after all*, {after} after the deadline")]


def _seen(operation: Operation, _data: Any, at: datetime) -> list[Block]:
    after = duration(at - (operation.ended_at or at))
    return [section(f":white_check_mark: *configuration seen after all*: the check passed {after} after the end")]


Teller = Callable[[Operation, Any, datetime], list[Block]]
TELLERS: dict[str, Teller] = {
    "begun": _begun,
    "taken": _taken,
    "step": _step,
    "step-failed": _step_failed,
    "arrived": _arrived,
    "passed": _passed,
    "turned-back": _turned_back,
    "snapshot-set": _snapshot_set,
    "set-rebound": _set_rebound,
    "verified": _verified,
    "exit": _exit,
    "cancelled": _cancelled,
    "slow": _slow,
    "finished": finished,
    "late": _late_told,
    "seen": _seen,
}
