"""Contents that snapshots of before left behind, of data that others stand for: the objects go, the data stay."""

from lifecycle.model import Action, Ref, Step
from lifecycle.observed import Observed
from lifecycle.operation import Goal
from lifecycle.volumes import Content, Volume


def beside(content: Content, observed: Observed) -> tuple[Content, ...]:
    """Those of the same data as this one, left by a snapshot of the same name, as where the namespace went."""
    return tuple(one for one in observed.contents if _is_left(one, content))


def _is_left(one: Content, content: Content) -> bool:
    is_same = (one.snapshot, one.handle, one.driver) == (content.snapshot, content.handle, content.driver)
    return is_same and one.snapshot_uid != content.snapshot_uid and one.policy == Volume.RETAIN


def steps(goal: Goal, observed: Observed) -> list[Step]:
    """Remove each that lets no data go."""
    seen = [(one, observed.content(one.name)) for one in _of(goal)]
    return [
        Step(Action.REMOVE, one.ref, uid=one.uid)
        for one, now in seen
        if now and now.uid == one.uid and not now.deleting and now.policy == Volume.RETAIN
    ]


def gone(goal: Goal, observed: Observed, ref: Ref) -> bool:
    """A namesake that came after it is somebody else's."""
    seen = observed.content(ref.name)
    return seen is None or all(seen.uid != one.uid for one in _of(goal) if one.ref == ref)


def objects(goal: Goal) -> tuple[Ref, ...]:
    return tuple(one.ref for one in _of(goal))


def _of(goal: Goal) -> list[Content]:
    return [stray for one in (goal.purging.doomed if goal.purging else ()) for stray in one.strays]
