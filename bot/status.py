"""What a cluster looks like now, and whether it is still as the bot left it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lifecycle import configuration
from lifecycle.decide.preflight import absent
from lifecycle.diagnosis import Diagnosis
from lifecycle.model import Verb
from lifecycle.observed import Discovery
from lifecycle.operation import Operation, State
from lifecycle.ports import Cluster
from lifecycle.topology import arranged
from lifecycle.workloads import Workload, WorkloadState

RUNNING = "running"
HALF_REMOVED = "half removed"
"""Some of its objects are gone."""


@dataclass(frozen=True)
class Line:
    """One workload: its word for people and its counts."""

    workload: Workload
    state: WorkloadState

    @property
    def word(self) -> str:
        if self.state.is_ready(self.workload.ref.kind):
            return "ready"
        if self.state.is_up:
            return "not ready"
        return "stopping" if self.state.is_present else "stopped"


@dataclass(frozen=True)
class Status:
    """A cluster at a glance; ``drift`` says in which way it is not as the last operation left it."""

    discovery: Discovery
    lines: tuple[Line, ...]
    running: Operation | None
    last: Operation | None
    drift: tuple[str, ...]
    diagnosis: Diagnosis
    absent: tuple[str, ...] = ()
    """What should be there and is not, in words."""

    @property
    def word(self) -> str:
        """The cluster in a word."""
        if self.absent and not self.running:
            return HALF_REMOVED
        return said(_word(self.lines), self.last, self.discovery)


def said(word: str, last: Operation | None, discovery: Discovery) -> str:
    """Of a cluster that runs, whether the API configuration was seen as well."""
    doubted = configuration.doubted(last, discovery.observed.claims)
    is_unseen = doubted or (last is not None and configuration.is_missed(last))
    return configuration.NOT_SEEN if word == RUNNING and is_unseen else word


def _word(lines: Iterable[Line]) -> str:
    words = {line.word for line in lines}
    if words == {"ready"}:
        return RUNNING
    if words == {"stopped"}:
        return "stopped"
    return "partly up" if "ready" in words or "not ready" in words else "stopping"


async def glance(cluster: Cluster, last: Operation | None) -> str:
    """The cluster in a word; ``last`` is its newest operation."""
    discovery = await cluster.discover()
    if absent(discovery, last.goal.topology if last else ()):
        return HALF_REMOVED
    return said(_word(_lines(discovery)), last, discovery)


async def look(cluster: Cluster, running: Operation | None, earlier: Sequence[Operation]) -> Status:
    """Read the cluster, and diagnose what is unready though no operation works on it.

    ``earlier`` are the cluster's operations that have ended, newest first.
    """
    discovery = await cluster.discover()
    lines = _lines(discovery)
    unready = tuple(str(line.workload.ref) for line in lines if line.word in {"not ready", "stopping"})
    diagnosis = Diagnosis()
    if unready and running is None:
        diagnosis = await cluster.diagnose(arranged(discovery.workloads), unready)
    drift = () if running else drifted(discovery, lines, earlier)
    gone = absent(discovery, earlier[0].goal.topology if earlier else ())
    return Status(discovery, lines, running, earlier[0] if earlier else None, drift, diagnosis, gone)


def _lines(discovery: Discovery) -> tuple[Line, ...]:
    return tuple(Line(workload, discovery.observed[workload]) for workload in arranged(discovery.workloads))


def drifted(discovery: Discovery, lines: Sequence[Line], earlier: Sequence[Operation]) -> tuple[str, ...]:
    """What somebody else changed: each workload against the newest operation that had it in scope.

    One that failed says nothing about where its workloads were left.
    """
    touching = [one for one in earlier if one.verb not in (Verb.VERIFY, Verb.PURGE)]  # neither touches the cluster
    told = list(absent(discovery, touching[0].goal.topology if touching else ()))
    for line in lines:
        ref = line.workload.ref
        last = next((operation for operation in earlier if ref in operation.goal.counts), None)
        if last and last.state is State.DONE:
            told += _against(last, line)
    return tuple(told)


def _against(last: Operation, line: Line) -> list[str]:
    workload, state, wanted = line.workload, line.state, last.goal.counts[line.workload.ref]
    if not last.goal.is_ours(last.goal.topology[workload.ref], state):
        return [f"{workload.ref} is another object than the one {last.id} worked on"]
    if last.verb in (Verb.STOP, Verb.REMOVE) and state.is_up:
        return [f"{workload.label} has {state.replicas} replicas, though {last.id} stopped it"]
    if last.verb not in (Verb.STOP, Verb.REMOVE) and state.replicas != wanted:
        return [f"{workload.label} has {state.replicas} replicas, {last.id} left it with {wanted}"]
    return []
