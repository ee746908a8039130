"""Stop with --remove: down, captured, then what can be made again goes; the claims and what is shared stay."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

from lifecycle.decide import delete, stop
from lifecycle.decide.preflight import refuse_unsafe_removal, refuse_unsafe_scaling
from lifecycle.errors import Unsafe
from lifecycle.model import Kind, Ref, Step, Verb
from lifecycle.observed import Discovery, Observed, Part
from lifecycle.operation import UNMARKED, Goal, Source
from lifecycle.phase import Phase, strangers, strangers_or_losses
from lifecycle.topology import arranged
from lifecycle.volumes import Claim

SHARED = frozenset({"cluster-property", "zones-property", "papi-property"})
"""The Secrets of all components, which the vendor's stop leaves (domain, section 3)."""
OLD_SUFFIX = "-map"
"""Of the same as ConfigMaps, up to release 5.2."""


def goal(discovery: Discovery, parts: Sequence[Part], remembered: Mapping[Ref, int], *, keeps_services: bool) -> Goal:
    """What a stop with --remove of this cluster has to reach, whether or not it runs.

    ``remembered`` are the counts of earlier stops in the database. Raises Unsafe where a claim could go with what is
    removed, or where the count of a workload is somebody else's.
    """
    topology = arranged(discovery.workloads)
    observed = discovery.observed
    refuse_unsafe_removal(topology)
    refuse_unsafe_scaling(topology)
    _refuse_doubtful(observed.claims)
    staying = tuple(part for part in parts if _is_shared(part.ref) or (keeps_services and part.addresses))
    noted = {one.ref: observed[one].remembered or remembered.get(one.ref, 0) for one in topology}
    return Goal(
        verb=Verb.REMOVE,
        topology=topology,
        counts={workload.ref: observed[workload].replicas for workload in topology},
        sources={workload.ref: Source.RUNNING for workload in topology},
        databases=stop.databases(topology, observed),
        claims=observed.claims,
        mark=UNMARKED,
        parts=tuple(part for part in parts if part not in staying),
        staying=staying,
        resting={ref: count for ref, count in noted.items() if count and not observed.state_of(ref).replicas},
        mode=discovery.mode,
        ran=any(observed[workload].is_up for workload in topology),
    )


def _is_shared(ref: Ref) -> bool:
    return ref.kind in (Kind.SECRET, Kind.CONFIG_MAP) and ref.name.removesuffix(OLD_SUFFIX) in SHARED


def _refuse_doubtful(claims: Sequence[Claim]) -> None:
    """A claim that is Terminating goes as soon as no pod holds it, and what is on its volume with it."""
    for claim in claims:
        if claim.status not in ("Bound", "Pending"):
            raise Unsafe(
                f"claim {claim.name} is {claim.status}, so it is not certain that it stays when its pod is gone. "
                "Nothing was changed; mend or remove it by hand first"
            )
    if owned := would_go_along(claims):
        raise Unsafe(owned)


def lost_claims(goal: Goal, observed: Observed) -> str | None:
    """A claim that somebody removed: what starts without it makes an empty one."""
    for claim in goal.claims:
        now = observed.claim(claim.name)
        if now is None or now.uid != claim.uid or now.status == Claim.TERMINATING:
            return f"{claim.ref} was removed by somebody; what was on its volume may be gone with it"
    return None


def would_go_along(claims: Iterable[Claim]) -> str | None:
    """A claim that Kubernetes removes with its owner; a retention policy that was Delete once may leave it one."""
    owned = next((claim for claim in claims if claim.goes_with), None)
    if owned is None:
        return None
    return (
        f"claim {owned.name} has ownerReferences, so it would go with its owner. Take them off first: kubectl patch "
        f'{owned.ref} --type merge -p \'{{"metadata":{{"ownerReferences":null}}}}\''
    )


def endangered(goal: Goal, observed: Observed) -> str | None:
    """What makes it senseless to go on while nothing is removed yet."""
    return strangers_or_losses(goal, observed) or lost_claims(goal, observed) or would_go_along(observed.claims)


def no_way_back(goal: Goal, observed: Observed) -> str | None:
    """What is removed could not be made again, or its data would go with it."""
    if not observed.capture:
        return "the capture is not there any more, or not whole: nothing would say how what is removed was"
    return strangers(goal, observed) or lost_claims(goal, observed) or would_go_along(observed.claims)


def nothing(_goal: Goal, _observed: Observed) -> list[Step]:
    """It only has to be seen."""
    return []


def held(goal: Goal, observed: Observed, ref: Ref) -> bool:
    """The claim is there, and Bound if it ever was."""
    before = next(claim for claim in goal.claims if claim.ref == ref)
    now = observed.claim(ref.name)
    return now is not None and now.uid == before.uid and now.status in ("Bound", before.status)


def claims_of(goal: Goal) -> tuple[Ref, ...]:
    return tuple(claim.ref for claim in goal.claims)


def _seeing(_goal: Goal) -> timedelta:
    return delete.WRITING


DOWN = stop.DOWN_AND_BACK
CAPTURED = replace(delete.CAPTURED, obstacle=endangered)
REMOVED = replace(delete.REMOVED, obstacle=no_way_back)
HELD = Phase("claims", nothing, held, _seeing, claims_of, lost_claims)
REMOVING = frozenset({REMOVED.name, HELD.name})
"""From these only a start leads back."""
