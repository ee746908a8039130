"""Claims made of a snapshot set: which they are, what is in the way, and when they are there."""

from lifecycle.errors import Unsafe
from lifecycle.model import Action, Ref, Step
from lifecycle.observed import Observed
from lifecycle.operation import Goal, Operation
from lifecycle.snapshots import Clone, SnapshotSet
from lifecycle.volumes import Claim, Snapshot
from lifecycle.workloads import Workload


def clones_of(taken: SnapshotSet, by: Operation) -> tuple[Clone, ...]:
    """The claims of the set, as they were when the operation ``by`` took it. Raises Unsafe where one is not known."""
    claims = {claim.name: claim for claim in by.goal.claims}
    owners = {name: workload for name in claims for workload in by.goal.topology if workload.owns_claim(name)}
    unknown = [member.claim for member in taken.members if member.claim not in owners]
    if unknown:
        raise Unsafe(f"nothing is known of the claims {', '.join(unknown)} of {taken.id}, so they cannot be made again")
    return tuple(
        _clone(taken, number, claims[member.claim], owners[member.claim]) for number, member in enumerate(taken.members)
    )


def _clone(taken: SnapshotSet, number: int, claim: Claim, owner: Workload) -> Clone:
    member = taken.members[number]
    return Clone(
        claim=claim.name,
        snapshot=member.name,
        uid=member.uid,
        handle=member.handle,
        size=member.size,
        capacity=claim.capacity,
        storage_class=claim.storage_class,
        access_modes=claim.access_modes,
        mode=member.mode,
        labels=owner.selector,
        driver=member.driver,
    )


def cloning_steps(goal: Goal, observed: Observed) -> list[Step]:
    """Make the claims that are not there, all at once."""
    return [Step(Action.MAKE, clone.ref) for clone in goal.clones if observed.claim(clone.claim) is None]


def is_cloned(goal: Goal, observed: Observed, ref: Ref) -> bool:
    """It was made here of the chosen set; that it is Bound is not waited for, its pod has to come first."""
    seen = observed.claim(ref.name)
    return seen is not None and is_ours(goal, seen) and seen.status != Claim.TERMINATING


def is_ours(goal: Goal, claim: Claim) -> bool:
    """Made of the chosen set, and none of those that go."""
    return claim.made_by == goal.cloned_by and all(claim.uid != old.uid for old in goal.claims)


def lost_snapshots(goal: Goal, observed: Observed) -> str | None:
    """Without all of the set nothing may go: half a restore is two clusters in one."""
    for clone in goal.clones:
        seen = observed.snapshot(clone.snapshot)
        if seen is None or not is_meant(goal, clone, seen):
            return f"snapshot {clone.snapshot} of claim {clone.claim} is gone"
        if seen.handle != clone.handle:
            return f"snapshot {clone.snapshot} of claim {clone.claim} stands for other data now than when it was taken"
        if not seen.is_ready:
            return f"snapshot {clone.snapshot} of claim {clone.claim} is not ready: {seen.error or 'no reason given'}"
    return None


def is_meant(goal: Goal, clone: Clone, seen: Snapshot) -> bool:
    """Whether it is the recorded snapshot, or one of the set that a restore bound to the same data."""
    return seen.made_by == goal.chosen if clone.is_lost else seen.uid == clone.uid


def foreign_clones(goal: Goal, observed: Observed) -> list[Ref]:
    """A claim of that name without this restore's mark is somebody else's, unless it is one that goes."""
    olds = {old.uid for old in goal.claims}
    claims = [observed.claim(clone.claim) for clone in goal.clones]
    return [claim.ref for claim in claims if claim and not is_ours(goal, claim) and claim.uid not in olds]


def unmade(goal: Goal, observed: Observed) -> str | None:
    """Without its claim a set that starts makes an empty one."""
    loose = [str(clone.ref) for clone in goal.clones if not is_cloned(goal, observed, clone.ref)]
    return f"no longer there as it was made: {', '.join(loose)}" if loose else None


def cloned_claims(goal: Goal) -> tuple[Ref, ...]:
    return tuple(clone.ref for clone in goal.clones)
