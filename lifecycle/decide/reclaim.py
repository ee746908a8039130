"""A purge's way: one object after another goes for good, and only what nobody can need any more.

A snapshot goes with its bytes once its content was SEEN to let them go. A kept volume gets its reclaim policy of before
only while it is Released, still bears the mark of the operation that kept it, and no claim is, or may get, bound to it.
"""

from datetime import timedelta

from lifecycle.decide import strays
from lifecycle.decide.delete import ENDING, WRITING
from lifecycle.decide.purge import RELEASED, in_use, is_claimed
from lifecycle.decide.sets import is_of, is_whole, own_content, own_snapshot, snapshot_seen
from lifecycle.model import Action, Kind, Ref, Step
from lifecycle.observed import Observed
from lifecycle.operation import Goal
from lifecycle.phase import Phase
from lifecycle.retention import Doomed, Purging

RECLAIMING = timedelta(minutes=10)
"""For the storage to remove what is behind a volume or a snapshot."""
POLICY_DELETE = "Delete"


def of(goal: Goal) -> Purging:
    """What a purge is about."""
    assert goal.purging, "not a purge"
    return goal.purging


def release_steps(goal: Goal, observed: Observed) -> list[Step]:
    """Let the bytes go with each content that goes."""
    return [
        Step(Action.RELEASE, seen.ref, uid=seen.uid)
        for one in of(goal).doomed
        if (seen := own_content(one, observed)) and seen.policy != POLICY_DELETE and not seen.deleting
    ]


def released(goal: Goal, observed: Observed, ref: Ref) -> bool:
    """Its bytes go with it, or have gone."""
    (one,) = (one for one in of(goal).doomed if ref == one.content_ref)
    seen = own_content(one, observed)
    return seen is None or seen.policy == POLICY_DELETE


def forget_steps(goal: Goal, observed: Observed) -> list[Step]:
    """Remove each snapshot whose bytes were SEEN to go with it; a content that its snapshot left behind goes itself."""
    forgetting = (
        step for one in of(goal).doomed if not _waits(goal, one, observed) for step in _forgetting(one, observed)
    )
    return [*release_steps(goal, observed), *forgetting]


def _waits(goal: Goal, one: Doomed, observed: Observed) -> bool:
    """A member goes with its group; the group, with the bytes of all, once every member's content lets go."""
    if one.group:
        return observed.group(one.group) is not None
    members = [other for other in of(goal).doomed if one.kind is Kind.GROUP and other.group == one.snapshot]
    return not all(released(goal, observed, other.content_ref) for other in members if other.content_uid)


def _forgetting(one: Doomed, observed: Observed) -> list[Step]:
    seen, content = own_snapshot(one, observed), own_content(one, observed)
    if content and content.policy != POLICY_DELETE:
        return []
    if seen:
        return [] if seen.deleting else [Step(Action.REMOVE, seen.ref, uid=seen.uid)]
    if content and not content.deleting and snapshot_seen(one, observed) is None:
        return [Step(Action.REMOVE, content.ref, uid=content.uid)]
    return []


def forgotten(goal: Goal, observed: Observed, ref: Ref) -> bool:
    """The object is gone; a namesake that came after it is somebody else's."""
    for one in of(goal).doomed:
        if ref == one.snapshot_ref:
            return own_snapshot(one, observed) is None
        if ref == one.content_ref:
            return own_content(one, observed) is None
    raise ValueError(f"{ref} is none of this purge")


def estranged(goal: Goal, observed: Observed) -> str | None:
    """A snapshot and a content that do not name each other as they did: whose bytes would go is not certain."""
    for one in of(goal).doomed:
        seen, content = own_snapshot(one, observed), own_content(one, observed)
        if content and seen is None and snapshot_seen(one, observed):
            return f"{one.snapshot_ref} was replaced by another one, and {content.ref} is still there"
        if content and not is_of(one, content):
            return f"{content.ref} is of another snapshot now"
        if seen and seen.content and seen.content != one.content:
            return f"{seen.ref} has a content that it had not when this was planned: {seen.content}"
    return None


def endangered(goal: Goal, observed: Observed) -> str | None:
    """What keeps snapshots from going: whose bytes they are is not certain, or they are needed after all."""
    return estranged(goal, observed) or _unsaved(goal, observed)


def _unsaved(goal: Goal, observed: Observed) -> str | None:
    """Whatever goes, the newest good set has to stay whole until it is gone."""
    guard, group = of(goal).guard, of(goal).guard_group
    if guard and not is_whole(guard, group, observed):
        return "the cluster's newest snapshot set is not whole any more, so nothing more is purged"
    return None


def giving_up_steps(goal: Goal, observed: Observed) -> list[Step]:
    """Give each kept volume its policy of before, as long as it is as it was left."""
    return [
        Step(Action.GIVE_UP, volume.ref, uid=volume.uid)
        for volume in goal.volumes
        if (seen := observed.volume(volume.name))
        and seen.uid == volume.uid
        and seen.kept_by == volume.kept_by
        and not is_claimed(volume, observed)
        and in_use(volume, seen) is None
    ]


def given_up(goal: Goal, observed: Observed, ref: Ref) -> bool:
    """Gone; or, where it was Retain before, without any mark: its disk is removed by hand."""
    volume = next(one for one in goal.volumes if one.ref == ref)
    seen = observed.volume(ref.name)
    if seen is None or seen.uid != volume.uid:
        return True
    return volume.policy_before != POLICY_DELETE and not seen.kept_by


def wanted_again(goal: Goal, observed: Observed) -> str | None:
    """A volume that somebody uses or may use, or a newest set that is good no more."""
    for volume in goal.volumes:
        seen = observed.volume(volume.name)
        if seen is None or seen.uid != volume.uid:
            continue
        if is_claimed(volume, observed):
            return f"a claim {volume.claim} is there again, so its volume is not given up"
        if seen.kept_by not in ("", volume.kept_by):
            return f"{volume.ref} is kept by {seen.kept_by} now"
        if (seen.claim, seen.claim_uid) != (volume.claim, volume.claim_uid):
            return f"{volume.ref} is for another claim now"
        if seen.kept_by and seen.phase != RELEASED:
            return f"{volume.ref} is {seen.phase}, not {RELEASED}"
    return _unsaved(goal, observed)


def discarding_steps(goal: Goal, observed: Observed) -> list[Step]:
    """The pieces of the captures."""
    return [
        Step(Action.REMOVE, part.ref, uid=part.uid)
        for part in goal.parts
        if (seen := observed.part(part.ref)) and seen.uid == part.uid
    ]


def discarded(goal: Goal, observed: Observed, ref: Ref) -> bool:
    """Gone; a namesake that came after it is somebody else's."""
    seen = observed.part(ref)
    return seen is None or all(seen.uid != part.uid for part in goal.parts if part.ref == ref)


def contents_of(goal: Goal) -> tuple[Ref, ...]:
    return tuple(one.content_ref for one in of(goal).doomed if one.content_uid)


def snapshots_of(goal: Goal) -> tuple[Ref, ...]:
    """The snapshots and their contents."""
    return tuple(ref for one in of(goal).doomed for ref in one.refs)


def volumes_of(goal: Goal) -> tuple[Ref, ...]:
    return tuple(volume.ref for volume in goal.volumes)


def parts_of(goal: Goal) -> tuple[Ref, ...]:
    return tuple(part.ref for part in goal.parts)


def _unhindered(_goal: Goal, _observed: Observed) -> str | None:
    return None


STRAYS_GONE = Phase("strays", strays.steps, strays.gone, lambda _: ENDING, strays.objects, endangered)
RELEASED_CONTENTS = Phase("release", release_steps, released, lambda _: WRITING, contents_of, endangered)
FORGOTTEN = Phase("forget", forget_steps, forgotten, lambda _: RECLAIMING, snapshots_of, endangered)
GIVEN_UP = Phase("give-up", giving_up_steps, given_up, lambda _: RECLAIMING, volumes_of, wanted_again)
DISCARDED = Phase("discard", discarding_steps, discarded, lambda _: ENDING, parts_of, _unhindered)
PHASES = (STRAYS_GONE, RELEASED_CONTENTS, FORGOTTEN, GIVEN_UP, DISCARDED)


def phases(goal: Goal) -> tuple[Phase, ...]:
    """Those that have something to do; where nothing is left of what goes, the last one sees just that."""
    return tuple(phase for phase in PHASES if phase.objects(goal)) or (DISCARDED,)
