"""A set whose snapshots are gone, as with their namespace: each is made again on a content of its own.

The content that is left names a snapshot that is no more. It is never edited: with another uid in its reference the
controllers never let it go again (measured, external-snapshotter 8.6).
"""

from dataclasses import replace
from datetime import timedelta

from lifecycle.decide import clone
from lifecycle.decide.delete import ENDING
from lifecycle.model import Action, Kind, Ref, Step
from lifecycle.observed import Observed
from lifecycle.operation import Goal
from lifecycle.phase import Phase
from lifecycle.snapshots import Clone, name_of
from lifecycle.volumes import Snapshot, Volume


def with_lost(wanted: Goal, observed: Observed) -> Goal:
    """The same restore, its clones marked whose recorded snapshot is gone."""
    clones = (replace(one, is_lost=_is_lost(wanted, one, observed.snapshot(one.snapshot))) for one in wanted.clones)
    return replace(wanted, clones=tuple(clones))


def _is_lost(goal: Goal, one: Clone, seen: Snapshot | None) -> bool:
    """One of the set's own with another uid was made by a restore that did not come to its end."""
    return seen is None or (seen.uid != one.uid and seen.made_by == goal.chosen)


def lost(goal: Goal) -> tuple[Clone, ...]:
    return tuple(one for one in goal.clones if one.is_lost)


def content_of(goal: Goal, one: Clone) -> Ref:
    """What this restore makes for it."""
    return Ref(Kind.CONTENT, name_of(goal.mark, one.claim))


def clone_of(goal: Goal, ref: Ref) -> Clone | None:
    """For which a content, or a snapshot, of this name is made."""
    return next((one for one in lost(goal) if ref in (content_of(goal, one), _snapshot_of(one))), None)


def _snapshot_of(one: Clone) -> Ref:
    return Ref(Kind.SNAPSHOT, one.snapshot)


def rebinding_steps(goal: Goal, observed: Observed) -> list[Step]:
    """First the content, then the snapshot that names it."""
    waiting = [one for one in lost(goal) if observed.snapshot(one.snapshot) is None]
    return [
        Step(Action.MAKE, _snapshot_of(one) if observed.content(content.name) else content)
        for one in waiting
        for content in [content_of(goal, one)]
    ]


def is_rebound(goal: Goal, observed: Observed, ref: Ref) -> bool:
    """The snapshot is there, bound to the recorded data, which outlive it; not every driver tells their size again."""
    one, seen = clone_of(goal, ref), observed.snapshot(ref.name)
    if one is None or seen is None or not clone.is_meant(goal, one, seen):
        return False
    return seen.is_ready and bool(seen.content) and (seen.handle, seen.policy) == (one.handle, Volume.RETAIN)


def unreachable(goal: Goal, observed: Observed) -> str | None:
    """What no waiting mends: the name is taken, or the data may go."""
    for one in lost(goal):
        seen = observed.snapshot(one.snapshot)
        if seen and not clone.is_meant(goal, one, seen):
            return f"{seen.ref} was made by somebody else"
        if seen and seen.handle not in ("", one.handle):
            return f"{seen.ref} stands for other data than {goal.chosen} has"
        for content in observed.contents:
            if (content.driver, content.handle) == (one.driver, one.handle) and content.policy != Volume.RETAIN:
                return f"{content.ref} would take the data of {one.claim} along (deletionPolicy {content.policy})"
    return None


def lost_set(goal: Goal, observed: Observed) -> str | None:
    """What of the chosen set cannot be restored from, nor be bound anew."""
    there = replace(goal, clones=tuple(one for one in goal.clones if not one.is_lost))
    return clone.lost_snapshots(there, observed) or unreachable(goal, observed)


def snapshots_of(goal: Goal) -> tuple[Ref, ...]:
    return tuple(_snapshot_of(one) for one in lost(goal))


def rebound(goal: Goal, observed: Observed) -> tuple[Snapshot, ...]:
    """Each with the name of its claim, which Kubernetes does not know any more."""
    found = ((one, observed.snapshot(one.snapshot)) for one in lost(goal))
    return tuple(replace(seen, claim=one.claim) for one, seen in found if seen)


def _binding(_goal: Goal) -> timedelta:
    return ENDING


REBOUND = Phase("rebind", rebinding_steps, is_rebound, _binding, snapshots_of, unreachable, rebinds_set=True)


def phases(goal: Goal) -> tuple[Phase, ...]:
    """With what a restore from a set begins, where its snapshots are gone."""
    return (REBOUND,) if lost(goal) else ()
