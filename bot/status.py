"""What a cluster looks like now, and whether it is still as the bot left it."""

from dataclasses import dataclass

from lifecycle.model import Diagnosis, Discovery, Verb, Workload, WorkloadState
from lifecycle.operation import Operation, State
from lifecycle.ports import Cluster
from lifecycle.topology import arranged


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

    @property
    def word(self) -> str:
        """The cluster in a word."""
        words = {line.word for line in self.lines}
        if words == {"ready"}:
            return "running"
        if words == {"stopped"}:
            return "stopped"
        return "partly up" if "ready" in words or "not ready" in words else "stopping"


async def look(cluster: Cluster, running: Operation | None, last: Operation | None) -> Status:
    """Read the cluster, and diagnose what is unready though no operation works on it."""
    discovery = await cluster.discover()
    lines = tuple(Line(workload, discovery.observed[workload]) for workload in arranged(discovery.workloads))
    unready = tuple(str(line.workload.ref) for line in lines if line.word in {"not ready", "stopping"})
    diagnosis = Diagnosis()
    if unready and running is None:
        diagnosis = await cluster.diagnose(arranged(discovery.workloads), unready)
    drift = () if running else drifted(last, lines)
    return Status(discovery, lines, running, last, drift, diagnosis)


def drifted(last: Operation | None, lines: tuple[Line, ...]) -> tuple[str, ...]:
    """What somebody else changed since the last operation that ended well."""
    if last is None or last.state is not State.DONE:
        return ()
    told = []
    for line in lines:
        wanted = last.goal.counts.get(line.workload.ref)
        if wanted is None:
            continue
        if last.verb is Verb.STOP and line.state.is_up:
            told.append(f"{line.workload.label} has {line.state.replicas} replicas, though {last.id} stopped it")
        if last.verb is not Verb.STOP and line.state.replicas != wanted:
            told.append(f"{line.workload.label} has {line.state.replicas} replicas, {last.id} left it with {wanted}")
        if line.state.exists and line.workload.uid != last.goal.topology[line.workload.ref].uid:
            told.append(f"{line.workload.ref} is another object than the one {last.id} worked on")
    return tuple(told)
