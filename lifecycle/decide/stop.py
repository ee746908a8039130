"""Stop: every workload to zero, remembered, in the reverse order of the needs."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

from lifecycle.decide.preflight import refuse_unsafe_scaling
from lifecycle.errors import AlreadyStopped
from lifecycle.model import DATABASES, Action, Ref, Step, Verb
from lifecycle.observed import Discovery, Observed
from lifecycle.operation import Goal, Source
from lifecycle.phase import Phase
from lifecycle.snapshots import FLUSHING
from lifecycle.topology import Topology, arranged
from lifecycle.workloads import Pod, Workload

MARGIN = timedelta(seconds=60)
"""Added to each level's longest grace period: scheduling, node and controller lag."""


def goal(discovery: Discovery) -> Goal:
    """What a stop of this cluster has to reach; raises Refused when there is nothing to stop or it is unsafe."""
    topology = arranged(discovery.workloads)
    observed = discovery.observed
    if not any(observed[workload].is_present for workload in topology):
        raise AlreadyStopped("already stopped")
    refuse_unsafe_scaling(workload for workload in topology if observed[workload].is_up)
    return Goal(
        verb=Verb.STOP,
        topology=topology,
        counts={workload.ref: observed[workload].replicas for workload in topology},
        sources={workload.ref: Source.RUNNING for workload in topology},
        databases=databases(topology, observed),
        claims=observed.claims,
    )


def databases(topology: Topology, observed: Observed) -> tuple[Pod, ...]:
    """The pods whose ends are to be witnessed."""
    return tuple(pod for workload in topology if workload.component in DATABASES for pod in observed[workload].pods)


def steps(goal: Goal, observed: Observed) -> list[Step]:
    """The scale-downs that may go now: of what is up, all that nothing still present needs; a flush goes before."""
    return [
        Step(_next(goal, observed, workload), workload.ref, observed[workload].replicas, workload.uid)
        for workload in goal.scope
        if observed[workload].is_up and not any(observed[other].is_present for other in goal.topology.needing(workload))
    ]


def _next(goal: Goal, observed: Observed, workload: Workload) -> Action:
    """Flushed once, whatever came of it; what another operation flushed may hold new data in memory."""
    is_tried = observed[workload].flushed_by == goal.mark
    return Action.FLUSH if _is_flushed(goal, workload) and not is_tried else Action.SCALE_TO_ZERO


def _is_flushed(goal: Goal, workload: Workload) -> bool:
    return goal.cutting is not None and goal.cutting.flushes(workload.ref)


def gone(_goal: Goal, observed: Observed, ref: Ref) -> bool:
    """Nothing asks for it, its controller has seen that, and no pod of it is left."""
    return not observed.state_of(ref).is_present


def limit(goal: Goal) -> timedelta:
    """For each level of needs its longest grace period and a margin, and for a flush that hangs until it is given up.

    An ordered set stops one pod after another.
    """
    return sum((_limit_of(goal, level) for level in goal.scope.levels), timedelta())


def _limit_of(goal: Goal, level: Iterable[Workload]) -> timedelta:
    workloads = list(level)
    flushing = FLUSHING if any(_is_flushed(goal, one) for one in workloads) else timedelta()
    return timedelta(seconds=max(_grace(goal, one) for one in workloads)) + MARGIN + flushing


def _grace(goal: Goal, workload: Workload) -> int:
    return workload.grace * (max(1, goal.counts[workload.ref]) if workload.ordered else 1)


DOWN = Phase("down", steps, gone, limit)
DOWN_AND_BACK = replace(DOWN, can_turn_back=True)
"""Of what only takes the cluster down for something else."""
