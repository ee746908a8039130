"""An operation as people follow it: one live message, and a thread with each step."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from bot.grammar import unescaped
from bot.views import claims
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
from bot.views.plan import cautions, waves
from bot.views.words import ARRIVED, DOING, DONE, duration, listed, mention, part_of, when
from lifecycle.decide import phases_from
from lifecycle.model import KILLED, Action, Diagnosis, Exit, Kind, Ref, Traffic, Verb
from lifecycle.operation import Operation, Outcome, State
from lifecycle.plain import from_plain
from lifecycle.plan import Plan
from storage.audit import Recorded

NOTES = 4
"""Diagnosis findings shown in full; the rest is counted."""
LOG_LINES = 20
"""Of a finding's log, the last: where it broke."""

GOING = {
    Action.SCALE_TO_ZERO: "going to 0 (was {replicas}, remembered)",
    Action.SCALE_UP: "going up to {replicas}",
    Action.ROLLOUT_RESTART: "rolling {replicas}",
}


def headline(operation: Operation) -> str:
    """Verdict, cluster and reason: what a phone shows first."""
    match operation.state:
        case State.RUNNING:
            lead = f"{DOING[operation.verb]} {_what(operation)}"
        case State.DONE:
            lead = f"{DONE[operation.verb]} {_what(operation)}"
        case State.FAILED:
            lead = f"FAILED to {operation.verb} {_what(operation)}"
    return f"{lead}: {_why(operation)}" if _why(operation) else lead


def _what(operation: Operation) -> str:
    return part_of(operation.cluster, operation.goal)


def _why(operation: Operation) -> str:
    if operation.outcome and operation.state is State.FAILED:
        return operation.outcome.error or _diagnosis(operation.outcome).headline
    return operation.reason


def _diagnosis(outcome: Outcome) -> Diagnosis:
    return outcome.diagnosis or Diagnosis()


def live(operation: Operation, entries: Sequence[Recorded]) -> Message:
    """The one message that changes while the operation runs."""
    symbol = {State.RUNNING: ":hourglass_flowing_sand:", State.DONE: ":white_check_mark:", State.FAILED: ":x:"}
    lines = [f"{symbol[operation.state]} *{escape(_title(operation))}*", _asked(operation)]
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
        return f"{DONE[operation.verb]} {_what(operation)} in {took}"
    return f"FAILED to {operation.verb} {_what(operation)} after {took}"


def _asked(operation: Operation) -> str:
    because = f", because {quoted(operation.reason)}" if operation.reason else ""
    return f"{mention(operation.requester)} asked to {operation.verb} it{because}"


def _progress(operation: Operation, entries: Sequence[Recorded]) -> list[str]:
    order = reversed(operation.goal.scope.workloads) if operation.verb is Verb.STOP else operation.goal.scope.workloads
    state = (
        _while_running(operation, entries)
        if operation.outcome is None
        else _at_the_end(operation.verb, operation.outcome)
    )
    return [state(str(workload.ref), f"*{workload.label}*") for workload in order] + _late(operation)


def _while_running(operation: Operation, entries: Sequence[Recorded]) -> Callable[[str, str], str]:
    arrived = {name for entry in entries if entry.kind == "arrived" for name in entry.data["workloads"]}
    sent = {_stepped(entry.data) for entry in entries if entry.kind == "step"}

    def line(name: str, label: str) -> str:
        if name in arrived:
            return f":white_check_mark: {label} {ARRIVED[operation.verb]}"
        if name in sent:
            return f":hourglass_flowing_sand: {label} {DOING[operation.verb].lower()}"
        return f":white_circle: {label} waits"

    return line


def _at_the_end(verb: Verb, outcome: Outcome) -> Callable[[str, str], str]:
    """What the last picture showed: what had arrived on the way may have gone again."""

    def line(name: str, label: str) -> str:
        if name in outcome.done:
            return f":white_check_mark: {label} {ARRIVED[verb]}"
        if name in outcome.missing:
            return f":x: {label} not {ARRIVED[verb]}"
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
        phase = phases_from(operation.verb, operation.phase)[0]
        parts.append(f"gives up {when(operation.phase_begun_at + phase.time_for(operation))}")
    if operation.ended_at:
        parts.append(f"ended {when(operation.ended_at)}")
    return " · ".join(parts)


def thread(operation: Operation, entries: Sequence[Recorded]) -> Message | None:
    """One reply for these entries, in order; None when none of them has anything to say."""
    blocks = [block for entry in entries for block in _told(operation, entry)]
    return message(headline(operation), joined(blocks)) if blocks else None


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
    label = _label(operation, _stepped(data))
    again = " again: somebody else had changed it" if data["undone"] else ""
    return [context(f":arrow_forward: *{label}* {GOING[Action(data['action'])].format(**data)}{again}")]


def _stepped(data: Any) -> str:
    return str(Ref(Kind(data["kind"]), data["name"]))


def _step_failed(_operation: Operation, data: Any, _at: datetime) -> list[Block]:
    return [context(f":warning: {escape(_stepped(data))}: {quoted(data['error'], 300)}")]


def _arrived(operation: Operation, data: Any, _at: datetime) -> list[Block]:
    labels = [_label(operation, name) for name in data["workloads"]]
    return [context(f":white_check_mark: {listed(labels)} {ARRIVED[operation.verb]}")]


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
    return [section(f":information_source: *{ARRIVED[operation.verb]} after all*, {after} after the deadline")]


def _finished(operation: Operation, _data: Any, at: datetime) -> list[Block]:
    outcome = operation.outcome
    if outcome is None:
        return []
    if operation.state is State.DONE:
        return [*_done(operation, outcome), *_volumes(operation, outcome, at)]
    return [*_failed(operation, outcome), *_volumes(operation, outcome, at), _buttons(operation)]


def _done(operation: Operation, outcome: Outcome) -> list[Block]:
    took = duration((operation.ended_at or operation.begun_at) - operation.begun_at)
    lines = [f":white_check_mark: *{escape(_what(operation))} is {ARRIVED[operation.verb]}* after {took}"]
    lines += _traffic_lines(outcome.traffic)
    lines += [_exit_line(end.pod, end.container, end.code) for end in outcome.exits if end.code != 0]
    lines += [
        f":warning: the end of {quoted(name)} was not seen: unknown whether it was killed" for name in outcome.unseen
    ]
    lines += _databases_clean(outcome.exits, outcome.unseen)
    lines += _left(operation)
    if operation.goal.unverified:
        lines.append(
            ":warning: pods ready, *replication not checked*: several sql pods of an untethered cluster. Run in one of "
            "them: `SELECT member_host, member_state FROM performance_schema.replication_group_members;` "
            "every member has to be ONLINE; if none is, bootstrap the group again"
        )
    return paragraph(lines)


def _left(operation: Operation) -> list[str]:
    if operation.verb is not Verb.START:
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
    lines = [f":x: *{escape(_what(operation))}: the {operation.verb} failed*"]
    if outcome.error:
        lines.append(quoted(outcome.error))
    if outcome.done or outcome.missing:
        lines.append(f"done: {listed([_label(operation, name) for name in outcome.done])}")
        lines.append(f"not done: {listed([_label(operation, name) for name in outcome.missing])}")
    lines.append("Nothing was rolled back.")
    return [
        *paragraph(lines),
        *diagnosis_blocks(_diagnosis(outcome)),
        section(
            f"*Go on with*\n`/tml {_command(operation)}` once the cause is mended: it goes on from "
            f"here\n`/tml status {escape(operation.cluster)}` looks again"
        ),
        *_by_hand(operation, outcome),
    ]


def _command(operation: Operation) -> str:
    """What was typed, with its options: without them a restart would mean another thing, or be refused."""
    typed = unescaped(operation.command) or f"{operation.verb} {operation.cluster}"
    return quoted(typed.replace("`", "'"))


def _label(operation: Operation, name: str) -> str:
    return next(workload.label for workload in operation.goal.topology if str(workload.ref) == name)


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
    again = f"{operation.verb.capitalize()} again"
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
    "exit": _exit,
    "slow": _slow,
    "finished": _finished,
    "late": _late_told,
}
