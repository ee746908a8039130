"""Restore after a delete: the captured objects at zero, the claims on their kept volumes, then up."""

from dataclasses import replace
from datetime import timedelta

from lifecycle import configuration
from lifecycle.decide import clone, rebind, start
from lifecycle.decide.delete import ENDING, WRITING
from lifecycle.errors import AlreadyRunning, Unsafe
from lifecycle.model import Action, Ref, Step, Verb
from lifecycle.observed import Discovery, Observed
from lifecycle.operation import UNMARKED, Goal, Operation, Source
from lifecycle.phase import Phase, strangers, strangers_or_losses
from lifecycle.snapshots import SnapshotSet
from lifecycle.volumes import Claim, Volume


def draft(deleted: Operation, taken: SnapshotSet | None = None, by: Operation | None = None) -> Goal:
    """What has to be looked at before anything is said about a restore.

    ``deleted`` is the operation whose capture has the objects. With the set ``taken`` by the operation ``by`` its
    claims are made of that; the others are bound to their kept volumes, where ``deleted`` kept any.
    """
    before = deleted.goal
    clones = clone.clones_of(taken, by) if taken and by else ()
    cloned = {one.claim for one in clones}
    kept = before.volumes if deleted.verb is Verb.DELETE else ()
    return Goal(
        verb=Verb.RESTORE,
        topology=before.topology,
        counts=before.counts,
        sources=dict.fromkeys(before.counts, Source.CAPTURED),
        claims=before.claims,
        mark=UNMARKED,
        parts=before.parts,
        volumes=tuple(volume for volume in kept if volume.claim not in cloned),
        staying=before.staying,
        mode=before.mode,
        doubted=(*before.doubted, *(configuration.doubted_clones(clones, by) if by else ())),
        source=deleted.id,
        ran=before.ran,
        chosen=taken.id if taken else "",
        clones=clones,
    )


def without_lost(wanted: Goal, observed: Observed) -> Goal:
    """The same restore from a set, without the kept volumes that are gone: their claims, not in it, come back empty."""
    there = tuple(one for one in wanted.volumes if (seen := observed.volume(one.name)) and seen.uid == one.uid)
    return replace(wanted, volumes=there)


def goal(wanted: Goal, observed: Observed) -> Goal:
    """What it takes to bring back what is captured, wholly or in part.

    ``observed`` is the picture for the draft ``wanted``. Raises AlreadyRunning where nothing of it is missing, Unsafe
    where something stands in the way.
    """
    if not observed.capture:
        raise Unsafe(f"the capture of {wanted.source} is not there, or not whole: nothing says how the cluster was")
    wanted = _with_what_stayed(rebind.with_lost(wanted, observed), observed)
    if left := [one.ref for one in wanted.clones if _is_old(wanted, observed.claim(one.claim))]:
        raise Unsafe(
            f"{', '.join(map(str, left))} was not removed: restore the cluster as it was first, then the set in place"
        )
    if foreign := foreign_objects(wanted, observed):
        raise Unsafe(f"{foreign}. Look at it, and remove it if nobody needs it")
    if lost := lost_volumes(wanted, observed) or rebind.lost_set(wanted, observed):
        raise Unsafe(f"{lost}: its data cannot be brought back so")
    if all(phase.reached(wanted, observed) for phase in (MADE, BOUND, UP, GIVEN_BACK)):
        raise AlreadyRunning(f"as {wanted.source} found it: nothing is missing")
    return replace(wanted, captured=observed.capture)


def _with_what_stayed(wanted: Goal, observed: Observed) -> Goal:
    """A copy of a capture has the parts, too, that a delete left in the namespace: with that they went."""
    gone = tuple(one for one in wanted.staying if wanted.copies and observed.part(one.ref) is None)
    staying = tuple(one for one in wanted.staying if one not in gone)
    return replace(wanted, parts=(*wanted.parts, *gone), staying=staying)


def _is_old(wanted: Goal, claim: Claim | None) -> bool:
    return claim is not None and any(claim.uid == old.uid for old in wanted.claims)


def is_left_of(deleted: Operation, discovery: Discovery) -> bool:
    """Whether any workload there is one that this delete left, or that a restore of it made."""
    wanted = draft(deleted)
    known = {workload.ref: workload for workload in wanted.topology}
    return any(
        one.ref in known and wanted.is_ours(known[one.ref], discovery.observed[one]) for one in discovery.workloads
    )


def is_missing(deleted: Operation, observed: Observed) -> bool:
    """Whether anything that it removed is not back; ``observed`` is the picture for the draft."""
    wanted = draft(deleted)
    return not all(phase.reached(wanted, observed) for phase in (MADE, BOUND))


def lost_volumes(goal: Goal, observed: Observed) -> str | None:
    """A volume that cannot be bound to its claim again."""
    for volume in goal.volumes:
        seen = observed.volume(volume.name)
        if seen is None or seen.uid != volume.uid:
            return f"volume {volume.name} of claim {volume.claim} is gone"
        if seen.claim != volume.claim:
            return f"volume {volume.name} belongs to claim {seen.claim or 'nobody'} now, not to {volume.claim}"
    return None


def making_steps(goal: Goal, observed: Observed) -> list[Step]:
    """Make what is not there; workloads come back as they were captured, at zero."""
    missing = [ref for ref in made_objects(goal) if not _is_there(goal, observed, ref)]
    return [Step(Action.MAKE, ref) for ref in missing]


def made_objects(goal: Goal) -> tuple[Ref, ...]:
    """Parts, then workloads: what they mount is there when they are."""
    return (*(part.ref for part in goal.parts), *(workload.ref for workload in goal.topology))


def _is_there(goal: Goal, observed: Observed, ref: Ref) -> bool:
    return observed.state_of(ref).exists if ref in goal.counts else observed.part(ref) is not None


def made(goal: Goal, observed: Observed, ref: Ref) -> bool:
    """The object is there, and it is the one that was made here or was never removed."""
    if ref in goal.counts:
        return goal.is_ours(goal.topology[ref], observed.state_of(ref))
    seen = observed.part(ref)
    return seen is not None and (seen.made_by == goal.source or any(seen.uid == part.uid for part in goal.parts))


def foreign_objects(goal: Goal, observed: Observed) -> str | None:
    """What somebody else made under one of the names since, or put in the place of what was there."""
    parts = [part.ref for part in goal.parts if observed.part(part.ref) and not made(goal, observed, part.ref)]
    names = ", ".join(str(ref) for ref in (*parts, *_foreign_claims(goal, observed)))
    told = f"made by somebody else since {goal.source}, and a restore never overwrites: {names}"
    return strangers(goal, observed) or (told if names else None)


def unbound(goal: Goal, observed: Observed) -> str | None:
    """Without its claim a set that starts makes an empty one, and a volume given back is destroyed."""
    loose = [str(one) for volume in goal.volumes if not bound(goal, observed, one := Claim.ref_of(volume.claim))]
    told = f"no longer bound to its volume: {', '.join(loose)}" if loose else None
    return in_the_way(goal, observed) or told or clone.unmade(goal, observed)


def losses(goal: Goal, observed: Observed) -> str | None:
    """What somebody removed while the cluster starts."""
    return strangers_or_losses(goal, observed) or unbound(goal, observed)


def in_the_way(goal: Goal, observed: Observed) -> str | None:
    """What no waiting mends while claims are bound, or after."""
    return foreign_objects(goal, observed) or lost_volumes(goal, observed) or clone.lost_snapshots(goal, observed)


def _foreign_claims(goal: Goal, observed: Observed) -> list[Ref]:
    """A claim of that name without this restore's mark is somebody else's."""
    claims = [observed.claim(volume.claim) for volume in goal.volumes]
    bound = [claim.ref for claim in claims if claim and not _is_our_claim(goal, claim)]
    return bound + clone.foreign_clones(goal, observed)


def _is_our_claim(goal: Goal, seen: Claim) -> bool:
    return seen.made_by == goal.source or any(seen.uid == claim.uid for claim in goal.claims)


def binding_steps(goal: Goal, observed: Observed) -> list[Step]:
    """Free each volume for the claim of the old name, and only for it; then make that claim. Make those of the set."""
    bindings = [step for volume in goal.volumes for step in _binding(observed, volume)]
    return bindings + clone.cloning_steps(goal, observed)


def _binding(observed: Observed, volume: Volume) -> list[Step]:
    seen = observed.volume(volume.name)
    if observed.claim(volume.claim) or seen is None or seen.uid != volume.uid or seen.claim != volume.claim:
        return []
    if seen.claim_uid:
        # Kubernetes says Released only once it saw the claim gone; this picture may just not show a new one yet
        return [Step(Action.REBIND, volume.ref, uid=volume.uid)] if seen.phase == "Released" else []
    return [Step(Action.MAKE, Claim.ref_of(volume.claim))]


def claims_of(goal: Goal) -> tuple[Ref, ...]:
    """Those that had a volume, or are in the set; a claim that is neither is made by its StatefulSet."""
    return (*(Claim.ref_of(volume.claim) for volume in goal.volumes), *clone.cloned_claims(goal))


def bound(goal: Goal, observed: Observed, ref: Ref) -> bool:
    """The claim is Bound to the very volume that it had, or was made of the set."""
    if goal.clone(ref.name):
        return clone.is_cloned(goal, observed, ref)
    seen = observed.claim(ref.name)
    volume = next(volume for volume in goal.volumes if volume.claim == ref.name)
    return seen is not None and _is_our_claim(goal, seen) and seen.status == "Bound" and seen.volume == volume.name


def giving_back_steps(goal: Goal, observed: Observed) -> list[Step]:
    """Give each volume the reclaim policy that it had."""
    return [
        Step(Action.GIVE_BACK, volume.ref, uid=volume.uid)
        for volume in goal.volumes
        if (seen := observed.volume(volume.name))
        and seen.uid == volume.uid
        and seen.kept_by == goal.source
        and _is_held(goal, observed, seen)
    ]


def _is_held(goal: Goal, observed: Observed, volume: Volume) -> bool:
    """Whether its claim is there and stays: with the policy Delete a volume without one is destroyed at once."""
    claim = observed.claim(volume.claim)
    return claim is not None and claim.uid == volume.claim_uid and bound(goal, observed, claim.ref)


def given_back(goal: Goal, observed: Observed, ref: Ref) -> bool:
    """No mark of the delete is left on the volume."""
    seen = observed.volume(ref.name)
    return seen is not None and seen.kept_by != goal.source


def _writing(_goal: Goal) -> timedelta:
    return WRITING


def _binding_time(_goal: Goal) -> timedelta:
    return ENDING


MADE = Phase("make", making_steps, made, _writing, made_objects, foreign_objects)
UP = replace(start.UP, obstacle=losses)
BOUND = Phase("bind", binding_steps, bound, _binding_time, claims_of, in_the_way)
GIVEN_BACK = Phase(
    "give-back",
    giving_back_steps,
    given_back,
    _writing,
    lambda goal: tuple(volume.ref for volume in goal.volumes),
    unbound,
)


def phases(goal: Goal) -> tuple[Phase, ...]:
    return (*rebind.phases(goal), MADE, BOUND, UP, GIVEN_BACK)
