"""A stop that removes and the start after it, in the words of every view: what goes, what stays, how it comes back."""

from collections.abc import Sequence

from bot.views import claims
from bot.views.blocks import Message, escape, message, paragraph, preformatted, quoted
from bot.views.snapshots import written_down
from bot.views.words import DOING, listed, mention, object_labels, when
from lifecycle.decide.remove import REMOVING
from lifecycle.model import Action, Kind, Ref, Verb
from lifecycle.observed import Observed, Part
from lifecycle.operation import Operation, State
from lifecycle.plan import Plan
from lifecycle.volumes import Claim

HALF_BY_HAND = (
    ":warning: *Half removed, and not by this bot*: no capture says how what is missing was. A start runs what is "
    "there; the rest comes back with what made it, such as the vendor's start script"
)


def is_half(last: Operation) -> bool:
    """Whether it did not come to its end, so that a part of the cluster may be missing."""
    begun = last.verb is Verb.RETURN or (last.verb is Verb.REMOVE and last.phase in REMOVING)
    return begun and last.state is State.FAILED


def why_half(last: Operation | None) -> list[str]:
    """Of a cluster of which something is missing; what failed half-way is told where the last operation is."""
    if last and is_half(last):
        return []
    if last and last.verb is Verb.REMOVE and last.phase in REMOVING:
        start = f"`/tml start {escape(last.cluster)}`"
        return [f":recycle: a part of what {escape(last.id)} removed is not back: {start} brings all of it back"]
    return [HALF_BY_HAND]


def fate(plan: Plan) -> list[str]:
    """Of a stop that removes."""
    goal = plan.goal
    return [
        "*Comes back* with `/tml start`, as it is now: it is written down first.",
        *written_down(goal),
        f"*Stays* {len(goal.claims)} claims and their volumes are not touched, and are seen Bound at the end.",
        *_staying(goal.staying),
        *(
            f":warning: the address {_addresses(part)} of {quoted(part.ref.name)} is given up: the next one may be "
            "another; DNS that names it has to follow"
            for part in goal.parts
            if part.addresses
        ),
    ]


def fate_of_return(plan: Plan) -> list[str]:
    """Of the start after it."""
    made = {step.ref for wave in plan.waves for step in wave if step.action is Action.MAKE}
    lead = "What is missing is made as it was, for the claims that stayed" if made else "Nothing of it is missing"
    return [
        f"{lead}. What is there is changed only where the plan says overwrite.",
        *(
            f":warning: the address {_addresses(part)} of {quoted(part.ref.name)} was given up: the new one may be "
            "another; DNS that names it has to follow"
            for part in plan.goal.parts
            if part.addresses and part.ref in made
        ),
    ]


def _addresses(part: Part) -> str:
    return listed([quoted(address) for address in part.addresses])


def _staying(parts: Sequence[Part]) -> list[str]:
    shared = [quoted(part.ref.name) for part in parts if part.ref.kind is not Kind.SERVICE]
    lines = [
        f":information_source: {quoted(part.ref.name)} stays with its address {_addresses(part)}"
        for part in parts
        if part.addresses
    ]
    return [*lines, f":information_source: what all components share stays: {listed(shared)}"] if shared else lines


def way_back(operation: Operation) -> list[str]:
    """What is said at the end of a stop that removed."""
    goal = operation.goal
    gone = [str(one.ref) for one in (*goal.scope, *goal.parts)]
    return [
        f"*Removed* {listed(_counted(gone))}",
        f":recycle: `/tml start {escape(operation.cluster)}` brings all of it back as it was",
        *_staying(goal.staying),
    ]


def _counted(names: Sequence[str]) -> list[str]:
    """3 statefulsets, 1 service; the names are on the plan."""
    kinds = [name.partition("/")[0] for name in names]
    return [f"{kinds.count(kind)} {kind}{'s' if kinds.count(kind) > 1 else ''}" for kind in dict.fromkeys(kinds)]


def go_on(operation: Operation, command: str, mended: str) -> str:
    """What to type after one that did not come to its end; ``mended``: what has to be done before it is typed again."""
    start = f"`/tml start {escape(operation.cluster)}`"
    if operation.phase in REMOVING:
        return f"{start} brings back what was removed, and runs it"
    again = f"`/tml {command}`{mended}"
    is_down = operation.outcome is not None and operation.outcome.back_up is False
    return f"{start} starts it\n{again}" if is_down else again


def removed(removal: Operation, seen: Observed, missing: Sequence[Ref]) -> Message:
    """A cluster that is stopped and removed: what a start brings back, as it is seen now."""
    cluster = escape(removal.cluster)
    text = f"{removal.cluster} is stopped and removed by {removal.id}"
    way = f":recycle: `/tml start {cluster}` brings it back, as it was"
    lost = ":x: *the capture is not there, or not whole*: nothing says how the cluster was"
    gone = listed(object_labels(removal.goal, [str(ref) for ref in missing]))
    since = f"since {when(removal.ended_at or removal.begun_at)}, by {mention(removal.requester)}"
    lines = [f"*{escape(text)}*", since, way if seen.capture else lost, f"Missing now: {gone}"]
    return message(text, [*paragraph(lines), *_volumes(removal.goal.claims, seen)])


def _volumes(before: Sequence[Claim], seen: Observed) -> list[dict[str, object]]:
    bound = len(seen.claims) - len(claims.unbound(seen.claims))
    gone = [claim.name for claim in before if seen.claim(claim.name) is None]
    lines = [f"*Volumes* {bound} of {len(seen.claims)} Bound", *(f":x: claim {quoted(name)} is gone" for name in gone)]
    return [*paragraph(lines), *preformatted(claims.table(seen.claims, seen.at) if seen.claims else [])]


def under_way(running: Operation) -> Message:
    """Nothing of it is there while an operation takes it away or makes it."""
    text = f"{running.cluster}: {DOING[running.verb].lower()} now ({running.id})"
    return message(text, paragraph([f":hourglass_flowing_sand: *{escape(text)}*", "No workload is there right now."]))


def taken_by_hand(cluster: str, left: Sequence[Claim], last: Operation | None) -> Message:
    """Nothing but claims is there, and it was not this bot."""
    text = f"{cluster} is removed, and not by this bot"
    known = listed([workload.label for workload in last.goal.topology]) if last else "every component"
    lines = [
        f"*{escape(text)}*",
        f"Missing: {known}. No capture says how it was.",
        "It comes back with what made it, such as the vendor's start script, which finds the claims by their names.",
        f"*Volumes* {len(left) - len(claims.unbound(left))} of {len(left)} Bound",
        *(f"• {quoted(one.name)} {quoted(one.status)} {quoted(one.volume)} {quoted(one.capacity)}" for one in left),
    ]
    return message(text, paragraph(lines))
