"""Purge: what was kept goes for good, one object after another, and only what nobody can need any more.

A snapshot goes with its bytes once its content was SEEN to let them go. A kept volume gets its reclaim policy of before
only while it is Released, still bears the mark of the delete that kept it, and no claim is, or may
get, bound to it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from lifecycle.decide.delete import ENDING, WRITING
from lifecycle.decide.sets import (
    SetRecord,
    doom,
    drafted,
    going_of,
    is_of,
    is_whole,
    own_content,
    own_snapshot,
    quality,
    snapshot_seen,
)
from lifecycle.errors import NothingToPurge
from lifecycle.model import Action, Kind, Ref, Step, Verb
from lifecycle.observed import Observed
from lifecycle.operation import UNMARKED, Goal, Operation
from lifecycle.phase import Phase
from lifecycle.retention import Doomed, Held, Purging, Quality, Verdict
from lifecycle.topology import arranged
from lifecycle.volumes import Volume

RECLAIMING = timedelta(minutes=10)
"""For the storage to remove what is behind a volume or a snapshot."""
POLICY_DELETE = "Delete"
RELEASED = "Released"


@dataclass(frozen=True)
class Stock:
    """What the records say is kept of one cluster: ``deletes`` are those that nobody brought back.

    ``needed`` is as in lifecycle.retention.stale.
    """

    sets: tuple[SetRecord, ...] = ()
    deletes: tuple[Operation, ...] = ()
    needed: Mapping[str, str] = field(default_factory=dict)
    restoring: frozenset[str] = frozenset()
    """What restores need that have not come to their end, by the id of the operation that kept or took it."""
    way_back: str = ""
    """The delete whose capture a restore from any set would use: the last one, where the cluster is not back."""


def draft(stock: Stock) -> Goal:
    """All that has to be looked at before anything is said about a purge."""
    ids = {*(one.id for one in stock.sets), *(one.id for one in stock.deletes)}
    return Goal(
        verb=Verb.PURGE,
        topology=arranged(()),
        counts={},
        mark=UNMARKED,
        volumes=tuple(volume for one in stock.deletes for volume in one.goal.volumes),
        purging=Purging(
            doomed=tuple(doomed for one in stock.sets for doomed in drafted(one)),
            captures=tuple(sorted(ids)),
        ),
    )


def held(stock: Stock, observed: Observed) -> tuple[Held, ...]:
    """The sets with how good they are in this picture, which is one for the draft."""
    return tuple(Held(one.id, one.begun_at, quality(one, observed), one.pinned, one.claims) for one in stock.sets)


def goal(stock: Stock, observed: Observed, deletes: Sequence[str], sets: Verdict) -> Goal:
    """What goes of these deletes' kept volumes and of these sets, as it is seen in this picture for the draft.

    Raises NothingToPurge, with every reason, where nothing may go.
    """
    stays = {f"set {identity}": why for identity, why in sets.stays.items()}
    wanted = [one for one in stock.deletes if one.id in deletes]
    guard = _guard(stock, sets.goes)
    volumes: list[Volume] = []
    going: tuple[str, ...] = ()
    for one in wanted:
        if why := _awaited(one, stock) or _withheld(one, observed) or _unguarded(one, guard, observed):
            stays[f"what {one.id} kept"] = why
        else:
            going = (*going, one.id)
            volumes += _kept_volumes(one, observed)
    if not any(_needs_set(one) for one in wanted if one.id in going):
        guard = _survivor(stock, sets.goes, observed)
    captures = _captures(stock, going, sets.goes)
    made = replace(
        draft(stock),
        volumes=tuple(volumes),
        parts=tuple(part for part in observed.parts if part.made_by in captures),
        source=going[0] if len(going) == 1 else "",
        purging=Purging(
            deletes=going,
            sets=sets.goes,
            doomed=_doomed(stock, sets.goes, observed),
            guard=guard.members if guard else (),
            guard_group=guard.group if guard else None,
            captures=captures,
            stays=stays,
        ),
    )
    if not (going or sets.goes):
        told = " ".join(f"{identity}: {why}." for identity, why in sorted(stays.items()))
        raise NothingToPurge(f"Nothing that is kept may go. {told}" if told else "Nothing is kept, so nothing can go.")
    return made


def _guard(stock: Stock, going: Sequence[str]) -> SetRecord | None:
    """The newest set that was good once; what goes is never it, but for one that was found bad."""
    recorded = [one for one in stock.sets if not one.failed and one.id not in going]
    return max(recorded, key=lambda one: (one.begun_at, one.id), default=None)


def _survivor(stock: Stock, going: Sequence[str], observed: Observed) -> SetRecord | None:
    """The newest good set that stays where others go: it has to stay good until they are gone."""
    good = [one for one in stock.sets if one.id not in going and quality(one, observed) is Quality.GOOD]
    return max(good, key=lambda one: (one.begun_at, one.id), default=None) if going else None


def _needs_set(delete: Operation) -> bool:
    """Whether the delete was approved as one that has a snapshot set beside the kept volumes."""
    return delete.goal.cutting is not None and bool(delete.goal.cutting.members)


def _unguarded(delete: Operation, guard: SetRecord | None, observed: Observed) -> str | None:
    """Why its volumes stay: they are the only good copy, and the delete was not approved so."""
    if not _needs_set(delete):
        return None
    if guard is None:
        return "the cluster has no snapshot set, so the kept volumes are the only copy"
    if quality(guard, observed) is not Quality.GOOD:
        told = "has failed its restore test" if guard.is_bad else "is not whole any more"
        return f"the cluster's newest snapshot set {guard.id} {told}, so the kept volumes stay"
    assert delete.goal.cutting
    if lacking := {member.claim for member in delete.goal.cutting.members} - guard.claims:
        return f"the cluster's newest snapshot set {guard.id} is without {', '.join(sorted(lacking))}"
    return None


def _awaited(delete: Operation, stock: Stock) -> str | None:
    return "a restore of it has not come to its end, and goes on from it" if delete.id in stock.restoring else None


def is_gone(delete: Operation, observed: Observed) -> bool:
    """Whether nothing of what it kept is left to purge, as SEEN: each volume is not there, or in use again."""
    found = ((one, observed.volume(one.name)) for one in delete.goal.volumes)
    return all(seen is None or (seen.uid == one.uid and seen.phase == "Bound") for one, seen in found)


def _withheld(delete: Operation, observed: Observed) -> str | None:
    """Why none of its volumes goes: somebody uses one again, or may."""
    for volume in delete.goal.volumes:
        seen = observed.volume(volume.name)
        if seen is None or seen.uid != volume.uid or seen.kept_by != delete.id:
            continue  # gone, given back, or another operation's by now: nothing of it is touched
        if _is_claimed(volume, observed):
            return f"a claim {volume.claim} is there again"
        if why := _in_use(volume, seen):
            return why
        if not seen.policy_before:
            return f"nobody knows which reclaim policy {volume.name} had"
    return None


def _is_claimed(volume: Volume, observed: Observed) -> bool:
    """Whether a claim of its name may be bound to it: one that names another volume never is (immutable)."""
    claim = observed.claim(volume.claim)
    named = any(one.volume == volume.name for one in observed.claims)
    return named or (claim is not None and claim.volume in ("", volume.name))


def _in_use(frozen: Volume, seen: Volume) -> str | None:
    if seen.claim != frozen.claim or seen.claim_uid != frozen.claim_uid:
        return f"volume {frozen.name} is for another claim now"
    return None if seen.phase == RELEASED else f"volume {frozen.name} is {seen.phase}"


def _kept_volumes(delete: Operation, observed: Observed) -> list[Volume]:
    """As they are seen: with the mark and the policy of before."""
    found = ((one, observed.volume(one.name)) for one in delete.goal.volumes)
    return [seen for one, seen in found if seen and seen.uid == one.uid and seen.kept_by == delete.id]


def _doomed(stock: Stock, going: Sequence[str], observed: Observed) -> tuple[Doomed, ...]:
    found = (
        doom(record, member, observed)
        for record in stock.sets
        if record.id in going
        for member in going_of(record, observed)
    )
    return tuple(one for one in found if one.refs)


def _captures(stock: Stock, deletes: Sequence[str], sets: Sequence[str]) -> tuple[str, ...]:
    """Those with which nothing is left that could be brought back."""
    needed = {one.id for one in stock.sets if one.id not in sets} | {
        one.id for one in stock.deletes if one.id not in deletes
    }
    if any(not one.failed and one.id not in sets for one in stock.sets):
        needed.add(stock.way_back)
    return tuple(sorted({*deletes, *sets} - needed))


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
    """Give each kept volume its policy of before, as long as it is as the delete left it."""
    return [
        Step(Action.GIVE_UP, volume.ref, uid=volume.uid)
        for volume in goal.volumes
        if (seen := observed.volume(volume.name))
        and seen.uid == volume.uid
        and seen.kept_by == volume.kept_by
        and not _is_claimed(volume, observed)
        and _in_use(volume, seen) is None
    ]


def given_up(goal: Goal, observed: Observed, ref: Ref) -> bool:
    """Gone; or, where it was Retain before, without any mark of the delete: its disk is removed by hand."""
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
        if _is_claimed(volume, observed):
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


RELEASED_CONTENTS = Phase("release", release_steps, released, lambda _: WRITING, contents_of, endangered)
FORGOTTEN = Phase("forget", forget_steps, forgotten, lambda _: RECLAIMING, snapshots_of, endangered)
GIVEN_UP = Phase("give-up", giving_up_steps, given_up, lambda _: RECLAIMING, volumes_of, wanted_again)
DISCARDED = Phase("discard", discarding_steps, discarded, lambda _: ENDING, parts_of, _unhindered)
PHASES = (RELEASED_CONTENTS, FORGOTTEN, GIVEN_UP, DISCARDED)


def phases(goal: Goal) -> tuple[Phase, ...]:
    """Those that have something to do; where nothing is left of what goes, the last one sees just that."""
    return tuple(phase for phase in PHASES if phase.objects(goal)) or (DISCARDED,)
