"""Kubernetes' JSON objects as values. What the API server leaves out has Kubernetes' default."""

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from lifecycle.kube.answers import Json
from lifecycle.kube.paths import OF_KIND, Resource
from lifecycle.model import Component, Kind, Ref
from lifecycle.observed import Observed
from lifecycle.quiescing import parsed
from lifecycle.topology import Topology
from lifecycle.volumes import Claim
from lifecycle.workloads import Container, Exit, Owner, Pod, Probe, Workload, WorkloadState

REPLICAS = "tml-bot/replicas"
"""Annotation of a workload: the last count above zero, written when the bot takes it to zero."""
EPOCH = "tml-bot/epoch"
"""Annotation of a workload or a claim: the highest epoch of an executor that may write to it."""
OPERATION = "tml-bot/operation"
"""Annotation: the operation that wrote to the object last."""
MADE_BY = "tml-bot/made-by"
"""Annotation of what was made from a capture: the operation that took it."""
KEPT_BY = "tml-bot/kept-by"
"""Annotation of a volume: the operation that set its reclaim policy to Retain."""
POLICY_BEFORE = "tml-bot/policy-before"
"""Annotation of such a volume: the reclaim policy that it had."""
FLUSHED = "tml-bot/flushed"
"""Annotation of a StatefulSet of nosql: the operation that tried last to flush its pods, and what came of it."""
IS_FLUSHED, NOT_FLUSHED = "flushed", "not flushed: "
"""What came of it; after the latter it says why."""
GROUPED_BY = "tml-bot/group"
"""Label of a claim: the operation that last cut it in a volume group, by which that group found it."""
QUIESCING = "tml-bot/quiescing"
"""Annotation of a workload: how far the commands are that are run in a pod of it around a hot cut."""
RESTARTED_BY = "tml-bot/restarted-by"
"""Annotation of a pod template: the operation whose restart it bears."""

COMPONENTS = {
    "nosql": Component.NOSQL,
    "configmanager": Component.CM,
    "logservice": Component.LOG,
    "sql": Component.SQL,
    "cache": Component.CACHE,
    "trafficmanager": Component.TM,
    "reportingservice": Component.REPORTING,
}
"""By TMGC_TYPE (domain, section 1)."""

ACCESS_MODES = {
    "ReadWriteOnce": "RWO",
    "ReadOnlyMany": "ROX",
    "ReadWriteMany": "RWX",
    "ReadWriteOncePod": "RWOP",
}
"""As `kubectl get pvc` shows them (kubectl, storage.GetAccessModesAsString)."""

PROVISIONERS = ("volume.kubernetes.io/storage-provisioner", "volume.beta.kubernetes.io/storage-provisioner")

Lists = Mapping[Resource, Iterable[Json]]
"""The objects of a namespace by what they are."""


def metadata(found: Json) -> Json:
    return found.get("metadata") or {}


def name_of(found: Json) -> str:
    return str(metadata(found).get("name", ""))


def uid_of(found: Json) -> str:
    return str(metadata(found).get("uid", ""))


def labels_of(found: Json) -> Mapping[str, str]:
    return metadata(found).get("labels") or {}


def annotations_of(found: Json) -> Mapping[str, str]:
    return metadata(found).get("annotations") or {}


def is_deleting(found: Json) -> bool:
    return bool(metadata(found).get("deletionTimestamp"))


def spec_of(found: Json) -> Json:
    return found.get("spec") or {}


def status_of(found: Json) -> Json:
    return found.get("status") or {}


def template_of(found: Json) -> Json:
    return spec_of(found).get("template") or {}


def containers_of(workload: Json) -> list[Json]:
    return spec_of(template_of(workload)).get("containers") or []


def replicas_of(workload: Json) -> int:
    return _count(spec_of(workload).get("replicas"), default=1)


def epoch_of(stamped: Json) -> int:
    """0 where there is no stamp or none that can be read."""
    return _number(annotations_of(stamped).get(EPOCH)) or 0


def made_by(found: Json) -> str:
    return annotations_of(found).get(MADE_BY, "")


def written_by(found: Json) -> str:
    return annotations_of(found).get(OPERATION, "")


def flushed(found: Json) -> tuple[str, str]:
    """By which operation, and why not every pod of it was; see `patch.flushed`."""
    by, _, how = annotations_of(found).get(FLUSHED, "").partition(" ")
    return by, how.removeprefix(NOT_FLUSHED) if by and how != IS_FLUSHED else ""


def owners_of(found: Json) -> tuple[str, ...]:
    """Their uids."""
    return tuple(str(owner.get("uid", "")) for owner in metadata(found).get("ownerReferences") or [])


def environment(workload: Json) -> dict[str, str]:
    """The literal variables of its containers; of a name given twice in one container the last counts, as it runs."""
    found: dict[str, str] = {}
    for container in reversed(containers_of(workload)):
        found |= {str(one["name"]): str(one["value"]) for one in container.get("env") or [] if one.get("value")}
    return found


def is_tml(workload: Json) -> bool:
    """Whether any container says what it is, even if from where cannot be read here (`valueFrom`)."""
    return any(one.get("name") == "TMGC_TYPE" for container in containers_of(workload) for one in _env(container))


def _env(container: Json) -> list[Json]:
    return container.get("env") or []


def workload(kind: Kind, found: Json, owners: tuple[Owner, ...] = ()) -> Workload | None:
    """None where TMGC_TYPE is unknown, or the selector is more than labels: those pods could not be told."""
    variables = environment(found)
    component = COMPONENTS.get(variables.get("TMGC_TYPE", ""))
    selector = spec_of(found).get("selector") or {}
    if component is None or selector.get("matchExpressions") or not selector.get("matchLabels"):
        return None
    spec = spec_of(found)
    return Workload(
        ref=Ref(kind, name_of(found)),
        component=component,
        zone=_zone(name_of(found), variables),
        uid=uid_of(found),
        selector=dict(selector["matchLabels"]),
        replicas=replicas_of(found),
        grace=_count(spec_of(template_of(found)).get("terminationGracePeriodSeconds"), default=30),
        probe=_longest_probe(found),
        ordered=kind is Kind.STATEFUL_SET and spec.get("podManagementPolicy", "OrderedReady") == "OrderedReady",
        claims=tuple(name_of(template) for template in spec.get("volumeClaimTemplates") or []),
        owners=owners,
        deletes_claims_when_scaled=_retention(spec, "whenScaled") == "Delete",
        deletes_claims_when_deleted=takes_claims_along(found),
        rolls_out=(spec.get("updateStrategy") or {}).get("type") != "OnDelete",
    )


def takes_claims_along(stateful_set: Json) -> bool:
    """Whether its claims go when it is deleted."""
    return _retention(spec_of(stateful_set), "whenDeleted") == "Delete"


def _retention(stateful_set: Json, when: str) -> str:
    return str((stateful_set.get("persistentVolumeClaimRetentionPolicy") or {}).get(when, "Retain"))


def _zone(name: str, variables: Mapping[str, str]) -> int:
    """The vendor's names end in the zone's index; renamed workloads still carry the serial."""
    trailing = re.search(r"-(\d+)$", name)
    return int(trailing[1]) if trailing else _number(variables.get("TMG_ZONE_SERIAL")) or 0


def _longest_probe(found: Json) -> Probe | None:
    probes = [_probe(one["readinessProbe"]) for one in containers_of(found) if one.get("readinessProbe")]
    return max(probes, key=lambda probe: probe.longest, default=None)


def _probe(found: Json) -> Probe:
    """A zero means the default, as the API server reads it."""
    return Probe(
        initial_delay=found.get("initialDelaySeconds") or 0,
        period=found.get("periodSeconds") or 10,
        failure_threshold=found.get("failureThreshold") or 3,
    )


def declared_counts(found: Json, zone: int) -> dict[tuple[Component, int], int]:
    """What cm expects in its zone: TMGC_*_COUNT; there is none for reporting."""
    variables = environment(found)
    counts = {one: _number(variables.get(f"TMGC_{one.upper()}_COUNT")) for one in Component}
    return {(component, zone): count for component, count in counts.items() if count is not None}


def state(found: Json | None, kind: Kind, pods: Iterable[Json]) -> WorkloadState:
    """A workload as it is; None: there is no such object, but pods of it may be left."""
    seen = tuple(pod(one) for one in pods if not _is_remnant(one, kind))
    if found is None:
        return WorkloadState(uid=None, pods=seen)
    counts = status_of(found)
    remembered = _number(annotations_of(found).get(REPLICAS))
    template = metadata(template_of(found)).get("annotations") or {}
    flushed_by, flush_trouble = flushed(found)
    return WorkloadState(
        uid=uid_of(found),
        replicas=replicas_of(found),
        generation=_count(metadata(found).get("generation")),
        observed_generation=_count(counts.get("observedGeneration")),
        status_replicas=_count(counts.get("replicas")),
        ready=_count(counts.get("readyReplicas")),
        updated=_count(counts.get("updatedReplicas")),
        available=_count(counts.get("availableReplicas")),
        revision_settled=kind is Kind.DEPLOYMENT or _is_settled(found),
        remembered=remembered or None,
        epoch=epoch_of(found),
        restarted_by=template.get(RESTARTED_BY),
        made_by=made_by(found),
        written_by=written_by(found),
        flushed_by=flushed_by,
        flush_trouble=flush_trouble,
        quiescing=parsed(annotations_of(found).get(QUIESCING, "")),
        pods=seen,
    )


def _is_remnant(found: Json, kind: Kind) -> bool:
    """An evicted or finished pod of a Deployment: no ReplicaSet counts it or removes it, so it may stay for ever."""
    return kind is Kind.DEPLOYMENT and is_finished(found) and not is_deleting(found)


def _is_settled(stateful_set: Json) -> bool:
    """kubectl's rollout rules (StatefulSetStatusViewer): OnDelete has none, a partition asks for fewer new pods."""
    strategy = spec_of(stateful_set).get("updateStrategy") or {}
    status = status_of(stateful_set)
    partition = _count((strategy.get("rollingUpdate") or {}).get("partition"))
    if strategy.get("type") == "OnDelete":
        return True
    if partition:
        return _count(status.get("updatedReplicas")) >= replicas_of(stateful_set) - partition
    return bool(status.get("updateRevision") == status.get("currentRevision"))


def pod(found: Json) -> Pod:
    status = status_of(found)
    return Pod(
        name=name_of(found),
        uid=uid_of(found),
        phase=str(status.get("phase", "Unknown")),
        ready=has_condition(found, "Ready"),
        deleting=is_deleting(found),
        containers=tuple(_container(one) for one in status.get("containerStatuses") or []),
        made_by=made_by(found),
        reason=str(status.get("reason") or ""),
    )


def _container(status: Json) -> Container:
    current = status.get("state") or {}
    return Container(
        name=str(status.get("name", "")),
        ready=bool(status.get("ready")),
        restarts=_count(status.get("restartCount")),
        waiting=(current.get("waiting") or {}).get("reason"),
        exit_code=(current.get("terminated") or {}).get("exitCode"),
    )


def condition(found: Json, type_: str) -> Json:
    """The condition of this type, or an empty one."""
    return next((one for one in status_of(found).get("conditions") or [] if one.get("type") == type_), {})


def has_condition(found: Json, type_: str) -> bool:
    return bool(condition(found, type_).get("status") == "True")


def exits(found: Json) -> Iterator[Exit]:
    """How the containers of a pod that is going or gone ended, as far as its last state tells."""
    ended = pod(found)
    for container in ended.containers:
        if container.exit_code is not None:
            yield Exit(ended.name, ended.uid, container.name, container.exit_code)


def belongs(found: Json, workload: Workload) -> bool:
    """Whether a pod matches the workload's selector."""
    labels = labels_of(found)
    return all(labels.get(key) == value for key, value in workload.selector.items())


def mounts(pods: Iterable[Json]) -> dict[str, tuple[str, ...]]:
    """By claim the names of the pods that mount it; one that has finished does so no more."""
    found: dict[str, tuple[str, ...]] = {}
    for one in sorted(pods, key=name_of):
        if not is_finished(one):
            for name in claims_mounted_by(one):
                found[name] = (*found.get(name, ()), name_of(one))
    return found


def claims_mounted_by(pod: Json) -> set[str]:
    sources = (volume.get("persistentVolumeClaim") or {} for volume in spec_of(pod).get("volumes") or [])
    return {str(source["claimName"]) for source in sources if source.get("claimName")}


def is_finished(pod: Json) -> bool:
    return status_of(pod).get("phase") in ("Failed", "Succeeded")


def claim(found: Json, mounted_by: tuple[str, ...] = ()) -> Claim:
    spec, status = spec_of(found), status_of(found)
    created = metadata(found).get("creationTimestamp")
    notes = annotations_of(found)
    return Claim(
        name=name_of(found),
        uid=uid_of(found),
        status=Claim.TERMINATING if is_deleting(found) else str(status.get("phase", "Pending")),
        volume=spec.get("volumeName") or "",
        capacity=(status.get("capacity") or {}).get("storage") or "",
        access_modes=tuple(ACCESS_MODES.get(mode, mode) for mode in status.get("accessModes") or []),
        storage_class=spec.get("storageClassName") or notes.get("volume.beta.kubernetes.io/storage-class") or "",
        created_at=datetime.fromisoformat(created) if created else None,
        driver=next((notes[key] for key in PROVISIONERS if notes.get(key)), ""),
        epoch=epoch_of(found),
        made_by=made_by(found),
        mounted_by=mounted_by,
        goes_with=owners_of(found),
        grouped_by=labels_of(found).get(GROUPED_BY, ""),
    )


def observed(topology: Topology, lists: Lists, at: datetime, exits: tuple[Exit, ...] = ()) -> Observed:
    """The picture of these workloads, out of everything the namespace holds."""
    return Observed(
        at=at,
        workloads={one.ref: _state_within(one, lists) for one in topology},
        claims=tuple(sorted(_claims_of(topology, lists), key=lambda claim: claim.name)),
        exits=exits,
    )


def _state_within(one: Workload, lists: Lists) -> WorkloadState:
    pods = sorted((found for found in lists[Resource.PODS] if belongs(found, one)), key=name_of)
    return state(object_of(one.ref, lists), one.ref.kind, pods)


def object_of(ref: Ref, lists: Lists) -> Json | None:
    return next((found for found in lists[OF_KIND[ref.kind]] if name_of(found) == ref.name), None)


def _claims_of(topology: Topology, lists: Lists) -> Iterator[Claim]:
    mounted = mounts(lists[Resource.PODS])
    for found in lists[Resource.CLAIMS]:
        if any(one.owns_claim(name_of(found)) for one in topology):
            yield claim(found, mounted.get(name_of(found), ()))


def _count(value: Any, default: int = 0) -> int:
    return default if value is None else int(value)


def _number(text: str | None) -> int | None:
    """An annotation's or a variable's count; None for anything else that people may have written there."""
    return int(text) if text is not None and text.isascii() and text.isdecimal() else None
