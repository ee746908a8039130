"""An operation as people follow it: one live message, and a thread with each step."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from bot.grammar import unescaped
from bot.views import claims, kept, removals, snapshots, verification
from bot.views.addresses import address_lines
from bot.views.blocks import (
    SECTION_LIMIT,
    Block,
    Message,
    actions,
    button,
    context,
    escape,
    message,
    paragraph,
    preformatted,
    quoted,
    section,
)
from bot.views.configuration import configuration_lines, verdict
from bot.views.plan import cautions, waves
from bot.views.words import (
    ARRIVED,
    DOING,
    DONE,
    PHASES,
    REACHED,
    duration,
    listed,
    mention,
    object_label,
    object_labels,
    part_of,
    when,
)
from lifecycle.decide import BACK, phases_from, phases_of, remove
from lifecycle.decide.delete import CLAIMS_REMOVED, REMOVING
from lifecycle.model import KILLED, Action, Diagnosis, Exit, Kind, Ref, Traffic, Verb
from lifecycle.operation import Operation, Outcome, State
from lifecycle.phase import Phase
from lifecycle.plain import from_plain
from lifecycle.plan import SCALING, Plan
from lifecycle.snapshots import SnapshotSet
from lifecycle.verification import Verification
from storage.audit import Recorded

NOTES = 4
"""Diagnosis findings shown in full; the rest is counted."""
LOG_LINES = 20
"""Of a finding's log, the last: where it broke."""

GOING = {
    Action.SCALE_TO_ZERO: "going to 0 (was {replicas}, remembered)",
    Action.SCALE_UP: "going up to {replicas}",
    Action.ROLLOUT_RESTART: "rolling {replicas}",
    Action.CAPTURE: "writing down every object, as it is live",
    Action.CUT: "being cut",
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
SHOWN_KINDS = frozenset({Kind.STATEFUL_SET, Kind.DEPLOYMENT, Kind.CLAIM, Kind.VOLUME, Kind.POD, Kind.SNAPSHOT})
"""Of other objects only their arrival is told: there are dozens, and nobody waits for one of them."""


def headline(operation: Operation) -> str:
    """Verdict, cluster and reason: what a phone shows first."""
    match operation.state:
        case State.RUNNING:
            lead = f"{DOING[operation.verb]} {_what(operation)}"
        case State.DONE:
            lead = ", ".join(filter(None, [f"{DONE[operation.verb]} {_what(operation)}", verdict(operation)]))
        case State.FAILED:
            lead = f"FAILED to {operation.verb.words} {_what(operation)}"
    return f"{lead}: {_why(operation)}" if _why(operation) else lead


def _what(operation: Operation) -> str:
    return part_of(operation.cluster, operation.goal)


def _why(operation: Operation) -> str:
    if operation.outcome and operation.state is State.FAILED:
        return _reason_of(operation.outcome)
    return operation.reason


def _reason_of(outcome: Outcome) -> str:
    return outcome.error or _diagnosis(outcome).headline


def _diagnosis(outcome: Outcome) -> Diagnosis:
    return outcome.diagnosis or Diagnosis()


def live(operation: Operation, entries: Sequence[Recorded]) -> Message:
    """The one message that changes while the operation runs."""
    symbol = {State.RUNNING: ":hourglass_flowing_sand:", State.DONE: ":white_check_mark:", State.FAILED: ":x:"}
    mark = ":warning:" if verdict(operation) else symbol[operation.state]
    lines = [f"{mark} *{escape(_title(operation))}*", _asked(operation)]
    if operation.state is State.FAILED:
        lines.append(f":mag: {quoted(_why(operation))}")
    return message(
        headline(operation),
        [*paragraph(lines), *paragraph(_progress(operation, entries)), context(_footer(operation))],
    )


def bare(operation: Operation) -> Message:
    """In place of a message that Slack does not take: the verdict at least, and where the rest is."""
    text = headline(operation)
    look = f"Slack did not take the details. `/tml status {escape(operation.cluster)}` shows them."
    return message(text, [section(f"*{quoted(text)}*\n{look}")])


def _title(operation: Operation) -> str:
    if operation.state is State.RUNNING:
        return f"{DOING[operation.verb]} {_what(operation)}"
    took = duration((operation.ended_at or operation.begun_at) - operation.begun_at)
    if operation.state is State.DONE:
        done = f"{DONE[operation.verb]} {_what(operation)} in {took}"
        return ": ".join(filter(None, [done, verdict(operation)]))
    return f"FAILED to {operation.verb.words} {_what(operation)} after {took}"


def _asked(operation: Operation) -> str:
    because = f", because {quoted(operation.reason)}" if operation.reason else ""
    return f"{mention(operation.requester)} asked to {operation.verb.words} it{because}"


def _progress(operation: Operation, entries: Sequence[Recorded]) -> list[str]:
    if operation.goal.is_wide:
        return _by_phase(operation, entries)
    order = reversed(operation.goal.scope.workloads) if operation.verb is Verb.STOP else operation.goal.scope.workloads
    state = (
        _while_running(operation, entries)
        if operation.outcome is None
        else _at_the_end(operation.verb, operation.outcome)
    )
    return [state(str(workload.ref), f"*{workload.label}*") for workload in order] + _late(operation)


def _by_phase(operation: Operation, entries: Sequence[Recorded]) -> list[str]:
    """A line for each phase: the objects are too many, and each is in the thread."""
    reached = {entry.data["phase"] for entry in entries if entry.kind == "passed"}
    if operation.state is State.DONE:
        reached |= {operation.phase}
    phases = [phase for phase in phases_of(operation.goal) if operation.failure is None or phase.name in reached]
    return [_phase_line(operation, phase, entries, phase.name in reached) for phase in phases] + _back(operation)


def _phase_line(operation: Operation, phase: Phase, entries: Sequence[Recorded], is_reached: bool) -> str:
    words = PHASES[phase.name]
    if is_reached:
        return f":white_check_mark: {words}"
    if phase.name != operation.phase:
        return f":white_circle: {words}"
    arrived = {
        one
        for entry in entries
        if entry.kind == "arrived" and entry.data["phase"] == phase.name
        for one in entry.data["objects"]
    }
    symbol = ":hourglass_flowing_sand:" if operation.state is State.RUNNING else ":x:"
    return f"{symbol} {words}: {len(arrived)} of {len(phase.objects(operation.goal))}"


def _back(operation: Operation) -> list[str]:
    """Of what failed and goes its way back: the cluster comes up again, or the test's own objects go."""
    if operation.failure is None:
        return []
    words = PHASES["clean" if operation.verb is Verb.VERIFY else BACK.name]
    if operation.outcome is None:
        return [f":x: {quoted(_reason_of(operation.failure))}", f":hourglass_flowing_sand: {words}"]
    return [f"{':white_check_mark:' if operation.outcome.back_up else ':x:'} {words}"]


def _while_running(operation: Operation, entries: Sequence[Recorded]) -> Callable[[str, str], str]:
    arrived = {name for entry in entries if entry.kind == "arrived" for name in entry.data["objects"]}
    sent = {_stepped(entry.data) for entry in entries if entry.kind == "step"}

    def line(name: str, label: str) -> str:
        if name in arrived:
            return f":white_check_mark: {label} {REACHED[operation.verb]}"
        if name in sent:
            return f":hourglass_flowing_sand: {label} {DOING[operation.verb].lower()}"
        return f":white_circle: {label} waits"

    return line


def _at_the_end(verb: Verb, outcome: Outcome) -> Callable[[str, str], str]:
    """What the last picture showed: what had arrived on the way may have gone again."""

    def line(name: str, label: str) -> str:
        if name in outcome.done:
            return f":white_check_mark: {label} {REACHED[verb]}"
        if name in outcome.missing:
            return f":x: {label} not {REACHED[verb]}"
        return f":white_circle: {label} not seen"

    return line


def _late(operation: Operation) -> list[str]:
    if operation.late_at is None or operation.ended_at is None:
        return []
    after = duration(operation.late_at - operation.ended_at)
    return [f":information_source: reached after all, {after} after the operation had given up"]


def _footer(operation: Operation) -> str:
    parts = [escape(operation.id), escape(operation.target.namespace), f"began {when(operation.begun_at)}"]
    if operation.state is State.RUNNING and operation.phase_begun_at:
        phase = phases_from(operation.goal, operation.phase)[0]
        parts.append(f"gives up {when(operation.phase_begun_at + phase.time_for(operation))}")
    if operation.ended_at:
        parts.append(f"ended {when(operation.ended_at)}")
    return " · ".join(parts)


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
    names = [_stepped(entry.data) for entry in entries if Kind(entry.data["kind"]) in SHOWN_KINDS]
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
    return [_step_line(_label(operation, _stepped(data)), data)]


def _step_line(label: str, data: Any) -> Block:
    again = " again: somebody else had changed it" if data["undone"] else ""
    return context(f":arrow_forward: *{label}* {GOING[Action(data['action'])].format(**data)}{again}")


def _stepped(data: Any) -> str:
    return str(Ref(Kind(data["kind"]), data["name"]))


def _step_failed(_operation: Operation, data: Any, _at: datetime) -> list[Block]:
    return [context(f":warning: {escape(_stepped(data))}: {quoted(data['error'], 300)}")]


def _arrived(operation: Operation, data: Any, _at: datetime) -> list[Block]:
    if data["phase"] == "capture":
        return []
    labels = object_labels(operation.goal, data["objects"])
    return [context(f":white_check_mark: {listed(labels)} {ARRIVED[data['phase']]}")]


def _passed(operation: Operation, data: Any, _at: datetime) -> list[Block]:
    return [context(f":checkered_flag: *{PHASES[data['phase']]}*")] if operation.goal.is_wide else []


def _snapshot_set(_operation: Operation, data: Any, _at: datetime) -> list[Block]:
    return paragraph(snapshots.told(from_plain(SnapshotSet, data)))


def _verified(_operation: Operation, data: Any, _at: datetime) -> list[Block]:
    return verification.told(from_plain(Verification, data))


def _turned_back(operation: Operation, data: Any, _at: datetime) -> list[Block]:
    failure = from_plain(Outcome, data["failure"])
    if operation.verb is Verb.VERIFY:
        return [*verification.turned_back(_reason_of(failure)), *diagnosis_blocks(_diagnosis(failure))]
    what = "saved" if operation.verb is Verb.SNAPSHOT else REACHED[operation.verb]
    lead = f":x: *{escape(operation.cluster)} is not {what}, and nothing was removed.* It is started again first"
    return [section(f"{lead}; then more.\n{quoted(_reason_of(failure))}"), *diagnosis_blocks(_diagnosis(failure))]


def _exit(_operation: Operation, data: Any, _at: datetime) -> list[Block]:
    return [context(_exit_line(data["pod"], data["container"], data["code"]))]


def _exit_line(pod: str, container: str, code: int) -> str:
    name = quoted(f"{pod}/{container}")
    if code == KILLED:
        return f":warning: {name} was KILLED (exit {code}): it did not stop within its grace period"
    mark = ":white_check_mark:" if code == 0 else ":warning:"
    return f"{mark} {name} ended with exit code {code}"


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


def _finished(operation: Operation, _data: Any, at: datetime) -> list[Block]:
    outcome = operation.outcome
    if outcome is None:
        return []
    if operation.verb is Verb.DELETE:
        return _delete_finished(operation, outcome)
    if operation.verb is Verb.REMOVE:
        return _removal_finished(operation, outcome, at)
    if operation.verb is Verb.VERIFY:
        return _verify_finished(operation, outcome)
    if operation.verb is Verb.PURGE:
        if operation.state is State.DONE:
            return paragraph(kept.finished(operation))
        return [*_failed(operation, outcome), _buttons(operation)]
    if operation.state is State.DONE:
        return [*_done(operation, outcome), *_volumes(operation, outcome, at)]
    return [*_failed(operation, outcome), *_volumes(operation, outcome, at), _buttons(operation)]


def _delete_finished(operation: Operation, outcome: Outcome) -> list[Block]:
    undo = actions(button("Undo", "undo", operation.id), button("Status", "status", operation.id))
    if operation.state is State.DONE:
        return [*paragraph([*_done_lines(operation, outcome), *ways_back(operation)]), undo]
    if operation.phase in REMOVING:
        return [*_failed(operation, outcome), *paragraph(ways_back(operation)), undo]
    return [*_failed(operation, outcome), actions(button("Status", "status", operation.id))]


def _removal_finished(operation: Operation, outcome: Outcome, at: datetime) -> list[Block]:
    """Of a stop that removed: what is there, and how the rest comes back."""
    if operation.state is State.DONE:
        lines = [*_done_lines(operation, outcome), *removals.way_back(operation)]
        return [*paragraph(lines), *_volumes(operation, outcome, at)]
    begun = operation.phase in remove.REMOVING
    buttons = actions(button("Status", "status", operation.id)) if begun else _buttons(operation)
    return [*_failed(operation, outcome), *_volumes(operation, outcome, at), buttons]


def _verify_finished(operation: Operation, outcome: Outcome) -> list[Block]:
    """Without the cluster's volumes: none of them was looked at."""
    if operation.state is State.FAILED:
        return [*_failed(operation, outcome), _buttons(operation)]
    return verification.done(operation, duration((operation.ended_at or operation.begun_at) - operation.begun_at))


def ways_back(operation: Operation) -> list[str]:
    """What of a deleted cluster is still there, and how it comes back."""
    goal, cluster = operation.goal, escape(operation.cluster)
    lines = [f"*Kept* {len(goal.volumes)} volumes, Retain: `/tml restore {cluster}` binds them again, the same bytes"]
    lines += [f"• {quoted(one.claim)} → {quoted(one.name)} ({quoted(one.capacity)})" for one in goal.volumes]
    if goal.keeps and operation.ended_at:
        until = when(operation.ended_at + goal.keeps)
        lines.append(f"They are kept until {until}, and then destroyed for good; this channel is told before")
    lines += [f"*Stays* {_label(operation, str(part.ref))}{_at(part.addresses)}" for part in goal.staying]
    lines += [
        f":warning: *Given up* {_label(operation, str(part.ref))}{_at(part.addresses)}: DNS that names it "
        "has to be changed after a restore"
        for part in goal.parts
        if part.addresses
    ]
    return lines


def _at(addresses: Sequence[str]) -> str:
    return f" ({listed([quoted(address) for address in addresses])})" if addresses else ""


def _done(operation: Operation, outcome: Outcome) -> list[Block]:
    return paragraph(_done_lines(operation, outcome))


def _done_lines(operation: Operation, outcome: Outcome) -> list[str]:
    took = duration((operation.ended_at or operation.begun_at) - operation.begun_at)
    mark, reached = (":warning:", verdict(operation)) if verdict(operation) else (":white_check_mark:", None)
    lines = [f"{mark} *{escape(_what(operation))} is {reached or REACHED[operation.verb]}* after {took}"]
    lines += configuration_lines(operation.goal, outcome)
    lines += _traffic_lines(outcome.traffic)
    lines += address_lines(outcome.addresses)
    lines += [_exit_line(end.pod, end.container, end.code) for end in outcome.exits if end.code != 0]
    lines += [
        f":warning: the end of {quoted(name)} was not seen: unknown whether it was killed" for name in outcome.unseen
    ]
    lines += _databases_clean(outcome.exits, outcome.unseen)
    lines += [*snapshots.cloned(operation.goal), *snapshots.way_back(operation)]
    lines += _left(operation)
    if operation.goal.unverified:
        lines.append(
            ":warning: pods ready, *replication not checked*: several sql pods of an untethered cluster. Run in one of "
            "them: `SELECT member_host, member_state FROM performance_schema.replication_group_members;` "
            "every member has to be ONLINE; if none is, bootstrap the group again"
        )
    return lines


def _left(operation: Operation) -> list[str]:
    if operation.verb not in (Verb.START, Verb.RETURN):
        return []
    left = [operation.goal.topology[ref] for ref in operation.goal.left]
    return [f":information_source: {one.label} stays at zero; `{one.component}=N` would start it" for one in left]


def _databases_clean(exits: Sequence[Exit], unseen: Sequence[str]) -> list[str]:
    if not exits or unseen or any(end.code for end in exits):
        return []
    pods = listed([quoted(end.pod) for end in exits])
    return [f":white_check_mark: every database container ended by itself (exit 0): {pods}"]


def _traffic_lines(traffic: Traffic | None) -> list[str]:
    if traffic is None:
        return []
    mark = ":white_check_mark:" if traffic.verdict == Traffic.ANSWERS else ":warning:"
    where = f" at {quoted(traffic.address)}" if traffic.address else ""
    detail = f" ({quoted(traffic.detail, 200)})" if traffic.detail else ""
    return [f"{mark} {quoted(traffic.verdict)}{where}{detail}"]


def _failed(operation: Operation, outcome: Outcome) -> list[Block]:
    lines = [f":x: *{escape(_what(operation))}: the {operation.verb.words} failed*"]
    if outcome.error:
        lines.append(quoted(outcome.error))
    if outcome.done or outcome.missing:
        lines.append(f"done: {listed(object_labels(operation.goal, outcome.done))}")
        lines.append(f"not done: {listed(object_labels(operation.goal, outcome.missing))}")
    lines.append(_left_as(operation, outcome))
    return [
        *paragraph(lines),
        *diagnosis_blocks(_diagnosis(outcome)),
        section(f"*Go on with*\n{_go_on(operation)}\n`/tml status {escape(operation.cluster)}` looks again"),
        *_by_hand(operation, outcome),
    ]


def _left_as(operation: Operation, outcome: Outcome) -> str:
    if operation.verb is Verb.VERIFY:
        return verification.left_as(operation)
    if outcome.back_up is not None:
        again = "*was started again*" if outcome.back_up else "*could not be started again*"
        return f"Nothing was removed. {escape(operation.cluster)} {again}."
    if operation.verb in (Verb.DELETE, Verb.REMOVE) and operation.phase not in (*REMOVING, *remove.REMOVING):
        return "Nothing was removed, and nothing was rolled back."
    return "Nothing was rolled back."


def _go_on(operation: Operation) -> str:
    if operation.verb is Verb.REMOVE:
        return removals.go_on(operation, _command(operation))
    if operation.verb is Verb.VERIFY:
        return verification.go_on(operation)
    if operation.verb is Verb.DELETE and operation.phase in REMOVING:
        back = f"`/tml restore {escape(operation.cluster)}` brings back what was removed; every volume is kept"
        waits = "or leave it deleted: a claim that is Terminating goes by itself when nothing mounts it any more"
        return f"{back}\n{waits}" if operation.phase == CLAIMS_REMOVED.name else back
    if operation.verb is Verb.DELETE:
        again = f"`/tml {_command(operation)}` once the cause is mended: it asks for a new approval"
        start = f"`/tml start {escape(operation.cluster)}` starts it\n"
        return f"{start if operation.outcome and operation.outcome.back_up is False else ''}{again}"
    if operation.verb is Verb.RESTORE_IN_PLACE and operation.phase != "up":
        again = f"`/tml {_command(operation)}` once the cause is mended: it asks for a new approval"
        return "\n".join([again, *snapshots.way_back(operation)])
    if operation.verb is Verb.SNAPSHOT:
        start = f"`/tml start {escape(operation.cluster)}` starts what is not up\n"
        is_down = operation.phase in ("up", BACK.name) and not (operation.outcome and operation.outcome.back_up)
        return f"{start if is_down else ''}`/tml {_command(operation)}` once the cause is mended: it takes a new set"
    return f"`/tml {_command(operation)}` once the cause is mended: it goes on from here"


def _command(operation: Operation) -> str:
    """What was typed, with its options: without them a restart would mean another thing, or be refused."""
    typed = unescaped(operation.command) or f"{operation.verb.words} {operation.cluster}"
    return quoted(typed.replace("`", "'"))


def _label(operation: Operation, name: str) -> str:
    return object_label(operation.goal, name)


def diagnosis_blocks(diagnosis: Diagnosis) -> list[Block]:
    blocks: list[Block] = []
    for finding in diagnosis.findings[:NOTES]:
        said = f"\n{quoted(finding.message)}" if finding.message else ""
        blocks.append(section(f":mag: *{quoted(finding.object)}* {quoted(finding.reason)}{said}"))
        blocks += preformatted(finding.log[-LOG_LINES:])
    if len(diagnosis.findings) > NOTES:
        blocks.append(context(f"and {len(diagnosis.findings) - NOTES} more"))
    return blocks


def _by_hand(operation: Operation, outcome: Outcome) -> list[Block]:
    if not outcome.by_hand:
        return []
    where = f"--context {operation.target.context} " if operation.target.context else ""
    lines = [
        line.replace("kubectl ", f"kubectl {where}-n {operation.target.namespace} ", 1) for line in outcome.by_hand
    ]
    return [section("*Or by hand*, in this order, each when the one before is through"), *preformatted(lines)]


def _volumes(operation: Operation, outcome: Outcome, at: datetime) -> list[Block]:
    if not (outcome.claims or operation.goal.claims):
        return []
    if not outcome.claims and operation.state is State.FAILED:
        return [section(":warning: *Volumes* were not seen at the end")]
    bad = claims.unbound(outcome.claims)
    before = {claim.name for claim in claims.unbound(operation.goal.claims)}
    lines = [f"*Volumes* {len(outcome.claims) - len(bad)} of {len(outcome.claims)} Bound"]
    for claim in bad:
        since = " (it was not before either)" if claim.name in before else ""
        lines.append(f":warning: {quoted(claim.name)} is {quoted(claim.status)}{since}")
    gone = {claim.name for claim in operation.goal.claims} - {claim.name for claim in outcome.claims}
    lines += [f":warning: {quoted(name)} was there at the beginning and is not any more" for name in sorted(gone)]
    return [*paragraph(lines), *preformatted(claims.table(outcome.claims, at) if outcome.claims else [])]


def _buttons(operation: Operation) -> Block:
    again = f"{operation.verb.words.capitalize()} again"
    return actions(
        button(again, "again", operation.id),
        button("Status", "status", operation.id),
    )


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
    "verified": _verified,
    "exit": _exit,
    "slow": _slow,
    "finished": _finished,
    "late": _late_told,
    "seen": _seen,
}
