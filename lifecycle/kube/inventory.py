"""What belongs to a cluster beside its workloads: its Services, what its pods take their settings from, its volumes."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from lifecycle.errors import Gone
from lifecycle.kube import paths, read, rights
from lifecycle.kube.answers import Json
from lifecycle.kube.door import Door
from lifecycle.kube.parallel import together
from lifecycle.kube.parts import SERVICE_ACCOUNT, parts
from lifecycle.kube.paths import PARTS, WORKLOADS, Resource
from lifecycle.kube.picture import listed, listed_if_served
from lifecycle.kube.read import Lists
from lifecycle.kube.snapshots import snapshot_class
from lifecycle.kube.volumes import volume
from lifecycle.model import Kind, Ref
from lifecycle.observed import Discovery, Inventory, Part
from lifecycle.snapshots import GROUP_CLASS, Grouping
from lifecycle.volumes import SnapshotClass, Volume

OTHERS = (Resource.DAEMON_SETS, Resource.JOBS, Resource.CRON_JOBS)
"""What may use the cluster's Secrets and ConfigMaps and is never a part of it."""

READ = (*WORKLOADS.values(), *OTHERS, Resource.PODS, *PARTS.values())

SECRET_KEYS = frozenset({"secret", "secretRef", "secretKeyRef", "nodePublishSecretRef"})
CONFIG_MAP_KEYS = frozenset({"configMap", "configMapRef", "configMapKeyRef"})
"""Fields of a pod's specification that hold a reference: volumes, projected sources, env and envFrom."""
PULL_SECRETS = "imagePullSecrets"


async def inventory(door: Door, namespace: str, discovery: Discovery) -> Inventory:
    """Read once; of Secrets and ConfigMaps only their metadata."""
    behind = sorted({claim.volume for claim in discovery.observed.claims if claim.volume})
    volumes = await together(_volume(door, namespace, name) for name in behind)
    return Inventory(
        volumes=tuple(one for one in volumes if one is not None),
        parts=await parts_of(door, namespace, discovery),
        snapshot_classes=await _snapshot_classes(door, namespace),
        may_execute=not await rights.missing(door, namespace, rights.CHECKING),
    )


async def parts_of(door: Door, namespace: str, discovery: Discovery) -> tuple[Part, ...]:
    """Without the volumes."""
    found = await together(listed_if_served(door, namespace, resource, OTHERS) for resource in READ)
    lists = dict(zip(READ, found, strict=True))
    return parts(belonging(discovery, lists), lists)


async def _snapshot_classes(door: Door, namespace: str) -> tuple[SnapshotClass, ...] | None:
    """None where the cluster does not serve them."""
    try:
        return tuple(map(snapshot_class, await listed(door, namespace, Resource.SNAPSHOT_CLASSES)))
    except Gone:
        return None


async def grouping(door: Door, namespace: str) -> Grouping:
    """Whether volumes can be cut as a group: as far as the rights go, and as far as the API is served."""
    if missing := await rights.missing(door, namespace, rights.GROUPING):
        named = ", ".join(map(str, missing))
        return Grouping(why_not=f"deploy/rbac/group.yaml is not granted: no right to {named}")
    try:
        found = await listed(door, namespace, Resource.GROUP_CLASSES)
    except Gone:
        return Grouping(why_not="this Kubernetes knows no volume groups (groupsnapshot.storage.k8s.io/v1)")
    return Grouping(tuple(snapshot_class(one, GROUP_CLASS) for one in found))


async def _volume(door: Door, namespace: str, name: str) -> Volume | None:
    try:
        return volume(await door.get(paths.of(Ref(Kind.VOLUME, name), namespace)), namespace)
    except Gone:
        return None


def belonging(discovery: Discovery, lists: Lists) -> set[Ref]:
    """What the cluster's workloads name or are named by, and nobody else: nothing of others ever goes with it."""
    ours, others = _users(discovery, lists)
    theirs = {ref for one in others for ref in (*references(read.spec_of(one)), *pull_secrets(read.spec_of(one)))}
    configured = {ref for one in ours for ref in references(read.template_of(one))}
    pulled = {ref for one in ours for ref in pull_secrets(read.template_of(one))}
    services = {Ref(Kind.SERVICE, read.name_of(one)) for one in lists[Resource.SERVICES] if _serves(one, ours, others)}
    return (services | configured) - theirs - pulled - _managed(lists)


def _users(discovery: Discovery, lists: Lists) -> tuple[list[Json], list[Json]]:
    """The cluster's workloads, and whatever else runs pods or is one."""
    workloads = [(Ref(kind, read.name_of(one)), one) for kind, resource in WORKLOADS.items() for one in lists[resource]]
    ours = [one for ref, one in workloads if _is_ours(discovery, ref, one)]
    others = [one for ref, one in workloads if not _is_ours(discovery, ref, one)]
    others += [one for resource in OTHERS for one in lists[resource]]
    others += [pod for pod in lists[Resource.PODS] if _is_others(discovery, pod)]
    return ours, others


def _is_ours(discovery: Discovery, ref: Ref, found: Json) -> bool:
    return any(one.ref == ref and one.uid == read.uid_of(found) for one in discovery.workloads)


def _is_others(discovery: Discovery, pod: Json) -> bool:
    is_ours = any(read.belongs(pod, workload) for workload in discovery.workloads)
    return not is_ours and not read.is_finished(pod)


def references(node: Any) -> Iterator[Ref]:
    """The Secrets and ConfigMaps that a pod's specification names, wherever in it, but for its imagePullSecrets."""
    if isinstance(node, list):
        for item in node:
            yield from references(item)
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from _reference(key, value)
            yield from references(value)


def _reference(key: str, value: Any) -> Iterator[Ref]:
    if key == "secretName" and isinstance(value, str):
        yield Ref(Kind.SECRET, value)
    name = value.get("name") if isinstance(value, Mapping) else None
    if isinstance(name, str) and key in SECRET_KEYS:
        yield Ref(Kind.SECRET, name)
    if isinstance(name, str) and key in CONFIG_MAP_KEYS:
        yield Ref(Kind.CONFIG_MAP, name)


def pull_secrets(node: Any) -> Iterator[Ref]:
    if isinstance(node, list):
        for item in node:
            yield from pull_secrets(item)
    if isinstance(node, Mapping):
        for key, value in node.items():
            if key == PULL_SECRETS:
                yield from (Ref(Kind.SECRET, str(one.get("name"))) for one in value or [])
            else:
                yield from pull_secrets(value)


def _serves(service: Json, ours: Iterable[Json], others: Iterable[Json]) -> bool:
    """Whether it is for pods of the cluster's workloads and for nobody else's."""
    if any(_names(one, service) or _selects(service, one) for one in others):
        return False
    return any(_names(one, service) or _selects(service, one) for one in ours)


def _names(workload: Json, service: Json) -> bool:
    return bool(read.spec_of(workload).get("serviceName") == read.name_of(service))


def _selects(service: Json, workload: Json) -> bool:
    """By the labels of a workload's pods, or of a pod; a service without a selector selects nothing."""
    selector = read.spec_of(service).get("selector") or {}
    labels = _pod_labels(workload)
    return bool(selector) and all(labels.get(key) == value for key, value in selector.items())


def _pod_labels(found: Json) -> Mapping[str, str]:
    spec = read.spec_of(found)
    template = (spec.get("jobTemplate") or {}).get("spec", spec).get("template")
    return read.labels_of(found if template is None else template)


def _managed(lists: Lists) -> set[Ref]:
    """What a controller makes and would make again: by its owner, or as a token of a service account."""
    return {
        Ref(kind, read.name_of(one))
        for kind, resource in PARTS.items()
        for one in lists[resource]
        if any(owner.get("controller") for owner in read.metadata(one).get("ownerReferences") or [])
        or SERVICE_ACCOUNT in read.annotations_of(one)
        or read.name_of(one) == "kube-root-ca.crt"
    }
