"""Delete: down, captured, every volume kept, and only then removed."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

from lifecycle.decide import start, stop
from lifecycle.decide.preflight import refuse_unsafe_removal, refuse_unsafe_scaling
from lifecycle.errors import Unsafe
from lifecycle.model import Action, Kind, Ref, Step, Verb
from lifecycle.observed import Discovery, Inventory, Observed
from lifecycle.operation import UNMARKED, Goal, Source
from lifecycle.phase import Phase, strangers, strangers_or_losses
from lifecycle.topology import arranged
from lifecycle.volumes import Claim, Volume

CAPTURE = Ref(Kind.SECRET, "tml-bot-capture")
"""Stands for the Secrets of the capture, whose names end in the operation's id and a number."""
WRITING = timedelta(minutes=2)
"""For a phase whose steps Kubernetes carries out at once: retries, an API server that restarts."""
ENDING = timedelta(minutes=5)
"""For objects to be gone: finalizers are other controllers' work."""


def goal(discovery: Discovery, inventory: Inventory, *, keeps_services: bool, may_lose: bool = False) -> Goal:
    """What a delete of this cluster has to reach; raises Unsafe where a claim's data could not be kept.

    ``may_lose``: a claim whose volume is gone goes as well, and the plan names it as lost for good.
    """
    topology = arranged(discovery.workloads)
    observed = discovery.observed
    refuse_unsafe_removal(topology)
    refuse_unsafe_scaling(workload for workload in topology if observed[workload].is_up)
    lost = without_volume(observed.claims, inventory)
    if not may_lose:
        _refuse_losing(lost)
    keepable = tuple(claim for claim in observed.claims if claim not in lost)
    refuse_unkeepable(keepable, inventory)
    refuse_mounted_elsewhere(discovery)
    staying = tuple(part for part in inventory.parts if keeps_services and part.addresses)
    return Goal(
        verb=Verb.DELETE,
        topology=topology,
        counts={workload.ref: observed[workload].replicas for workload in topology},
        sources={workload.ref: Source.RUNNING for workload in topology},
        databases=stop.databases(topology, observed),
        claims=observed.claims,
        mark=UNMARKED,
        parts=tuple(part for part in inventory.parts if part not in staying),
        volumes=held(inventory, keepable),
        unrecoverable=tuple(claim.uid for claim in lost),
        staying=staying,
        streams=inventory.streams,
        ran=any(observed[workload].is_up for workload in topology),
    )


def held(inventory: Inventory, claims: Iterable[Claim]) -> tuple[Volume, ...]:
    """The volume behind each claim that has one."""
    volumes = {volume.claim: volume for volume in inventory.volumes}
    return tuple(volumes[claim.name] for claim in claims if claim.volume and claim.name in volumes)


def without_volume(claims: Iterable[Claim], inventory: Inventory) -> tuple[Claim, ...]:
    """The claims that had a volume and have lost it: there is nothing behind them that could be kept."""
    volumes = {volume.name: volume for volume in inventory.volumes}
    had = (claim for claim in claims if claim.status in ("Bound", Claim.LOST))
    return tuple(claim for claim in had if claim.has_lost(volumes.get(claim.volume)))


def _refuse_losing(lost: Iterable[Claim]) -> None:
    """Raises Unsafe where a claim would go without anything that brings its data back."""
    if claim := next(iter(lost), None):
        raise Unsafe(
            f"the volume {claim.volume} of claim {claim.name} is gone, or not bound to it as Kubernetes tells, so its "
            "data could not be kept. Nothing was changed. Mend that, or remove the claim by hand; where the "
            "configuration says `allow_unrecoverable: true` for the cluster, a plan names it as lost for good instead"
        )


def refuse_mounted_elsewhere(discovery: Discovery) -> None:
    """Kubernetes lets no claim go while a pod has it: the cluster would be taken down and then not deleted."""
    own = {pod.name for workload in discovery.workloads for pod in discovery.observed[workload].pods}
    for claim in discovery.observed.claims:
        if others := [name for name in claim.mounted_by if name not in own]:
            raise Unsafe(
                f"claim {claim.name} is mounted by {', '.join(f'pod/{name}' for name in others)}, which is none of the "
                "cluster's, and cannot go before it. Nothing was changed; end that first"
            )


def refuse_unkeepable(claims: Iterable[Claim], inventory: Inventory) -> None:
    """Raises Unsafe where a claim's data could not be kept."""
    volumes = {volume.claim: volume for volume in inventory.volumes}
    for claim in claims:
        if claim.status not in ("Bound", "Pending"):
            raise Unsafe(
                f"claim {claim.name} is {claim.status}, so whether its data can be kept is not certain. "
                "Nothing was changed; mend or remove it by hand first"
            )
        volume = volumes.get(claim.name)
        if claim.volume and (volume is None or volume.name != claim.volume or volume.claim_uid != claim.uid):
            raise Unsafe(
                f"the volume {claim.volume} of claim {claim.name} is not bound to it as Kubernetes tells, "
                "so its data could not be kept. Nothing was changed"
            )


def capture_steps(_goal: Goal, observed: Observed) -> list[Step]:
    """Write down every object that goes, as it is live."""
    return [] if is_written_down(observed) else [Step(Action.CAPTURE, CAPTURE)]


def captured(_goal: Goal, observed: Observed, _ref: Ref) -> bool:
    """Every piece of the capture was seen, wherever it has to be."""
    return is_written_down(observed)


def is_written_down(observed: Observed) -> bool:
    return bool(observed.capture) and not observed.lacking


def keep_steps(goal: Goal, observed: Observed) -> list[Step]:
    """Set to Retain what is not."""
    return [
        Step(Action.KEEP, volume.ref, uid=volume.uid)
        for volume in goal.volumes
        if (seen := observed.volume(volume.name)) and seen.uid == volume.uid and not _is_kept(goal, seen)
    ]


def kept(goal: Goal, observed: Observed, ref: Ref) -> bool:
    """The volume was seen Retain."""
    seen = observed.volume(ref.name)
    return seen is not None and any(seen.uid == volume.uid for volume in goal.volumes) and _is_kept(goal, seen)


def unkeepable(goal: Goal, observed: Observed) -> str | None:
    """A volume that is not what the goal was made for, or that came later: no waiting makes its data safe."""
    for volume in goal.volumes:
        seen = observed.volume(volume.name)
        if seen is None or seen.uid != volume.uid:
            return f"{volume.ref} of claim {volume.claim} is gone, and what was on it"
        if seen.claim_uid != volume.claim_uid:
            return f"{volume.ref} of claim {volume.claim} was given to another claim"
    for claim in goal.claims:
        now = observed.claim(claim.name)
        if now and now.uid == claim.uid and now.volume != claim.volume:
            return f"{claim.ref} got the volume {now.volume or 'nothing'} since the plan was made"
        if now and goal.may_lose(now.name, now.uid) and not now.has_lost(observed.volume(now.volume)):
            return f"{claim.ref} has its {now.volume} again, or gets it: nothing of it has to be lost"
    return strangers(goal, observed)


def no_way_back(goal: Goal, observed: Observed) -> str | None:
    """What is removed could not be made again: somebody took the capture away, or its volume."""
    lost = "the capture is not there any more, or not whole: nothing would say how what is removed was"
    return unkeepable(goal, observed) or (None if observed.capture else lost)


def _is_kept(goal: Goal, seen: Volume) -> bool:
    return seen.is_retained and seen.kept_by == goal.mark


def removal_steps(goal: Goal, observed: Observed) -> list[Step]:
    """The workloads that nothing runs of any more, and the parts; what somebody scaled up again goes down first."""
    return [*stop.steps(goal, observed), *_workload_removals(goal, observed), *_part_removals(goal, observed)]


def _workload_removals(goal: Goal, observed: Observed) -> list[Step]:
    return [
        Step(Action.REMOVE, workload.ref, uid=workload.uid)
        for workload in goal.scope
        if observed[workload].uid == workload.uid and not observed[workload].is_present
    ]


def _part_removals(goal: Goal, observed: Observed) -> list[Step]:
    return [
        Step(Action.REMOVE, part.ref, uid=part.uid)
        for part in goal.parts
        if (seen := observed.part(part.ref)) and seen.uid == part.uid
    ]


def removable(goal: Goal) -> tuple[Ref, ...]:
    """Workloads and parts."""
    return (*(workload.ref for workload in goal.scope), *(part.ref for part in goal.parts))


def removed(goal: Goal, observed: Observed, ref: Ref) -> bool:
    """The object is gone, and no pod of it is left; a namesake that came after it is somebody else's."""
    if ref in goal.counts:
        state = observed.state_of(ref)
        return not state.exists and not state.pods
    seen = observed.part(ref)
    return seen is None or all(seen.uid != part.uid for part in goal.parts if part.ref == ref)


def claim_steps(goal: Goal, observed: Observed) -> list[Step]:
    """Remove the claims whose data are SEEN to stay; a volume that somebody set back is kept again first.

    And those that have lost their volume, where people agreed to that.
    """
    return [*keep_steps(goal, observed), *_claim_removals(goal, observed)]


def _claim_removals(goal: Goal, observed: Observed) -> list[Step]:
    """Of those that no pod mounts."""
    return [
        Step(Action.REMOVE, claim.ref, uid=claim.uid)
        for claim in goal.claims
        if (seen := observed.claim(claim.name))
        and seen.uid == claim.uid
        and seen.status != Claim.TERMINATING
        and not seen.mounted_by
        and (keeps_data(goal, observed, seen) or _is_lost_as_agreed(goal, observed, seen))
    ]


def keeps_data(goal: Goal, observed: Observed, claim: Claim) -> bool:
    """Whether nothing is lost with the claim: its volume is Retain in this very picture, or it never had one."""
    frozen = next((volume for volume in goal.volumes if volume.claim == claim.name), None)
    if frozen is None:
        return not claim.volume
    seen = observed.volume(frozen.name)
    return seen is not None and seen.uid == frozen.uid and seen.claim_uid == claim.uid and _is_kept(goal, seen)


def _is_lost_as_agreed(goal: Goal, observed: Observed, claim: Claim) -> bool:
    """Whether people agreed to lose this very claim, and in this picture, too, there is nothing that could be kept."""
    return goal.may_lose(claim.name, claim.uid) and claim.has_lost(observed.volume(claim.volume))


def claim_removed(goal: Goal, observed: Observed, ref: Ref) -> bool:
    """Gone; a namesake that came after it is somebody else's."""
    seen = observed.claim(ref.name)
    return seen is None or all(seen.uid != claim.uid for claim in goal.claims)


def up_again_steps(goal: Goal, observed: Observed) -> list[Step]:
    """Start what is the cluster's own; what somebody put in a workload's place is theirs."""
    return [step for step in start.steps(goal, observed) if observed.state_of(step.ref).uid == step.uid]


def losses(goal: Goal, observed: Observed) -> str | None:
    """What was lost or replaced holds up only what needs it: the rest comes up first."""
    to_run = [goal.topology[ref] for ref in start.to_run(goal)]
    lost = {one.ref for one in to_run if observed[one].uid != one.uid}
    waiting = any(
        not start.ready(goal, observed, one.ref)
        for one in to_run
        if lost.isdisjoint({one.ref, *(need.ref for need in goal.topology.needs_of(one))})
    )
    return strangers_or_losses(goal, observed) if lost and not waiting else None


def _writing(_goal: Goal) -> timedelta:
    return WRITING


def _ending(_goal: Goal) -> timedelta:
    return ENDING


CAPTURED = Phase("capture", capture_steps, captured, _writing, lambda _goal: (CAPTURE,), can_turn_back=True)
KEPT = Phase(
    "keep",
    keep_steps,
    kept,
    _writing,
    lambda goal: tuple(volume.ref for volume in goal.volumes),
    unkeepable,
    can_turn_back=True,
)
REMOVED = Phase("remove", removal_steps, removed, _ending, removable, no_way_back)
CLAIMS_REMOVED = Phase(
    "remove-claims",
    claim_steps,
    claim_removed,
    _ending,
    lambda goal: tuple(claim.ref for claim in goal.claims),
    no_way_back,
)
REMOVING = frozenset({REMOVED.name, CLAIMS_REMOVED.name})
"""From these only a restore leads back."""
UP_AGAIN = replace(start.UP, name="up-again", decide=up_again_steps, obstacle=losses)
"""Where a delete fails before its first removal, and the cluster ran."""
