"""What a diagnosis is made of: everything in the namespace that may tell why something does not come or go."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from lifecycle.diagnosis import Finding
from lifecycle.errors import ClusterError
from lifecycle.kube import paths, read
from lifecycle.kube.answers import Json
from lifecycle.kube.door import Door
from lifecycle.kube.masking import shown
from lifecycle.kube.paths import PICTURED, Resource
from lifecycle.workloads import Workload, WorkloadState

READ = (*PICTURED, Resource.EVENTS)
SECONDS = 20.0
"""For each read, repeats included: a diagnosis that comes late is none."""
LOG_LINES = 5


@dataclass(frozen=True)
class Evidence:
    """The namespace's objects by what they are; ``unread`` says what could not be read and why."""

    lists: Mapping[Resource, list[Json]]
    unread: tuple[Finding, ...] = ()

    def of(self, resource: Resource) -> list[Json]:
        return self.lists.get(resource) or []

    def knows(self, *resources: Resource) -> bool:
        return all(resource in self.lists for resource in resources)

    def object(self, workload: Workload) -> Json | None:
        resource = paths.OF_KIND[workload.ref.kind]
        return next((one for one in self.of(resource) if read.name_of(one) == workload.ref.name), None)

    def pods(self, workload: Workload) -> list[Json]:
        return sorted((pod for pod in self.of(Resource.PODS) if read.belongs(pod, workload)), key=read.name_of)

    def claims(self, workload: Workload) -> list[Json]:
        found = (claim for claim in self.of(Resource.CLAIMS) if workload.owns_claim(read.name_of(claim)))
        return sorted(found, key=read.name_of)

    def state(self, workload: Workload) -> WorkloadState:
        return read.state(self.object(workload), workload.ref.kind, self.pods(workload))

    def warning(self, kind: str, found: Json, *reasons: str) -> Json | None:
        """The newest Warning about this very object, of one of these reasons if any are given."""
        return _newest(
            event
            for event in self._warnings(kind)
            if _is_about(event, found) and (not reasons or event.get("reason") in reasons)
        )

    def event(self, kind: str, found: Json) -> Json | None:
        """The newest event about this very object: why a claim waits is no Warning."""
        return _newest(
            event
            for event in self.of(Resource.EVENTS)
            if _involved(event).get("kind") == kind and _is_about(event, found)
        )

    def warning_below(self, workload: Workload) -> Json | None:
        """The newest Warning about a Deployment's ReplicaSets: that is where a quota's refusal is told."""
        prefix = f"{workload.ref.name}-"
        return _newest(
            event for event in self._warnings("ReplicaSet") if str(_involved(event).get("name", "")).startswith(prefix)
        )

    def _warnings(self, kind: str) -> Iterator[Json]:
        for event in self.of(Resource.EVENTS):
            if event.get("type") == "Warning" and _involved(event).get("kind") == kind:
                yield event


def _involved(event: Json) -> Json:
    return event.get("involvedObject") or {}


def _is_about(event: Json, found: Json) -> bool:
    """By uid where the event has one: a StatefulSet's pods have the names of their predecessors."""
    involved = _involved(event)
    return involved.get("name") == read.name_of(found) and involved.get("uid") in (None, "", read.uid_of(found))


def _newest(events: Iterable[Json]) -> Json | None:
    return max(events, key=_moment, default=None)


def _moment(event: Json) -> str:
    """RFC 3339 in UTC sorts as text; newer APIs fill other fields (events.k8s.io/v1 and its series)."""
    series = event.get("series") or {}
    created = read.metadata(event).get("creationTimestamp")
    times = (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"), created)
    return max(str(time or "") for time in times)


async def gather(door: Door, namespace: str) -> Evidence:
    """Read it all at the same time; never raises for what cannot be read."""
    answers = await asyncio.gather(*(_listed(door, namespace, resource) for resource in READ))
    found = dict(zip(READ, answers, strict=True))
    return Evidence(
        lists={resource: answer for resource, answer in found.items() if isinstance(answer, list)},
        unread=tuple(answer for answer in answers if isinstance(answer, Finding)),
    )


async def _listed(door: Door, namespace: str, resource: Resource) -> list[Json] | Finding:
    try:
        async with asyncio.timeout(SECONDS):
            answer = await door.get(paths.all_of(resource, namespace))
    except TimeoutError:
        return _unreadable(resource.plural, f"no answer within {SECONDS:g} s")
    except ClusterError as error:
        return _unreadable(resource.plural, str(error))
    return answer.get("items") or []


async def last_lines(door: Door, namespace: str, pod: str, container: str, *, previous: bool) -> tuple[str, ...]:
    """The container's last lines, masked and short, or one line that says why there are none.

    ``previous``: those of the run before, which a container that waits to be restarted has; where there was none,
    the present one's.
    """
    params = {"container": container, "tailLines": str(LOG_LINES)}
    try:
        async with asyncio.timeout(SECONDS):
            if previous:
                return await _previous_lines(door, paths.log(namespace, pod), params)
            return _shown(await door.get_text(paths.log(namespace, pod), params))
    except TimeoutError:
        return (f"(the log cannot be read: no answer within {SECONDS:g} s)",)
    except ClusterError as error:
        return (f"(the log cannot be read: {error})",)


async def _previous_lines(door: Door, path: str, params: dict[str, str]) -> tuple[str, ...]:
    try:
        return _shown(await door.get_text(path, params | {"previous": "true"}))
    except ClusterError:
        return _shown(await door.get_text(path, params))


def _shown(text: str) -> tuple[str, ...]:
    return tuple(shown(line) for line in text.splitlines()[-LOG_LINES:])


def _unreadable(what: str, why: str) -> Finding:
    return Finding(what, "cannot be read", why)
