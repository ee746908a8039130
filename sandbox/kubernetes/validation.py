"""What an object must hold, and what of it can no longer change."""

import base64
import json
from collections.abc import Callable
from decimal import Decimal

from sandbox.kubernetes import custom_rules, status
from sandbox.kubernetes.names import label_causes, name_causes
from sandbox.kubernetes.resources import (
    CLAIMS,
    CONFIGMAPS,
    DEPLOYMENTS,
    PODS,
    REPLICASETS,
    SECRETS,
    SERVICES,
    STATEFULSETS,
    STORAGE_CLASSES,
    VOLUMES,
    Object,
    Resource,
)

_SCALABLE = (STATEFULSETS, DEPLOYMENTS, REPLICASETS)
_STATEFULSET_MUTABLE = (
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
)
_STATEFULSET_RULE = (
    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
    "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
)
_CLAIM_RULE = (
    "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"
)
_POD_MUTABLE = ("activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds")
_POD_RULE = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)
_LARGEST_SECRET = 1 << 20
_LARGEST_ANNOTATIONS = 256 << 10
_NAMED = ("apiGroup", "kind", "name")
_RECLAIM_POLICIES = ("Delete", "Recycle", "Retain")
_VOLUME_SOURCES = ("csi", "awsElasticBlockStore", "nfs", "hostPath", "local")
_STORAGE_CLASS_FIXED = ("parameters", "provisioner", "reclaimPolicy", "volumeBindingMode")
_UNITS = {
    "": Decimal(1), "m": Decimal("0.001"), "k": Decimal(10**3), "M": Decimal(10**6), "G": Decimal(10**9),
    "T": Decimal(10**12), "P": Decimal(10**15), "Ki": Decimal(2**10), "Mi": Decimal(2**20), "Gi": Decimal(2**30),
    "Ti": Decimal(2**40), "Pi": Decimal(2**50),
}  # fmt: skip


def quantity(text: object) -> Decimal:
    """A resource.Quantity (`10Gi`, `500m`, 3) as a number; raises ArithmeticError or KeyError on what is none."""
    written = str(text)
    number = written.rstrip("kmMGTPi")
    return Decimal(number) * _UNITS[written[len(number) :]]


def check_new(resource: Resource, obj: Object) -> None:
    metadata = obj["metadata"]
    name = str(metadata.get("name") or "")
    custom = custom_rules.causes(resource, None, obj)
    _refuse(resource, name, [*name_causes(resource, name), *_metadata(metadata), *_content(resource, obj), *custom])


def check_change(resource: Resource, old: Object, new: Object) -> None:
    causes = [*_metadata(new["metadata"]), *_finalizers(old, new), *_content(resource, new)]
    causes += custom_rules.causes(resource, old, new)
    check = _IMMUTABLE.get(resource)
    if check is not None:
        causes += check(old, new)
    _refuse(resource, str(old["metadata"]["name"]), causes)


def _refuse(resource: Resource, name: str, causes: list[Object]) -> None:
    if causes:
        raise status.invalid(resource, name, causes)


def _finalizers(old: Object, new: Object) -> list[Object]:
    if not old["metadata"].get("deletionTimestamp"):
        return []
    added = set(new["metadata"].get("finalizers") or []) - set(old["metadata"].get("finalizers") or [])
    if not added:
        return []
    listed = ", ".join(json.dumps(name) for name in sorted(added))
    why = f"no new finalizers can be added if the object is being deleted, found new finalizers []string{{{listed}}}"
    return [status.forbidden_field("metadata.finalizers", why)]


def _content(resource: Resource, obj: Object) -> list[Object]:
    if resource is PODS:
        return _containers("spec", obj.get("spec") or {})
    if resource in _SCALABLE:
        return _workload(obj.get("spec") or {})
    if resource is SECRETS:
        return _secret_data(obj.get("data") or {})
    if resource is CLAIMS:
        return _data_sources(obj.get("spec") or {})
    return _reclaim_policy(obj.get("spec") or {}) if resource is VOLUMES else []


def _data_sources(spec: Object) -> list[Object]:
    given = {key: spec[key] for key in ("dataSource", "dataSourceRef") if spec.get(key)}
    causes = [cause for key, source in given.items() for cause in _data_source(f"spec.{key}", source)]
    named = [{key: source.get(key) for key in _NAMED} for source in given.values()]
    if len(named) == 2 and named[0] != named[1]:
        causes.append(status.invalid_field("spec", "{}", "must match dataSourceRef"))
    return causes


def _data_source(field: str, source: Object) -> list[Object]:
    causes = [
        status.cause("FieldValueRequired", f"{field}.{key}", "Required value")
        for key in ("name", "kind")
        if not source.get(key)
    ]
    if not source.get("apiGroup") and source.get("kind") != CLAIMS.kind:
        why = f"must be '{CLAIMS.kind}' when referencing the default apiGroup"
        causes.append(status.invalid_field(field, json.dumps(source.get("kind") or ""), why))
    return causes


def _reclaim_policy(spec: Object) -> list[Object]:
    policy = spec.get("persistentVolumeReclaimPolicy")
    if policy in _RECLAIM_POLICIES:
        return []
    return [status.unsupported_value("spec.persistentVolumeReclaimPolicy", str(policy), _RECLAIM_POLICIES)]


def _secret_data(data: Object) -> list[Object]:
    try:
        size = sum(len(base64.b64decode(value, validate=True)) for value in data.values())
    except (ValueError, TypeError):
        raise status.bad_request('Secret in version "v1" cannot be handled as a Secret: illegal base64 data') from None
    return [status.too_long("data", _LARGEST_SECRET)] if size > _LARGEST_SECRET else []


def _metadata(metadata: Object) -> list[Object]:
    return [*label_causes(metadata), *_annotations(metadata)]


def _annotations(metadata: Object) -> list[Object]:
    annotations = metadata.get("annotations") or {}
    size = sum(len(key.encode()) + len(str(value).encode()) for key, value in annotations.items())
    return [status.too_long("metadata.annotations", _LARGEST_ANNOTATIONS)] if size > _LARGEST_ANNOTATIONS else []


def _workload(spec: Object) -> list[Object]:
    replicas = spec.get("replicas", 1)
    wanted = (spec.get("selector") or {}).get("matchLabels") or {}
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    causes = []
    if not isinstance(replicas, int) or replicas < 0:
        causes.append(status.invalid_field("spec.replicas", json.dumps(replicas), "must be greater than or equal to 0"))
    if not spec.get("selector"):
        causes.append(status.required_field("spec.selector", ""))
    elif any(labels.get(key) != value for key, value in wanted.items()):
        why = "`selector` does not match template `labels`"
        causes.append(status.invalid_field("spec.template.metadata.labels", json.dumps(labels), why))
    return causes + _containers("spec.template.spec", (spec.get("template") or {}).get("spec") or {})


def _containers(path: str, spec: Object) -> list[Object]:
    return [] if spec.get("containers") else [status.required_field(f"{path}.containers", "")]


def _differ(old: Object, new: Object, but: tuple[str, ...]) -> bool:
    return any(old.get(key) != new.get(key) for key in {*old, *new}.difference(but))


def _statefulset(old: Object, new: Object) -> list[Object]:
    if _differ(old["spec"], new["spec"], _STATEFULSET_MUTABLE):
        return [status.forbidden_field("spec", _STATEFULSET_RULE)]
    return []


def _selector(old: Object, new: Object) -> list[Object]:
    before, after = old["spec"].get("selector"), new["spec"].get("selector")
    if before == after:
        return []
    return [status.invalid_field("spec.selector", json.dumps(after), "field is immutable")]


def _claim(old: Object, new: Object) -> list[Object]:
    before, after = old["spec"], new["spec"]
    # binding sets the volume's name, and may give the default class, once
    once = tuple(key for key in ("volumeName", "storageClassName") if not before.get(key))
    bound = (old.get("status") or {}).get("phase") == "Bound"
    if _differ(before, after, (*once, "resources")):
        return [status.forbidden_field("spec", _CLAIM_RULE)]
    if before.get("resources") == after.get("resources"):
        return []
    if not bound:
        return [status.forbidden_field("spec", _CLAIM_RULE)]
    return _shrunk(before, after)


def _shrunk(before: Object, after: Object) -> list[Object]:
    field = "spec.resources.requests.storage"
    old, new = (spec.get("resources", {}).get("requests", {}).get("storage", 0) for spec in (before, after))
    try:
        shrunk = quantity(new) < quantity(old)
    except (ArithmeticError, KeyError):
        return [status.invalid_field(field, json.dumps(new), "quantities must match the regular expression")]
    return [status.forbidden_field(field, "field can not be less than status.capacity")] if shrunk else []


def _pod(old: Object, new: Object) -> list[Object]:
    before, after = old["spec"], new["spec"]
    scheduled = () if before.get("nodeName") else ("nodeName",)
    if _differ(before, after, (*_POD_MUTABLE, *scheduled, "containers", "initContainers")):
        return [status.forbidden_field("spec", _POD_RULE)]
    if any(_but_images(before.get(key)) != _but_images(after.get(key)) for key in ("containers", "initContainers")):
        return [status.forbidden_field("spec", _POD_RULE)]
    return []


def _but_images(containers: list[Object] | None) -> list[Object]:
    return [{**container, "image": ""} for container in containers or []]


def _service(old: Object, new: Object) -> list[Object]:
    before, after = old["spec"].get("clusterIP"), new["spec"].get("clusterIP")
    if before and before != after and new["spec"].get("type") != "ExternalName":
        return [status.invalid_field("spec.clusterIPs[0]", json.dumps([after or ""]), "may not change once set")]
    return []


def _storage_class(old: Object, new: Object) -> list[Object]:
    return [
        status.forbidden_field(key, f"updates to {key} are forbidden.")
        for key in _STORAGE_CLASS_FIXED
        if old.get(key) != new.get(key)
    ]


def _volume(old: Object, new: Object) -> list[Object]:
    if all(old["spec"].get(key) == new["spec"].get(key) for key in _VOLUME_SOURCES):
        return []
    why = "spec.persistentvolumesource is immutable after creation"
    return [status.forbidden_field("spec.persistentvolumesource", why)]


def _frozen_data(old: Object, new: Object) -> list[Object]:
    if not old.get("immutable"):
        return []
    why = "field is immutable when `immutable` is set"
    changed = [key for key in ("immutable", "data", "binaryData") if old.get(key) != new.get(key)]
    return [status.forbidden_field(key, why) for key in changed]


_IMMUTABLE: dict[Resource, Callable[[Object, Object], list[Object]]] = {
    STATEFULSETS: _statefulset,
    DEPLOYMENTS: _selector,
    REPLICASETS: _selector,
    CLAIMS: _claim,
    PODS: _pod,
    SERVICES: _service,
    STORAGE_CLASSES: _storage_class,
    VOLUMES: _volume,
    SECRETS: _frozen_data,
    CONFIGMAPS: _frozen_data,
}
