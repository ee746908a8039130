"""The private answers to what people type and press."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bot.access import Role
from bot.grammar import USAGES
from bot.status import Line, Status
from bot.views import claims, removals
from bot.views import hold as hold_views
from bot.views.blocks import (
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
from bot.views.configuration import verdict
from bot.views.ending import CANCELLED_SIGN, diagnosis_blocks, is_cancelled
from bot.views.plan import cautions, effect, fate, lost_for_good, waves
from bot.views.words import DOING, duration, listed, mention, part_of, when
from lifecycle.decide.delete import REMOVING
from lifecycle.errors import AlreadyThere, ClusterBusy, ClusterError, Forbidden, Invalid, Refused
from lifecycle.hold import ClusterHeld, Hold
from lifecycle.model import Person, Verb
from lifecycle.observed import Observed
from lifecycle.operation import Operation, State
from lifecycle.plan import Plan
from lifecycle.volumes import Volume
from storage.proposals import Proposal

SYMBOL = {
    "ready": ":white_check_mark:",
    "not ready": ":warning:",
    "stopping": ":hourglass_flowing_sand:",
    "stopped": ":octagonal_sign:",
}
VERDICT = {State.RUNNING: "running", State.DONE: "done", State.FAILED: "FAILED"}


def usages() -> Message:
    """What can be typed."""
    lines = [f"`/tml {usage.usage}` {escape(usage.help)}" for usage in USAGES]
    return message("What /tml understands", paragraph(["*What `/tml` understands*", *lines]))


def refused(refusal: Refused, link: str | None = None) -> Message:
    """The refusal's own words, with what the record knows about its reason."""
    text = str(refusal)
    lines = [f":no_entry: {escape(text)}"]
    if isinstance(refusal, AlreadyThere):
        lines.append(_credit(refusal.last))
    if isinstance(refusal, ClusterBusy) and link:
        lines.append(f"<{link}|Follow {refusal.operation}>")
    if isinstance(refusal, ClusterHeld):
        lines.append(hold_views.note(refusal.hold))
    return message(text, [*paragraph(lines), context(refusal.aftermath)])


def _credit(last: Operation | None) -> str:
    if last is None:
        return "not by this bot: its last operation on the cluster ended otherwise, or there was none"
    return f"since {when(last.ended_at or last.begun_at)}, by {mention(last.requester)} ({escape(last.id)})"


def unreachable(error: ClusterError) -> Message:
    """Kubernetes could not be read, so nothing was decided."""
    match error:
        case Forbidden():
            text = f"Kubernetes does not let the bot look: {error}"
        case Invalid():
            text = f"The bot cannot ask Kubernetes: {error}. Its administrators have to mend that."
        case _:
            text = f"Kubernetes does not answer: {error}. Try again in a moment."
    return message(text, [section(f":warning: {quoted(text)}"), context("Nothing was changed.")])


def unrecorded() -> Message:
    """The database did not take it, so it was not done."""
    text = "The bot's database did not take this, so nothing was done. Try again in a moment."
    return message(text, [section(f":warning: {text}")])


def deciding() -> Message:
    """A submission that takes longer than Slack waits; the page is changed when it is decided."""
    text = "Looking at the cluster once more …"
    return message(text, [section(f":hourglass_flowing_sand: {text}")])


def broken() -> Message:
    """A defect; what is known is said."""
    text = "This went wrong inside the bot. `/tml status CLUSTER` and `/tml history` tell what was begun, if anything."
    return message(text, [section(f":x: {text}"), context("The trace is in the bot's log.")])


def begun(operation: Operation) -> Message:
    """Acknowledged: it is recorded and has an id."""
    text = f"{DOING[operation.verb]} {operation.cluster} ({operation.id})"
    where = f"Follow it in <#{operation.place.channel}>."
    return message(text, [section(f":arrow_forward: *{escape(text)}*\n{where}")])


def interrupted(operation: Operation) -> Message:
    """Acknowledged: from here on no step is recorded, and so none is done."""
    text = f"Cancelled {operation.id}: no new step is taken"
    where = f"Its thread in <#{operation.place.channel}> tells what is done and what not."
    return message(text, [section(f"{CANCELLED_SIGN} *{escape(text)}*\n{where}")])


def opposed(running: Operation, proposal: Proposal) -> Message:
    """What runs takes the cluster the other way."""
    text = f"{proposal.cluster} is busy: {running.id} is {DOING[running.verb].lower()} it"
    since = f"{mention(running.requester)} asked for that, {when(running.begun_at)}."
    yes = f"Cancel it and {proposal.verb.words} instead"
    return message(
        text,
        [
            section(f":hourglass_flowing_sand: *{escape(text)}.*\n{since}"),
            actions(button(yes, "instead", proposal.id, "danger"), button("Leave it", "dismiss", proposal.id)),
        ],
    )


def card(proposal: Proposal, plan: Plan, *, changed: bool) -> Message:
    """The second look: plan, effect on traffic and two buttons."""
    what = f"{proposal.verb.words.capitalize()} {part_of(proposal.cluster, plan.goal)}"
    text = f"{what}?"
    lead = ":warning: The cluster changed since you were asked; this is the plan now.\n" if changed else ""
    because = f"\nbecause {quoted(proposal.reason)}" if proposal.reason else ""
    style = "primary" if proposal.verb in (Verb.START, Verb.RETURN, Verb.RESTORE) else "danger"
    return message(
        text,
        [
            section(f"{lead}*{escape(text)}*{because}"),
            *paragraph([*lost_for_good(plan), "*Plan*, each line when the one before is through", *waves(plan)]),
            *paragraph([effect(plan), *fate(plan), *cautions(plan)]),
            actions(
                button(what, "confirm", proposal.id, style),
                button("Leave it", "dismiss", proposal.id),
            ),
            context(f"{proposal.id} · plan {plan.digest[:12]} · answer until {when(proposal.expires_at)}"),
        ],
    )


def dismissed() -> Message:
    text = "Left as it is. Nothing was changed."
    return message(text, [section(text)])


def plan(cluster: str, made: Plan) -> Message:
    """What would be done, without doing it."""
    text = f"Plan to {made.verb.words} {cluster}; nothing was changed"
    return message(
        text,
        [
            *paragraph([f":mag: *{escape(text)}*", *lost_for_good(made), *waves(made)]),
            *paragraph([effect(made), *fate(made), *cautions(made)]),
            context(f"plan {made.digest[:12]}"),
        ],
    )


@dataclass(frozen=True)
class Glance:
    """A cluster in `list`."""

    name: str
    environment: str
    word: str
    running: Operation | None
    last: Operation | None
    hold: Hold | None = None


def clusters(glances: Sequence[Glance]) -> Message:
    """The clusters this person may see."""
    if not glances:
        text = "There is no cluster that you may see. `/tml whoami` shows what the bot knows about you."
        return message(text, [section(text)])
    lines = [
        f"*{escape(glance.name)}* ({quoted(glance.environment)}) {quoted(glance.word)}{_doing(glance)}{_held(glance)}"
        for glance in glances
    ]
    return message("Clusters", paragraph(lines))


def _held(glance: Glance) -> str:
    return f" · {hold_views.note(glance.hold)}" if glance.hold else ""


def _doing(glance: Glance) -> str:
    if glance.running:
        return f" · {DOING[glance.running.verb].lower()} now ({escape(glance.running.id)})"
    return " · ".join(["", f"last: {_outcome(glance.last)}", *_way_back(glance.last)]) if glance.last else ""


def _way_back(last: Operation) -> list[str]:
    """Of a cluster that is partly there: a removal, or what brings it back, did not come to its end."""
    if removals.is_half(last):
        return [f":recycle: *half removed*: `/tml start {escape(last.cluster)}` brings all of it back"]
    is_half = last.verb is Verb.RESTORE or (last.verb is Verb.DELETE and last.phase in REMOVING)
    if last.state is not State.FAILED or not is_half:
        return []
    return [f":recycle: *half deleted*: `/tml restore {escape(last.cluster)}` brings all of it back"]


def _outcome(operation: Operation) -> str:
    moment = operation.ended_at or operation.begun_at
    return f"{operation.verb.words} {_verdict(operation)} {when(moment)} by {mention(operation.requester)}"


def _verdict(operation: Operation) -> str:
    word = "cancelled" if is_cancelled(operation) else VERDICT[operation.state]
    return ", ".join(filter(None, [word, verdict(operation)]))


def status(cluster: str, seen: Status, link: str | None) -> Message:
    """Components, volumes, what runs, what is not as it was left, and why something is unready."""
    found = seen.discovery
    text = f"{cluster} is {seen.word}"
    lead = f"*{escape(text)}* · {escape(found.target.namespace)} · {quoted(found.mode)} {quoted(found.release)}"
    return message(
        text,
        [
            *paragraph([lead, *(_line(line) for line in seen.lines)]),
            *paragraph(_notes(seen, link)),
            *diagnosis_blocks(seen.diagnosis),
            *_volumes(found.observed),
        ],
    )


def deleted(cluster: str, removal: Operation, left: Observed, copies: Sequence[str] = ()) -> Message:
    """A cluster that is gone: what a restore would bring back, as it is seen now.

    ``copies`` are the namespaces from which the capture would be read, where its own does not have it.
    """
    text = f"{cluster} is deleted"
    kept = [left.volume(volume.name) for volume in removal.goal.volumes]
    whole = bool(left.capture) and all(volume is not None and volume.is_retained for volume in kept)
    verdict = f":recycle: `/tml restore {escape(cluster)}` brings it back" if whole else ":x: *not restorable as it is*"
    where = f", in the copy in {listed([quoted(one) for one in copies])}" if copies else ""
    written = f":white_check_mark: every object is written down{where}"
    capture = written if left.capture else ":x: the capture is not whole"
    return message(
        text,
        [
            *paragraph([f"*{escape(text)}* · {_outcome(removal)} ({escape(removal.id)})", verdict, capture]),
            *paragraph([_kept(one, seen) for one, seen in zip(removal.goal.volumes, kept, strict=True)]),
            *paragraph(
                [
                    f":x: {quoted(one.name)}: lost for good with this delete; it comes back empty"
                    for one in removal.goal.lost_claims
                ]
            ),
        ],
    )


def _kept(frozen: Volume, seen: Volume | None) -> str:
    if seen is None or seen.uid != frozen.uid:
        return f":x: {quoted(frozen.claim)}: volume {quoted(frozen.name)} is gone"
    mark = ":white_check_mark:" if seen.is_retained else ":warning:"
    where = f"volume {quoted(seen.name)} {quoted(seen.capacity)}"
    return f"{mark} {quoted(frozen.claim)}: {where} {quoted(seen.policy)} {quoted(seen.phase)}"


def _line(line: Line) -> str:
    counts = f"{line.state.ready}/{line.state.replicas}"
    remembered = f", {line.state.remembered} remembered" if line.word == "stopped" and line.state.remembered else ""
    return f"{SYMBOL[line.word]} {line.workload.label} {line.word} ({counts}{remembered})"


def _volumes(observed: Observed) -> list[Block]:
    if not observed.claims:
        return []
    bound = len(observed.claims) - len(claims.unbound(observed.claims))
    summary = section(f"*Volumes* {bound} of {len(observed.claims)} Bound")
    return [summary, *preformatted(claims.table(observed.claims, observed.at))]


def _notes(seen: Status, link: str | None) -> list[str]:
    lines = []
    if seen.running:
        name = f"<{link}|{seen.running.id}>" if link else seen.running.id
        lines.append(
            f":hourglass_flowing_sand: {DOING[seen.running.verb]} now: {name} by {mention(seen.running.requester)}"
        )
    elif seen.last:
        lines.append(f"Last: {_outcome(seen.last)} ({seen.last.id})")
        lines += _way_back(seen.last)
    if seen.absent and not seen.running:
        lines += removals.why_half(seen.last)
    if seen.drift:
        lines.append(":warning: *No longer as the bot left it*")
        lines += [f"• {quoted(text)}" for text in seen.drift]
    return lines


def history(cluster: str | None, rows: Sequence[tuple[Operation, str | None]]) -> Message:
    """The newest operations, newest first."""
    text = f"History of {cluster or 'all clusters'}"
    if not rows:
        return message(text, [section(f"*{escape(text)}*\nNothing was done yet.")])
    return message(text, [section(f"*{escape(text)}*"), *(section(_row(operation, link)) for operation, link in rows)])


def _row(operation: Operation, link: str | None) -> str:
    symbol = {State.RUNNING: ":hourglass_flowing_sand:", State.DONE: ":white_check_mark:", State.FAILED: ":x:"}
    mark = CANCELLED_SIGN if is_cancelled(operation) else symbol[operation.state]
    name = f"<{link}|{operation.id}>" if link else operation.id
    took = f" in {duration(operation.ended_at - operation.begun_at)}" if operation.ended_at else ""
    because = f": {quoted(operation.reason)}" if operation.reason else ""
    return (
        f"{mark} {when(operation.begun_at)} {mention(operation.requester)} *{operation.verb.words} "
        f"{escape(operation.cluster)}* {_verdict(operation)}{took} ({name}){because}"
    )


def whoami(person: Person, roles: Mapping[str, Role | None]) -> Message:
    """Who Slack says this is, and what that allows."""
    text = f"You are {person.user} of {person.team}"
    lines = [f"{mention(person)}, to this bot you are `{escape(person.user)}` of `{escape(person.team)}`"]
    for role in (Role.OPERATOR, Role.VIEWER, None):
        names = [escape(name) for name, held in roles.items() if held is role]
        if names:
            lines.append(f"{_may(role)}: {listed(names)}")
    return message(text, paragraph(lines))


def _may(role: Role | None) -> str:
    return {Role.OPERATOR: "operate", Role.VIEWER: "look at", None: "nothing with"}[role]
