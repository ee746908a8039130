"""The end of an operation: what was reached, what not, and what to type next."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from bot.line import unescaped
from bot.views import claims, kept, removals, snapshots, verification
from bot.views.addresses import address_lines
from bot.views.blocks import Block, actions, button, context, escape, paragraph, preformatted, quoted, section
from bot.views.configuration import configuration_lines, verdict
from bot.views.words import REACHED, duration, listed, object_label, object_labels, part_of
from lifecycle.decide import BACK, remove
from lifecycle.decide.delete import CLAIMS_REMOVED, REMOVING
from lifecycle.decide.quiescing import has_commands
from lifecycle.diagnosis import Diagnosis, Traffic
from lifecycle.model import KILLED, Verb
from lifecycle.operation import WHY_CANCELLED, Operation, Outcome, State
from lifecycle.workloads import Exit

NOTES = 4
"""Diagnosis findings shown in full; the rest is counted."""
LOG_LINES = 20
"""Of a finding's log, the last: where it broke."""


CANCELLED_SIGN = ":no_entry_sign:"


BACK_BY = {Verb.STOP: Verb.START, Verb.START: Verb.STOP}
"""What takes back a part of it."""


def is_cancelled(operation: Operation) -> bool:
    """Whether it ended because somebody cancelled it: it may have reached its goal, or failed, all the same."""
    return operation.outcome is not None and operation.outcome.cancelled


def what(operation: Operation) -> str:
    return part_of(operation.cluster, operation.goal)


def reason_of(outcome: Outcome) -> str:
    return outcome.error or diagnosis_of(outcome).headline


def diagnosis_of(outcome: Outcome) -> Diagnosis:
    return outcome.diagnosis or Diagnosis()


def exit_line(pod: str, container: str, code: int) -> str:
    name = quoted(f"{pod}/{container}")
    if code == KILLED:
        return f":warning: {name} was KILLED (exit {code}): it did not stop within its grace period"
    mark = ":white_check_mark:" if code == 0 else ":warning:"
    return f"{mark} {name} ended with exit code {code}"


def finished(operation: Operation, _data: Any, at: datetime) -> list[Block]:
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
    lines += [
        f":rotating_light: *Lost for good* {quoted(one.name)}: there was no volume to keep; it comes back empty"
        for one in goal.lost_claims
    ]
    lines += kept.dated(operation)
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
    return [*paragraph(_done_lines(operation, outcome)), *_by_hand(operation, outcome)]


def _done_lines(operation: Operation, outcome: Outcome) -> list[str]:
    took = duration((operation.ended_at or operation.begun_at) - operation.begun_at)
    mark, reached = (":warning:", verdict(operation)) if verdict(operation) else (":white_check_mark:", None)
    lines = [f"{mark} *{escape(what(operation))} is {reached or REACHED[operation.verb]}* after {took}"]
    lines += [*snapshots.held(operation), *configuration_lines(operation.goal, outcome)]
    lines += _traffic_lines(outcome.traffic)
    lines += address_lines(outcome.addresses)
    lines += [exit_line(end.pod, end.container, end.code) for end in outcome.exits if end.code != 0]
    lines += [
        f":warning: the end of {quoted(name)} was not seen: unknown whether it was killed" for name in outcome.unseen
    ]
    lines += _databases_clean(outcome.exits, outcome.unseen)
    lines += [*snapshots.cloned(operation.goal), *snapshots.way_back(operation)]
    lines += kept.dated(operation) if operation.verb is Verb.RESTORE_IN_PLACE else []
    lines += snapshots.emptied(operation.goal) if operation.verb is Verb.RESTORE else []
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
    lines = [_verdict(operation)]
    if outcome.error and outcome.error != WHY_CANCELLED:
        lines.append(quoted(outcome.error))
    if outcome.done or outcome.missing:
        lines.append(f"done: {listed(object_labels(operation.goal, outcome.done))}")
        lines.append(f"not done: {listed(object_labels(operation.goal, outcome.missing))}")
    lines.append(_left_as(operation, outcome))
    return [
        *paragraph(lines),
        *diagnosis_blocks(diagnosis_of(outcome)),
        section(f"*Go on with*\n{_go_on(operation)}\n`/tml status {escape(operation.cluster)}` looks again"),
        *_by_hand(operation, outcome),
    ]


def _verdict(operation: Operation) -> str:
    if is_cancelled(operation):
        return f"{CANCELLED_SIGN} *{escape(what(operation))}: the {operation.verb.words} was cancelled*"
    return f":x: *{escape(what(operation))}: the {operation.verb.words} failed*"


def _left_as(operation: Operation, outcome: Outcome) -> str:
    if operation.verb is Verb.VERIFY:
        return verification.left_as(operation)
    if outcome.back_up is not None and has_commands(operation.goal):
        after = "was run" if outcome.back_up else "was *not seen to succeed*: what the one before it did may hold still"
        return f"Nothing was removed. The command after the cut {after}."
    if outcome.back_up is not None:
        again = "*was started again*" if outcome.back_up else "*could not be started again*"
        return f"Nothing was removed. {escape(operation.cluster)} {again}."
    if operation.verb in (Verb.DELETE, Verb.REMOVE) and operation.phase not in (*REMOVING, *remove.REMOVING):
        return "Nothing was removed, and nothing was rolled back."
    return "Nothing was rolled back."


def _go_on(operation: Operation) -> str:
    if is_cancelled(operation) and operation.verb in BACK_BY:
        back = f"`/tml {BACK_BY[operation.verb]} {escape(operation.cluster)}` takes back what was done"
        return f"{back}\n`/tml {_command(operation)}` goes on from here"
    if operation.verb is Verb.REMOVE:
        return removals.go_on(operation, _command(operation), _mended(operation))
    if operation.verb is Verb.VERIFY:
        return verification.go_on(operation)
    if operation.verb is Verb.DELETE and operation.phase in REMOVING:
        back = f"`/tml restore {escape(operation.cluster)}` brings back what was removed; every volume is kept"
        waits = "or leave it deleted: a claim that is Terminating goes by itself when nothing mounts it any more"
        return f"{back}\n{waits}" if operation.phase == CLAIMS_REMOVED.name else back
    if operation.verb is Verb.DELETE:
        again = f"`/tml {_command(operation)}`{_mended(operation)}: it asks for a new approval"
        start = f"`/tml start {escape(operation.cluster)}` starts it\n"
        return f"{start if operation.outcome and operation.outcome.back_up is False else ''}{again}"
    if operation.verb is Verb.RESTORE_IN_PLACE and operation.phase != "up":
        again = f"`/tml {_command(operation)}`{_mended(operation)}: it asks for a new approval"
        return "\n".join([again, *snapshots.way_back(operation)])
    if operation.verb is Verb.RESTORE_IN_PLACE:
        return f"`/tml start {escape(operation.cluster)}` starts what is not up: every claim is made of the set"
    if operation.verb is Verb.SNAPSHOT:
        start = f"`/tml start {escape(operation.cluster)}` starts what is not up\n"
        is_down = operation.phase in ("up", BACK.name) and not (operation.outcome and operation.outcome.back_up)
        return f"{start if is_down else ''}`/tml {_command(operation)}`{_mended(operation)}: it takes a new set"
    return f"`/tml {_command(operation)}`{_mended(operation)}: it goes on from here"


def _mended(operation: Operation) -> str:
    return "" if is_cancelled(operation) else " once the cause is mended"


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
