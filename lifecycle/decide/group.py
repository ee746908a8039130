"""A hot set that is cut as one VolumeGroupSnapshot: its claims get a label, the group is of all that bear it.

The label's value is the operation's own, so no claim has it by accident, and none loses it: the next set that is cut as
a group writes its own over it.
"""

from lifecycle.model import Action, Ref, Step
from lifecycle.observed import Observed
from lifecycle.operation import Goal
from lifecycle.snapshots import Member, group_name
from lifecycle.volumes import GroupSnapshot, Snapshot, Volume


def ref_of(goal: Goal) -> Ref:
    return GroupSnapshot.ref_of(group_name(goal.mark))


def itself(goal: Goal) -> tuple[Ref, ...]:
    return (ref_of(goal),)


def seen_of(goal: Goal, observed: Observed) -> GroupSnapshot | None:
    return observed.group(group_name(goal.mark))


def label_steps(goal: Goal, observed: Observed) -> list[Step]:
    """Put every claim of the set into the group, as long as there is none."""
    if seen_of(goal, observed):
        return []
    return [
        Step(Action.LABEL, member.ref, uid=member.uid)
        for member in _members(goal)
        if (claim := observed.claim(member.claim)) and (claim.uid, claim.grouped_by) != (member.uid, goal.mark)
    ]


def cut_steps(goal: Goal, observed: Observed) -> list[Step]:
    """The group, once every claim was SEEN in it: who is in it is decided when the driver is asked."""
    if labelling := label_steps(goal, observed):
        return labelling
    return [] if seen_of(goal, observed) else [Step(Action.CUT, ref_of(goal))]


def is_cut(goal: Goal, observed: Observed, _ref: Ref) -> bool:
    """All of it at one moment, and of every volume that was meant."""
    seen = seen_of(goal, observed)
    if seen is None or seen.made_by != goal.mark or seen.cut_at is None:
        return False
    members = members_of(goal, observed)
    return len(members) == len(_members(goal)) and all(one.cut_at for one in members)


def is_saved(goal: Goal, observed: Observed, ref: Ref) -> bool:
    """The group and each of its members: a claim is made of a member, and the bytes are the group's."""
    seen = seen_of(goal, observed)
    is_whole = seen is not None and seen.is_saved and is_cut(goal, observed, ref)
    return is_whole and all(one.is_saved for one in members_of(goal, observed))


def members_of(goal: Goal, observed: Observed) -> tuple[Snapshot, ...]:
    """The snapshots of the claims that were meant, in the goal's order."""
    found = {one.claim: one for one in observed.members(group_name(goal.mark))}
    return tuple(found[member.claim] for member in _members(goal) if member.claim in found)


def retain_steps(goal: Goal, observed: Observed) -> list[Step]:
    """Let every content stay that would go with its namespace: the members' and the group's."""
    seen = seen_of(goal, observed)
    group = [seen] if seen else []
    return [
        Step(Action.RETAIN, one.ref if one in group else _claim_of(goal, one), uid=one.uid)
        for one in (*members_of(goal, observed), *group)
        if one.content and one.policy != Volume.RETAIN
    ]


def _claim_of(goal: Goal, snapshot: Snapshot) -> Ref:
    return next(member.ref for member in _members(goal) if member.claim == snapshot.claim)


def foreign(goal: Goal, observed: Observed) -> str | None:
    """A group of that name that is somebody else's, or one that has a volume which was not meant."""
    seen = seen_of(goal, observed)
    if seen and seen.made_by != goal.mark:
        return f"{seen.ref} was made by somebody else"
    wanted = {member.claim for member in _members(goal)}
    others = sorted({one.claim for one in observed.members(group_name(goal.mark))} - wanted)
    return f"{seen.ref} has {', '.join(others)}, too, which is not of this set" if seen and others else None


def lost(goal: Goal, observed: Observed) -> str | None:
    """What was cut and is no more: no waiting makes it ready."""
    if seen_of(goal, observed) is None:
        return f"{ref_of(goal)} was deleted"
    there = {one.claim for one in members_of(goal, observed)}
    gone = [member.claim for member in _members(goal) if member.claim not in there]
    return foreign(goal, observed) or (f"the group's snapshot of {gone[0]} was deleted" if gone else None)


def _members(goal: Goal) -> tuple[Member, ...]:
    return goal.cutting.members if goal.cutting else ()
