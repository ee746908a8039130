"""Stop: every workload to zero, remembered, in the reverse order of the needs."""

from dataclasses import replace
from datetime import timedelta

from lifecycle.decide.preflight import refuse_unsafe_scaling
from lifecycle.errors import AlreadyStopped
from lifecycle.model import DATABASES, Action, Ref, Step, Verb
from lifecycle.observed import Discovery, Observed
from lifecycle.operation import Goal, Source
from lifecycle.phase import Phase
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
    """The scale-downs that may go now: of what is up, all that nothing still present needs."""
    return [
        Step(Action.SCALE_TO_ZERO, workload.ref, observed[workload].replicas, workload.uid)
        for workload in goal.scope
        if observed[workload].is_up and not any(observed[other].is_present for other in goal.topology.needing(workload))
    ]


def gone(_goal: Goal, observed: Observed, ref: Ref) -> bool:
    """Nothing asks for it, its controller has seen that, and no pod of it is left."""
    return not observed.state_of(ref).is_present


def limit(goal: Goal) -> timedelta:
    """For each level of needs its longest grace period and a margin; an ordered set stops one pod after another."""
    return sum(
        (timedelta(seconds=max(_grace(goal, workload) for workload in level)) + MARGIN for level in goal.scope.levels),
        timedelta(),
    )


def _grace(goal: Goal, workload: Workload) -> int:
    return workload.grace * (max(1, goal.counts[workload.ref]) if workload.ordered else 1)


DOWN = Phase("down", steps, gone, limit)
DOWN_AND_BACK = replace(DOWN, can_turn_back=True)
"""Of what only takes the cluster down for something else."""
