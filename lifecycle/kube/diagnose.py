"""Why objects are not where they should be: first what stands in the way, then what only waits for it."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from lifecycle.diagnosis import Diagnosis, Finding
from lifecycle.kube import evidence, lingering, symptoms
from lifecycle.kube.door import Door
from lifecycle.kube.evidence import Evidence
from lifecycle.kube.parallel import together
from lifecycle.kube.paths import OF_KIND, Resource
from lifecycle.kube.symptoms import Symptom, Weight, symptom
from lifecycle.model import Ref
from lifecycle.topology import Topology
from lifecycle.workloads import Workload, WorkloadState

LOGS = 5
"""Containers whose log is read; more of them mostly tell the same."""


async def diagnose(door: Door, namespace: str, topology: Topology, missing: Collection[str]) -> Diagnosis:
    """``missing`` are Ref texts. Never raises for what cannot be read: that is a finding too."""
    found = await evidence.gather(door, namespace)
    others = await lingering.explain(door, namespace, missing, found)
    return Diagnosis(await _with_logs(door, namespace, [*others, *explain(topology, found, missing)]))


async def _with_logs(door: Door, namespace: str, found: list[Symptom]) -> tuple[Finding, ...]:
    logged = [index for index, one in enumerate(found) if one.log][:LOGS]
    told = await together(_lines(door, namespace, found[index]) for index in logged)
    lines = dict(zip(logged, told, strict=True))
    return tuple(replace(one.finding, log=lines.get(index, ())) for index, one in enumerate(found))


async def _lines(door: Door, namespace: str, one: Symptom) -> tuple[str, ...]:
    if one.log is None:
        return ()
    return await evidence.last_lines(door, namespace, one.log.pod, one.log.container, previous=one.log.previous)


def explain(topology: Topology, found: Evidence, missing: Collection[str]) -> list[Symptom]:
    """Of each workload that waits for nobody its symptoms, then who waits for whom, then what could not be read."""
    asked = [workload for workload in topology if str(workload.ref) in missing]
    known = [one for one in asked if found.knows(OF_KIND[one.ref.kind], Resource.PODS)]
    states = {one.ref: found.state(one) for one in known}
    is_down = _is_going_down(states.values())
    obstacles = {one.ref: _obstacles(topology, known, states, one, is_down=is_down) for one in known}
    culprits = [one for one in known if not obstacles[one.ref]]
    direct = [each for one in culprits for each in _symptoms(one, states[one.ref], found, is_down=is_down)]
    indirect = [_waits(one, obstacles[one.ref]) for one in known if obstacles[one.ref]]
    return [*direct, *indirect, *(Symptom(Weight.SUMMARY, finding) for finding in found.unread)]


def _is_going_down(states: Iterable[WorkloadState]) -> bool:
    """Told by the states alone: what is at zero and still there is to go; what is at zero and gone is to come."""
    at_zero = [state for state in states if state.exists and not state.is_up]
    return bool(at_zero) and all(state.is_present for state in at_zero)


def _obstacles(
    topology: Topology, missing: list[Workload], states: Mapping[Ref, WorkloadState], one: Workload, *, is_down: bool
) -> list[Workload]:
    """Those of the missing workloads that have to get there before it."""
    if is_down:
        return [other for other in topology.needing(one) if other.ref in states]
    unready = [other for other in missing if not _is_ready(states, other)]
    if _is_ready(states, one):
        return unready  # a restart goes one by one
    return [need for need in topology.needs_of(one) if need in unready]


def _is_ready(states: Mapping[Ref, WorkloadState], workload: Workload) -> bool:
    return states[workload.ref].is_ready(workload.ref.kind)


def _symptoms(workload: Workload, state: WorkloadState, found: Evidence, *, is_down: bool) -> list[Symptom]:
    if is_down or state.is_ready(workload.ref.kind):
        return symptoms.of_present(workload, found)
    return symptoms.of_missing(workload, found)


def _waits(workload: Workload, obstacles: list[Workload]) -> Symptom:
    names = ", ".join(one.label for one in obstacles)
    return symptom(Weight.SUMMARY, str(workload.ref), f"waits for {names}")
