"""An operation as people follow it: its live message."""

from collections.abc import Callable, Sequence
from typing import Any

from bot.views.blocks import (
    Block,
    Message,
    actions,
    asking_first,
    button,
    context,
    escape,
    message,
    paragraph,
    quoted,
    section,
)
from bot.views.configuration import verdict
from bot.views.ending import CANCELLED_SIGN, is_cancelled, reason_of, what
from bot.views.snapshots import held
from bot.views.words import DOING, DONE, PHASES, REACHED, duration, mention, when
from lifecycle.decide import BACK, phases_from, phases_of
from lifecycle.decide.cancel import reason_against
from lifecycle.decide.quiescing import RESUMED, has_commands
from lifecycle.model import Kind, Ref, Verb
from lifecycle.operation import Operation, Outcome, State
from lifecycle.phase import Phase
from storage.audit import Recorded


def headline(operation: Operation) -> str:
    """Verdict, cluster and reason: what a phone shows first."""
    match operation.state:
        case State.RUNNING:
            lead = _running(operation)
        case State.DONE:
            lead = ", ".join(filter(None, [f"{DONE[operation.verb]} {what(operation)}", verdict(operation)]))
        case State.FAILED:
            lead = _unreached(operation)
    return f"{lead}: {_why(operation)}" if _why(operation) else lead


def _running(operation: Operation) -> str:
    doing = f"{DOING[operation.verb]} {what(operation)}"
    return f"Cancelled: {doing[0].lower()}{doing[1:]}" if operation.cancellation else doing


def _unreached(operation: Operation) -> str:
    lead = "CANCELLED before it could" if is_cancelled(operation) else "FAILED to"
    return f"{lead} {operation.verb.words} {what(operation)}"


def _why(operation: Operation) -> str:
    if operation.cancellation and is_cancelled(operation):
        return operation.cancellation.reason
    if operation.outcome and operation.state is State.FAILED:
        return reason_of(operation.outcome)
    return operation.reason


def live(operation: Operation, entries: Sequence[Recorded]) -> Message:
    """The one message that changes while the operation runs."""
    symbol = {State.RUNNING: ":hourglass_flowing_sand:", State.DONE: ":white_check_mark:", State.FAILED: ":x:"}
    mark = ":warning:" if verdict(operation) else symbol[operation.state]
    if is_cancelled(operation):
        mark = CANCELLED_SIGN
    lines = [f"{mark} *{escape(_title(operation))}*", _asked(operation), *_cancelled(operation)]
    lines += held(operation)
    if operation.state is State.FAILED and not is_cancelled(operation):
        lines.append(f":mag: {quoted(_why(operation))}")
    return message(
        headline(operation),
        [
            *paragraph(lines),
            *paragraph(_progress(operation, entries)),
            context(_footer(operation)),
            *_way_out(operation),
        ],
    )


def _cancelled(operation: Operation) -> list[str]:
    if operation.cancellation is None:
        return []
    because = f", because {quoted(operation.cancellation.reason)}" if operation.cancellation.reason else ""
    return [f"{CANCELLED_SIGN} {mention(operation.cancellation.person)} cancelled it{because}"]


def _way_out(operation: Operation) -> list[Block]:
    """The button that cancels, while that can be."""
    if reason_against(operation):
        return []
    question = (
        f"{DOING[operation.verb]} {operation.cluster} ends where it is. The thread tells what is done and what not."
    )
    return [actions(asking_first(button("Cancel", "cancel", operation.id), "Cancel it?", question, "Cancel it", "No"))]


def bare(operation: Operation) -> Message:
    """In place of a message that Slack does not take: the verdict at least, and where the rest is."""
    text = headline(operation)
    look = f"Slack did not take the details. `/tml status {escape(operation.cluster)}` shows them."
    return message(text, [section(f"*{quoted(text)}*\n{look}")])


def _title(operation: Operation) -> str:
    if operation.state is State.RUNNING:
        return _running(operation)
    took = duration((operation.ended_at or operation.begun_at) - operation.begun_at)
    if operation.state is State.DONE:
        done = f"{DONE[operation.verb]} {what(operation)} in {took}"
        return ": ".join(filter(None, [done, verdict(operation)]))
    return f"{_unreached(operation)} after {took}"


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
    words = PHASES[_way_back(operation)]
    if operation.outcome is None:
        return [
            f"{CANCELLED_SIGN if operation.failure.cancelled else ':x:'} {quoted(reason_of(operation.failure))}",
            f":hourglass_flowing_sand: {words}",
        ]
    return [f"{':white_check_mark:' if operation.outcome.back_up else ':x:'} {words}"]


def _way_back(operation: Operation) -> str:
    """The phase that it is, by its name."""
    if operation.verb is Verb.VERIFY:
        return "clean"
    return RESUMED.name if has_commands(operation.goal) else BACK.name


def _while_running(operation: Operation, entries: Sequence[Recorded]) -> Callable[[str, str], str]:
    arrived = {name for entry in entries if entry.kind == "arrived" for name in entry.data["objects"]}
    sent = {stepped(entry.data) for entry in entries if entry.kind == "step"}

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


def stepped(data: Any) -> str:
    return str(Ref(Kind(data["kind"]), data["name"]))
