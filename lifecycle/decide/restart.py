"""Restart: roll every workload's pods, one workload after another in the order of the needs."""

from datetime import timedelta

from lifecycle.decide import start, stop
from lifecycle.errors import AlreadyStopped, NothingFound, Unsafe
from lifecycle.model import DATABASES, Action, Component, Ref, Step, Verb
from lifecycle.observed import Discovery, Observed
from lifecycle.operation import UNMARKED, Goal, Source
from lifecycle.phase import Phase
from lifecycle.topology import Topology, arranged
from lifecycle.workloads import Workload


def goal(discovery: Discovery, component: Component | None, *, downtime: bool) -> Goal:
    """What a restart of the cluster, or of one component, has to reach.

    Raises Unsafe when a database without a second replica would go down and ``downtime`` was not said.
    """
    topology = arranged(discovery.workloads)
    asked = [workload for workload in topology if component in (None, workload.component)]
    if not asked:
        raise NothingFound(f"there is no {component} in {discovery.target.namespace}")
    scope = [workload for workload in asked if discovery.observed[workload].is_up]
    if not scope:
        raise AlreadyStopped("stopped: there is nothing to restart")
    for workload in scope:
        _refuse_unsafe(workload, discovery.observed, downtime=downtime)
        _refuse_stranded(workload, topology, discovery.observed)
    return Goal(
        verb=Verb.RESTART,
        topology=topology,
        counts={workload.ref: discovery.observed[workload].replicas for workload in scope},
        sources={workload.ref: Source.RUNNING for workload in scope},
        claims=discovery.observed.claims,
        left=tuple(workload.ref for workload in asked if workload not in scope),
        mark=UNMARKED,
    )


def _refuse_unsafe(workload: Workload, observed: Observed, *, downtime: bool) -> None:
    if not workload.rolls_out:
        raise Unsafe(f"{workload.ref} has the update strategy OnDelete: a restart would change its template and no pod")
    if workload.component in DATABASES and observed[workload].replicas < 2 and not downtime:
        raise Unsafe(
            f"{workload.ref} has one replica: while {workload.label} restarts, what needs it fails. "
            "Add `--downtime` to the command to accept that."
        )


def _refuse_stranded(workload: Workload, topology: Topology, observed: Observed) -> None:
    """What lacks a need never becomes ready again."""
    for need in topology.needs_of(workload):
        if not observed[need].is_up:
            raise Unsafe(
                f"{workload.label} needs {need.label}, and {need.ref} is at zero: it would not become ready again. "
                "Start the cluster first."
            )


def steps(goal: Goal, observed: Observed) -> list[Step]:
    """The next workload's restart, once all before it are seen ready again."""
    for workload in goal.scope:
        if observed[workload].restarted_by != goal.mark:
            return [Step(Action.ROLLOUT_RESTART, workload.ref, observed[workload].replicas, workload.uid)]
        if not rolled(goal, observed, workload.ref):
            return []
    return []


def rolled(goal: Goal, observed: Observed, ref: Ref) -> bool:
    """Its template bears this operation's mark and every pod of it is ready."""
    state = observed.state_of(ref)
    return state.restarted_by == goal.mark and state.is_ready(ref.kind)


def limit(goal: Goal) -> timedelta:
    """One after another: for each workload as long as it may take to stop and to become ready."""
    return sum((_limit_of(goal, workload) for workload in goal.scope), timedelta())


def _limit_of(goal: Goal, workload: Workload) -> timedelta:
    longest = workload.probe.longest if workload.probe else 0
    return timedelta(seconds=(workload.grace + longest) * goal.counts[workload.ref]) + stop.MARGIN + start.MARGIN


ROLLING = Phase("rolling", steps, rolled, limit)
