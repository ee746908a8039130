"""Snapshot: every volume that is not left out, cut together; cold with the cluster down for it, or hot."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from datetime import timedelta

from lifecycle.decide import delete, group, quiescing, start, stop
from lifecycle.decide.preflight import refuse_unsafe_scaling
from lifecycle.errors import Unsafe
from lifecycle.model import Action, Component, Ref, Step, Verb
from lifecycle.observed import Discovery, Inventory, Observed
from lifecycle.operation import UNMARKED, Goal, Source
from lifecycle.phase import Phase, strangers_or_losses
from lifecycle.quantity import in_bytes
from lifecycle.quiescing import HotCommands
from lifecycle.snapshots import (
    MAY_NOT_EXECUTE,
    Cutting,
    Ending,
    Flush,
    Grouping,
    Member,
    SnapshotSet,
    Temperature,
    Unsaved,
    choose,
    ending,
    name_of,
    ref_of,
    together,
)
from lifecycle.topology import arranged
from lifecycle.volumes import Snapshot
from lifecycle.workloads import Exit

CUTTING = timedelta(minutes=2)
"""For all to be cut: the driver has to take the moment, not to copy anything."""
UPLOADING = timedelta(minutes=60)
PER_GIBIBYTE = timedelta(minutes=1)
"""Added to UPLOADING for the largest volume: drivers that copy it elsewhere say readyToUse when that is done."""


def goal(
    discovery: Discovery,
    inventory: Inventory,
    temperature: Temperature,
    excluded: Collection[Component],
    before: Ending | None = None,
) -> Goal:
    """What a set of this cluster takes; of one that is down it is cold, and ``before`` is how its databases ended.

    Raises Unsafe, with a reason for each volume, where one that is not excluded cannot be cut.
    """
    topology = arranged(discovery.workloads)
    observed = discovery.observed
    runs = any(observed[workload].is_present for workload in topology)
    if runs and temperature is Temperature.COLD:
        refuse_unsafe_scaling(workload for workload in topology if observed[workload].is_up)
    kind = temperature if runs else Temperature.COLD
    cutting = _cutting(discovery, inventory, kind, excluded, None if runs else before or Ending.UNSEEN)
    refuse_incomplete(cutting)
    return Goal(
        verb=Verb.SNAPSHOT,
        topology=topology,
        counts={workload.ref: observed[workload].replicas for workload in topology},
        sources={workload.ref: Source.RUNNING for workload in topology},
        databases=stop.databases(topology, observed),
        claims=observed.claims,
        mark=UNMARKED,
        parts=inventory.parts,
        volumes=delete.held(inventory, observed.claims),
        ran=any(observed[workload].is_up for workload in topology),
        cutting=cutting,
    )


def held_still(made: Goal, grouping: Grouping, commands: HotCommands | None) -> Goal:
    """The same set; a hot one as a group where it can be, with the commands around it. Raises Unsafe."""
    if made.cutting is None or made.cutting.temperature is not Temperature.HOT:
        return made
    if commands:
        quiescing.refuse_absent(commands, made.topology.workloads)
    return replace(made, cutting=replace(together(made.cutting, grouping), commands=commands))


def on_the_way(made: Goal, discovery: Discovery, inventory: Inventory, excluded: Collection[Component]) -> Goal:
    """The same stop, with a cold set of what is down then. Raises as `goal`."""
    cutting = _cutting(discovery, inventory, Temperature.COLD, excluded, None)
    refuse_incomplete(cutting)
    volumes = delete.held(inventory, discovery.observed.claims)
    return replace(made, mark=UNMARKED, parts=inventory.parts, volumes=volumes, cutting=cutting)


def as_far_as_possible(
    made: Goal, discovery: Discovery, inventory: Inventory, excluded: Collection[Component], before: Ending | None
) -> Goal:
    """The same delete, with a cold set of what can be cut: every volume is kept beside it."""
    before = None if made.ran else before or Ending.UNSEEN
    return replace(made, cutting=_cutting(discovery, inventory, Temperature.COLD, excluded, before))


def _cutting(
    discovery: Discovery,
    inventory: Inventory,
    temperature: Temperature,
    excluded: Collection[Component],
    before: Ending | None,
) -> Cutting:
    claims = discovery.observed.claims
    left_out = {
        claim.name
        for claim in claims
        for workload in discovery.workloads
        if workload.component in excluded and workload.owns_claim(claim.name)
    }
    volumes = {volume.claim: volume for volume in inventory.volumes}
    members, unsaved = choose(claims, volumes, inventory.snapshot_classes, left_out)
    is_taken_down = temperature is Temperature.COLD and before is None
    memories = _memories(discovery, members) if is_taken_down else ()
    return Cutting(temperature, members, unsaved, before, memories, inventory.may_execute)


def _memories(discovery: Discovery, members: Sequence[Member]) -> tuple[Ref, ...]:
    """Of what runs of nosql, that of which a volume is cut."""
    return tuple(
        workload.ref
        for workload in arranged(discovery.workloads)
        if workload.component is Component.NOSQL
        and discovery.observed[workload].is_up
        and any(workload.owns_claim(member.claim) for member in members)
    )


def refuse_incomplete(cutting: Cutting) -> None:
    """A set without a volume that somebody counts on would only be found out at the restore."""
    if wanted := [one for one in cutting.unsaved if one.is_wanted]:
        raise Unsafe(
            f"a snapshot set would not be whole. {_reasons(wanted)} A component whose data need no snapshot is left "
            "out with `snapshot: false` in the configuration"
        )
    if not cutting.members:
        raise Unsafe("there is no volume to cut: every one is left out by the configuration, or there is none")


def _reasons(unsaved: Iterable[Unsaved]) -> str:
    return " ".join(f"{one.claim}: {one.why}." for one in unsaved)


def cut_steps(goal: Goal, observed: Observed) -> list[Step]:
    """Cut what is not cut yet, all at once."""
    return [
        Step(Action.CUT, member.ref, uid=member.uid)
        for member in _members(goal)
        if _seen(goal, observed, member) is None and observed.claim(member.claim)
    ]


def retain_steps(goal: Goal, observed: Observed) -> list[Step]:
    """Let every content that would go with its namespace stay."""
    return [
        Step(Action.RETAIN, member.ref, uid=seen.uid)
        for member in _members(goal)
        if (seen := _seen(goal, observed, member)) and seen.content and seen.policy != "Retain"
    ]


def is_cut(goal: Goal, observed: Observed, ref: Ref) -> bool:
    """What is written from now on is not in it."""
    seen = observed.snapshot(ref.name)
    return seen is not None and seen.made_by == goal.mark and seen.cut_at is not None


def is_saved(goal: Goal, observed: Observed, ref: Ref) -> bool:
    """Ready to restore from, and it stays."""
    seen = observed.snapshot(ref.name)
    return seen is not None and seen.made_by == goal.mark and seen.is_saved


def disturbed(goal: Goal, observed: Observed) -> str | None:
    """What makes the set another one than was asked for."""
    return _foreign(goal, observed) or _replaced(goal, observed) or _woken(goal, observed)


def lost(goal: Goal, observed: Observed) -> str | None:
    """A snapshot that was cut and is no more: no waiting makes it ready."""
    gone = [name for member in _members(goal) if observed.snapshot(name := name_of(goal.mark, member.claim)) is None]
    return _foreign(goal, observed) or (f"snapshot {gone[0]} was deleted" if gone else None)


def _woken(goal: Goal, observed: Observed) -> str | None:
    """Of a cold set; what runs writes."""
    assert goal.cutting
    if goal.cutting.temperature is Temperature.HOT:
        return None
    up = next((workload for workload in goal.topology if observed[workload].is_present), None)
    told = f"{up.ref} was started meanwhile, so the set would not be of one moment" if up else None
    return strangers_or_losses(goal, observed) or told


def _replaced(goal: Goal, observed: Observed) -> str | None:
    for member in _members(goal):
        claim = observed.claim(member.claim)
        if claim is None or claim.uid != member.uid:
            return f"{member.ref} was {'replaced by another one' if claim else 'deleted'}"
    return None


def _foreign(goal: Goal, observed: Observed) -> str | None:
    for member in _members(goal):
        seen = _seen(goal, observed, member)
        if seen and seen.made_by != goal.mark:
            return f"{seen.ref} was made by somebody else"
    return None


def _members(goal: Goal) -> tuple[Member, ...]:
    return goal.cutting.members if goal.cutting else ()


def _seen(goal: Goal, observed: Observed, member: Member) -> Snapshot | None:
    return observed.snapshot(name_of(goal.mark, member.claim))


def snapshots_of(goal: Goal) -> tuple[Ref, ...]:
    """The set's VolumeSnapshots."""
    return tuple(ref_of(goal.mark, member.claim) for member in _members(goal))


def _uploading(goal: Goal) -> timedelta:
    largest = max((in_bytes(member.capacity) for member in _members(goal)), default=0)
    return UPLOADING + PER_GIBIBYTE * (largest // 1024**3)


def _group_disturbed(goal: Goal, observed: Observed) -> str | None:
    return group.foreign(goal, observed) or _replaced(goal, observed)


CUT = Phase("cut", cut_steps, is_cut, lambda _goal: CUTTING, snapshots_of, disturbed)
READY = Phase("ready", retain_steps, is_saved, _uploading, snapshots_of, lost, completes_set=True)
GROUP_CUT = replace(CUT, decide=group.cut_steps, arrived=group.is_cut, objects=group.itself, obstacle=_group_disturbed)
GROUP_READY = replace(
    READY, decide=group.retain_steps, arrived=group.is_saved, objects=group.itself, obstacle=group.lost
)


def cutting_of(goal: Goal) -> Phase:
    """How the goal's set is cut, without any commands around it."""
    return GROUP_CUT if goal.is_grouped else CUT


def taken(goal: Goal, observed: Observed, exits: Sequence[Exit], unseen: Sequence[str]) -> SnapshotSet:
    """The set as it is SEEN at the end of READY; ``unseen`` are database containers whose end nobody saw."""
    assert goal.cutting
    singles = (_seen(goal, observed, member) for member in goal.cutting.members)
    members = group.members_of(goal, observed) if goal.is_grouped else tuple(one for one in singles if one)
    return SnapshotSet(
        id=goal.mark,
        temperature=goal.cutting.temperature,
        ending=_ending(goal.cutting, exits, unseen),
        taken_at=max(one.cut_at for one in members if one.cut_at),
        members=members,
        unsaved=goal.cutting.unsaved,
        capture=observed.capture,
        flushes=tuple(_flush(goal, goal.cutting, observed, ref) for ref in goal.cutting.memories),
        group=group.seen_of(goal, observed) if goal.is_grouped else None,
        quiescence=quiescing.told(goal, observed),
    )


def _flush(goal: Goal, cutting: Cutting, observed: Observed, ref: Ref) -> Flush:
    """As it is written on the workload: what another operation wrote there counts for nothing."""
    state = observed.state_of(ref)
    if not cutting.may_flush:
        return Flush(ref, MAY_NOT_EXECUTE)
    return Flush(ref, state.flush_trouble if state.flushed_by == goal.mark else "nobody saw whether it was")


def _ending(cutting: Cutting, exits: Sequence[Exit], unseen: Sequence[str]) -> Ending:
    if cutting.temperature is Temperature.HOT:
        return Ending.RUNNING
    return cutting.before or ending(exits, unseen)


def phases(goal: Goal) -> tuple[Phase, ...]:
    """A cold set of a running cluster: it is up again as soon as all is cut, and before any trouble is told."""
    assert goal.cutting
    captured = replace(delete.CAPTURED, can_turn_back=False)
    if goal.cutting.temperature is Temperature.HOT:
        cut = cutting_of(goal)
        around = quiescing.around(cut, group.label_steps if goal.is_grouped else _nothing)
        return (captured, around if quiescing.has_commands(goal) else cut, GROUP_READY if goal.is_grouped else READY)
    if goal.cutting.before is not None:
        return (captured, CUT, READY)
    return (stop.DOWN_AND_BACK, delete.CAPTURED, replace(CUT, can_turn_back=True), start.UP, READY)


def _nothing(_goal: Goal, _observed: Observed) -> list[Step]:
    return []


def phases_between(goal: Goal, *, can_turn_back: bool) -> tuple[Phase, ...]:
    """What a stop or a delete does while the cluster is down; nothing where it takes no set."""
    if goal.cutting is None or not goal.cutting.members:
        return ()
    return tuple(replace(phase, can_turn_back=can_turn_back) for phase in (delete.CAPTURED, CUT, READY))
