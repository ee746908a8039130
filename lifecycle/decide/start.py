"""Start: every workload to the count it had, in the order of the needs."""

from collections.abc import Mapping
from datetime import timedelta

from lifecycle.decide.preflight import refuse_unsafe_scaling
from lifecycle.errors import AlreadyRunning, CountsUnknown, Unsafe
from lifecycle.model import Action, Component, Ref, Step, Verb
from lifecycle.observed import Discovery, Observed
from lifecycle.operation import Goal, Source
from lifecycle.phase import Phase
from lifecycle.topology import Topology, arranged
from lifecycle.workloads import Workload

MARGIN = timedelta(minutes=5)
"""Added to each level's longest readiness time: scheduling, attaching volumes, pulling images."""


def goal(discovery: Discovery, remembered: Mapping[Ref, int], typed: Mapping[Component, int]) -> Goal:
    """What a start of this cluster has to reach.

    ``remembered`` are the counts of the last stop in the database, ``typed`` those that the person gave. Raises
    AlreadyRunning when all is up and ready, CountsUnknown when a component's count is nowhere.
    """
    topology = arranged(discovery.workloads)
    observed = discovery.observed
    refuse_contradiction(topology, observed, typed)
    counts: dict[Ref, int] = {}
    sources: dict[Ref, Source] = {}
    left: list[Ref] = []
    for workload in topology:
        found = count_of(workload, discovery, remembered, typed)
        if found is not None and found[0] > 0:
            counts[workload.ref], sources[workload.ref] = found
        elif found is not None or workload.component is Component.REPORTING:
            left.append(workload.ref)
        else:
            raise CountsUnknown(_unknown(workload))
    if all(_already(observed, topology[ref]) for ref in counts):
        raise AlreadyRunning("already running")
    refuse_unsafe_scaling(topology[ref] for ref in counts if not observed[topology[ref]].is_up)
    return Goal(
        verb=Verb.START,
        topology=topology,
        counts=counts,
        sources=sources,
        claims=observed.claims,
        left=tuple(left),
        absent=discovery.absent,
        unverified=discovery.mode == "untethered" and _several_sql(topology, counts),
    )


def count_of(
    workload: Workload, discovery: Discovery, remembered: Mapping[Ref, int], typed: Mapping[Component, int]
) -> tuple[int, Source] | None:
    """How many replicas it is to have and who says so, or None when nobody does."""
    state = discovery.observed[workload]
    candidates = (
        (state.replicas or None, Source.RUNNING),
        (typed.get(workload.component), Source.TYPED),
        (state.remembered, Source.REMEMBERED),
        (remembered.get(workload.ref), Source.DATABASE),
        (discovery.declared.get((workload.component, workload.zone)), Source.DECLARED),
    )
    return next(((count, source) for count, source in candidates if count is not None), None)


def refuse_contradiction(topology: Topology, observed: Observed, typed: Mapping[Component, int]) -> None:
    """A start scales nothing that runs: a typed count that differs from it would silently not be kept."""
    for workload in topology:
        asked, state = typed.get(workload.component), observed[workload]
        if asked is not None and state.is_up and asked != state.replicas:
            raise Unsafe(
                f"{workload.component}={asked} cannot be kept: {workload.ref} runs with {state.replicas}, "
                "and a start does not scale what runs. Leave it out, or stop the cluster first."
            )


def _already(observed: Observed, workload: Workload) -> bool:
    return observed[workload].is_ready(workload.ref.kind)


def _several_sql(topology: Topology, counts: Mapping[Ref, int]) -> bool:
    return sum(counts.get(w.ref, 0) for w in topology if w.component is Component.SQL) > 1


def _unknown(workload: Workload) -> str:
    return (
        f"nobody remembers how many replicas {workload.ref} had: it carries no note of an earlier stop, this bot's "
        f"database has none, and cm declares no count for {workload.component}. "
        f"Say it: add `{workload.component}=N` to the command."
    )


def kept(goal: Goal, observed: Observed) -> tuple[str, ...]:
    """What runs with another count than the last stop remembered, in words: a start does not scale it."""
    running = [one for one in goal.scope if goal.sources.get(one.ref) is Source.RUNNING]
    return tuple(
        f"{one.label} runs with {observed[one].replicas} and stays so, though the last stop took away "
        f"{observed[one].remembered}"
        for one in running
        if observed[one].remembered not in (None, observed[one].replicas)
    )


def steps(goal: Goal, observed: Observed) -> list[Step]:
    """The scale-ups that may go now: of what is down, all whose needs are ready."""
    return [
        Step(Action.SCALE_UP, workload.ref, goal.counts[workload.ref], goal.uid_of(workload, observed))
        for workload in goal.scope
        if goal.counts[workload.ref]
        and observed[workload].exists
        and not observed[workload].is_up
        and all(_settled(goal, observed, need) for need in goal.topology.needs_of(workload))
    ]


def _settled(goal: Goal, observed: Observed, need: Workload) -> bool:
    return not goal.counts.get(need.ref) or ready(goal, observed, need.ref)


def ready(_goal: Goal, observed: Observed, ref: Ref) -> bool:
    """All replicas that are asked for are up and ready."""
    return observed.state_of(ref).is_ready(ref.kind)


def to_run(goal: Goal) -> tuple[Ref, ...]:
    """The workloads that are to have a replica at all."""
    return tuple(workload.ref for workload in goal.scope if goal.counts[workload.ref])


def limit(goal: Goal) -> timedelta:
    """For each level of needs its longest readiness time and a margin; ordered sets start one pod after another."""
    return sum(
        (
            timedelta(seconds=max(_longest(goal, workload) for workload in level)) + MARGIN
            for level in goal.scope.levels
        ),
        timedelta(),
    )


def _longest(goal: Goal, workload: Workload) -> int:
    longest = workload.probe.longest if workload.probe else 0
    return longest * (goal.counts[workload.ref] if workload.ordered else 1)


UP = Phase("up", steps, ready, limit, to_run)
