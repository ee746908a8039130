"""Restore in place: the volumes of a cluster that is there are exchanged for those of a set, and the old ones kept."""

from collections.abc import Collection
from dataclasses import replace

from lifecycle.decide import clone, delete, rebind, snapshot, start, stop
from lifecycle.decide.preflight import refuse_unsafe_scaling
from lifecycle.errors import Unsafe
from lifecycle.model import Component, Verb
from lifecycle.observed import Discovery, Inventory, Observed
from lifecycle.operation import UNMARKED, Goal, Operation, Source, State
from lifecycle.phase import Phase, strangers_or_losses
from lifecycle.snapshots import Clone, Ending, SnapshotSet
from lifecycle.topology import arranged


def goal(
    discovery: Discovery,
    inventory: Inventory,
    taken: SnapshotSet,
    by: Operation,
    excluded: Collection[Component],
    half_done: Operation | None = None,
    before: Ending | None = None,
) -> Goal:
    """What it takes to go back to the set ``taken`` by the operation ``by``.

    A set for safety is cut of what can be, every old volume is kept besides. Where an earlier one was left
    ``half_done``, this one goes on to the counts that it had found. Raises Unsafe.
    """
    topology = arranged(discovery.workloads)
    observed = discovery.observed
    clones = clone.clones_of(taken, by)
    names = {one.claim for one in clones}
    refuse_unsafe_scaling(workload for workload in topology if observed[workload].is_up)
    _refuse_others(clones, discovery)
    replaced = tuple(claim for claim in observed.claims if claim.name in names)
    volumes = {volume.claim: volume for volume in inventory.volumes}
    delete.refuse_unkeepable(replaced, inventory)
    delete.refuse_mounted_elsewhere(discovery)
    left = half_done.goal.counts if half_done else {}
    made = Goal(
        verb=Verb.RESTORE_IN_PLACE,
        topology=topology,
        counts={workload.ref: observed[workload].replicas or left.get(workload.ref, 0) for workload in topology},
        sources={workload.ref: Source.RUNNING for workload in topology},
        databases=stop.databases(topology, observed),
        claims=replaced,
        mark=UNMARKED,
        parts=inventory.parts,
        volumes=tuple(volumes[claim.name] for claim in replaced if claim.volume),
        ran=any(observed[workload].is_up for workload in topology),
        chosen=taken.id,
        clones=clones,
    )
    return snapshot.as_far_as_possible(made, discovery, inventory, excluded, before)


def is_half_done(last: Operation) -> bool:
    """Whether it took claims away and did not come to its end: what starts now may make empty ones."""
    return (
        last.verb is Verb.RESTORE_IN_PLACE
        and last.state is State.FAILED
        and last.phase in (CLAIMS_REMOVED.name, CLONED.name)
    )


def is_missing(half_done: Operation, observed: Observed) -> bool:
    """Whether a claim that it was to make is not there; ``observed`` has the cluster's claims."""
    return any(observed.claim(one.claim) is None for one in half_done.goal.clones)


def with_lost(goal: Goal, observed: Observed) -> Goal:
    """The goal with what of the set has to be bound anew; ``observed`` is the picture for it.

    Raises Unsafe where the set cannot be restored from.
    """
    made = rebind.with_lost(goal, observed)
    if lost := rebind.lost_set(made, observed):
        raise Unsafe(f"{lost}, so {goal.chosen} cannot be restored")
    return made


def _refuse_others(clones: tuple[Clone, ...], discovery: Discovery) -> None:
    """A set of more zones or pods than there are now would leave claims that nobody mounts."""
    strange = [one.claim for one in clones if not any(w.owns_claim(one.claim) for w in discovery.workloads)]
    if strange:
        raise Unsafe(
            f"the set has {', '.join(strange)}, and no workload that is there now has such a claim: it is of another "
            "layout of the cluster"
        )


def stopped_for(goal: Goal, observed: Observed) -> str | None:
    """What makes it senseless to take the old claims away."""
    return clone.lost_snapshots(goal, observed) or delete.no_way_back(goal, observed)


def taken_by_others(goal: Goal, observed: Observed) -> str | None:
    foreign = clone.foreign_clones(goal, observed)
    told = f"made by somebody else meanwhile, and a restore never overwrites: {', '.join(map(str, foreign))}"
    return clone.lost_snapshots(goal, observed) or strangers_or_losses(goal, observed) or (told if foreign else None)


def losses(goal: Goal, observed: Observed) -> str | None:
    """What would let a set that starts make an empty claim."""
    return strangers_or_losses(goal, observed) or clone.unmade(goal, observed)


def unkeepable(goal: Goal, observed: Observed) -> str | None:
    """What makes it senseless to keep the old volumes."""
    return clone.lost_snapshots(goal, observed) or delete.unkeepable(goal, observed)


KEPT = replace(delete.KEPT, obstacle=unkeepable)
CLAIMS_REMOVED = replace(delete.CLAIMS_REMOVED, obstacle=stopped_for)
CLONED = Phase(
    "clone", clone.cloning_steps, clone.is_cloned, lambda _goal: delete.WRITING, clone.cloned_claims, taken_by_others
)
UP = replace(start.UP, obstacle=losses)
EXCHANGING = frozenset({CLAIMS_REMOVED.name, CLONED.name, UP.name})
"""From these on old volumes are without their claims."""


def phases(goal: Goal) -> tuple[Phase, ...]:
    """Safety first: nothing goes before the set for safety is ready and every old volume was seen Retain."""
    saving = snapshot.phases_between(goal, can_turn_back=True) or (delete.CAPTURED,)
    return (*rebind.phases(goal), stop.DOWN_AND_BACK, *saving, KEPT, CLAIMS_REMOVED, CLONED, UP)
