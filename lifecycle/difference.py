"""What is not as it was between two plans for the same thing, in words."""

from collections.abc import Mapping

from lifecycle.observed import Forwarding, Part
from lifecycle.plan import Plan
from lifecycle.volumes import Claim, Volume
from lifecycle.workloads import Workload


def difference(before: Plan, after: Plan) -> tuple[str, ...]:
    """What changed from ``before`` to ``after``; empty where only what no plan depends on did."""
    told = [*_counts(before, after), *_objects(_named(before), _named(after)), *_streams(before, after)]
    told += _losses(before, after)
    if before.goal.keeps != after.goal.keeps:
        told.append("the volumes are kept for another time than was said")
    if not told and before.waves != after.waves:
        told.append("the steps are others, or in another order")
    return tuple(told)


def _counts(before: Plan, after: Plan) -> list[str]:
    return [
        f"{ref}: {before.goal.counts[ref]} replicas before, {count} now"
        for ref, count in after.goal.counts.items()
        if ref in before.goal.counts and before.goal.counts[ref] != count
    ]


def _objects(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    gone = [f"{name} is gone" for name in before if name not in after]
    new = [f"{name} is new" for name in after if name not in before]
    others = [f"{name} is another object now" for name, uid in after.items() if before.get(name, uid) != uid]
    return gone + new + others


def _streams(before: Plan, after: Plan) -> list[str]:
    """Where the logs go decides what is lost with their volume."""
    earlier = {stream.name: stream.forwarding for stream in before.goal.streams}
    return [
        f"log stream {stream.name or 'in general'}: {earlier.get(stream.name, Forwarding.UNKNOWN)} before, "
        f"{stream.forwarding} now"
        for stream in after.goal.streams
        if earlier.get(stream.name, Forwarding.UNKNOWN) is not stream.forwarding
    ]


def _losses(before: Plan, after: Plan) -> list[str]:
    """What was not said to be lost for good when people were asked, or is not any more."""
    earlier, now = ({claim.ref: claim.uid for claim in one.goal.lost_claims} for one in (before, after))
    more = [f"{ref} would be lost for good now" for ref, uid in now.items() if earlier.get(ref) != uid]
    return more + [f"{ref} would not be lost any more" for ref in earlier if ref not in now]


def _named(plan: Plan) -> dict[str, str]:
    """The uid of every object concerned, by kind and name."""
    goal = plan.goal
    concerned: tuple[Workload | Claim | Volume | Part, ...] = (
        *goal.scope,
        *goal.claims,
        *goal.volumes,
        *goal.parts,
        *goal.staying,
    )
    return {str(one.ref): one.uid for one in concerned}
