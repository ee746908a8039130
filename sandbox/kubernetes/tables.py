"""What `kubectl get` prints: objects as rows, with kubectl's usual columns."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sandbox.kubernetes.clock import parsed
from sandbox.kubernetes.custom_columns import DATES, PRINTED
from sandbox.kubernetes.forms import TABLE, Form
from sandbox.kubernetes.resources import (
    AUTOSCALERS,
    CLAIMS,
    CONFIGMAPS,
    DEPLOYMENTS,
    EVENTS,
    LEASES,
    NAMESPACES,
    NODES,
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

Cell = str | int | None
Read = Callable[[Object, datetime], Cell]
_UNSET = "<unset>"
_NONE = "<none>"
_MODES = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}


@dataclass(frozen=True)
class Column:
    name: str
    read: Read
    wide: bool = False
    """Shown only with `-o wide`."""

    @property
    def definition(self) -> Object:
        form = "name" if self.name == "Name" else ""
        shown = {"name": self.name, "type": "string", "format": form, "description": ""}
        return {**shown, "priority": 1 if self.wide else 0}


def table(form: Form, resource: Resource, rows: Iterable[Object], now: datetime, include: str | None = None) -> Object:
    """A Table. `include`: what each row bears of its object: Metadata (the default), Object or None."""
    columns = _COLUMNS.get(resource, _PLAIN)
    return {
        "kind": TABLE,
        "apiVersion": form.api_version,
        "metadata": {},
        "columnDefinitions": [column.definition for column in columns],
        "rows": [_row(form, columns, row, now, include) for row in rows],
    }


def _row(form: Form, columns: Iterable[Column], obj: Object, now: datetime, include: str | None) -> Object:
    row: Object = {"cells": [column.read(obj, now) for column in columns]}
    if include == "Object":
        row["object"] = obj
    elif include != "None":
        row["object"] = form.metadata_of(obj)
    return row


def duration(seconds: float) -> str:
    """As kubectl shows an age: `45s`, `5m30s`, `47h`, `3d4h`, `2y10d`."""
    whole = int(seconds)
    if whole < 0:
        return "<invalid>" if whole < -1 else "0s"
    minutes, hours, days, years = whole // 60, whole // 3600, whole // 86400, whole // (86400 * 365)
    if whole < 120:
        return f"{whole}s"
    if minutes < 10:
        return _two(minutes, "m", whole % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return _two(days, "d", hours % 24, "h")
    if years < 2:
        return f"{days}d"
    return _two(years, "y", days % 365, "d") if years < 8 else f"{years}y"


def _two(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large}{large_unit}{small}{small_unit}" if small else f"{large}{large_unit}"


def _since(stamp: str | None, now: datetime) -> str:
    return duration((now - parsed(stamp)).total_seconds()) if stamp else "<unknown>"


def _age(obj: Object, now: datetime) -> Cell:
    return _since(obj["metadata"].get("creationTimestamp"), now)


def _at(path: str, default: Cell = "") -> Read:
    """Reads the field at a dotted path."""
    parts = path.split(".")

    def read(obj: Object, _: datetime) -> Cell:
        value: Any = obj
        for part in parts:
            value = value.get(part) if isinstance(value, dict) else None
        if value is None:
            return default
        return value if isinstance(value, int) and not isinstance(value, bool) else str(value)

    return read


def _printed(name: str, path: str) -> Column:
    """A column of a custom resource: the value as it is, empty where there is none."""
    parts = path.split(".")

    def read(obj: Object, now: datetime) -> Cell:
        value: Any = obj
        for part in parts:
            value = value.get(part) if isinstance(value, dict) else None
        shown: Cell = _since(value, now) if value and name in DATES else value
        return shown

    return Column(name, read)


def _of(read: Callable[[Object], Cell]) -> Read:
    return lambda obj, _: read(obj)


def _fraction(ready: str, wanted: str) -> Read:
    first, second = _at(ready, 0), _at(wanted, 0)
    return lambda obj, now: f"{first(obj, now)}/{second(obj, now)}"


def _phase(obj: Object) -> Cell:
    if obj["metadata"].get("deletionTimestamp"):
        return "Terminating"
    return str((obj.get("status") or {}).get("phase", ""))


def _modes(obj: Object) -> Cell:
    status = obj.get("status") or {}
    modes = status.get("accessModes") or obj["spec"].get("accessModes") or []
    return ",".join(_MODES.get(mode, mode) for mode in modes)


def _claim_modes(obj: Object) -> Cell:
    return _modes(obj) if obj["spec"].get("volumeName") else ""


def _claim_capacity(obj: Object) -> Cell:
    return str(((obj.get("status") or {}).get("capacity") or {}).get("storage", ""))


def _claim_of(obj: Object) -> Cell:
    reference = obj["spec"].get("claimRef") or {}
    return f"{reference['namespace']}/{reference['name']}" if reference.get("name") else ""


def _pod_spec(obj: Object) -> Object:
    spec: Object = obj["spec"]["template"].get("spec") or {}
    return spec


def _joined(key: str) -> Read:
    return lambda obj, _: ",".join(str(one.get(key, "")) for one in _pod_spec(obj).get("containers", []))


def _selector(obj: Object) -> Cell:
    selector = obj["spec"].get("selector") or {}
    labels = selector.get("matchLabels", selector) if isinstance(selector, dict) else {}
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items())) or _NONE


def _statuses(pod: Object) -> list[Object]:
    return (pod.get("status") or {}).get("containerStatuses") or []


def _pod_ready(pod: Object) -> Cell:
    ready = sum(1 for one in _statuses(pod) if one.get("ready"))
    return f"{ready}/{len(pod['spec'].get('containers', []))}"


def _pod_restarts(pod: Object, now: datetime) -> Cell:
    count = sum(one.get("restartCount", 0) for one in _statuses(pod))
    ends = [(one.get("lastState") or {}).get("terminated", {}).get("finishedAt") for one in _statuses(pod)]
    last = max((end for end in ends if end), default=None)
    return f"{count} ({_since(last, now)} ago)" if count and last else str(count)


def _pod_status(pod: Object) -> Cell:
    """The reason that says most, as kubectl chooses it."""
    status = pod.get("status") or {}
    shown = status.get("reason") or status.get("phase", "")
    for one in reversed(_statuses(pod)):
        shown = _state_reason(one.get("state") or {}) or shown
    for one in status.get("initContainerStatuses") or []:
        waiting = ((one.get("state") or {}).get("waiting") or {}).get("reason")
        if waiting and waiting != "PodInitializing":
            shown = f"Init:{waiting}"
            break
    return "Terminating" if pod["metadata"].get("deletionTimestamp") else str(shown)


def _state_reason(state: Object) -> str:
    waiting, terminated = state.get("waiting") or {}, state.get("terminated")
    if waiting.get("reason"):
        return str(waiting["reason"])
    if terminated is None:
        return ""
    return str(terminated.get("reason") or f"ExitCode:{terminated.get('exitCode', 0)}")


def _external(service: Object) -> Cell:
    ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
    given = [str(one.get("ip") or one.get("hostname")) for one in ingress] + service["spec"].get("externalIPs", [])
    if given:
        return ",".join(given)
    if service["spec"].get("type") == "LoadBalancer":
        return "<pending>"
    return str(service["spec"].get("externalName") or _NONE)


def _ports(service: Object) -> Cell:
    shown = []
    for port in service["spec"].get("ports") or []:
        node = f":{port['nodePort']}" if port.get("nodePort") else ""
        shown.append(f"{port['port']}{node}/{port.get('protocol', 'TCP')}")
    return ",".join(shown) or _NONE


def _class_name(obj: Object) -> Cell:
    annotations = obj["metadata"].get("annotations") or {}
    default = annotations.get("storageclass.kubernetes.io/is-default-class") == "true"
    return f"{obj['metadata']['name']} (default)" if default else str(obj["metadata"]["name"])


def _expansion(obj: Object) -> Cell:
    return "true" if obj.get("allowVolumeExpansion") else "false"


def _keys(obj: Object) -> Cell:
    return len(obj.get("data") or {}) + len(obj.get("binaryData") or {})


def _seen(first: str, *others: str) -> Read:
    return lambda event, now: _since(next((event[key] for key in (first, *others) if event.get(key)), None), now)


def _involved(event: Object) -> Cell:
    involved = event.get("involvedObject") or {}
    return f"{str(involved.get('kind', '')).lower()}/{involved.get('name', '')}"


def _node_status(node: Object) -> Cell:
    conditions = (node.get("status") or {}).get("conditions") or []
    ready = any(one.get("type") == "Ready" and one.get("status") == "True" for one in conditions)
    cordoned = ",SchedulingDisabled" if node.get("spec", {}).get("unschedulable") else ""
    return ("Ready" if ready else "NotReady") + cordoned


def _reference(scaler: Object) -> Cell:
    target = scaler["spec"].get("scaleTargetRef") or {}
    return f"{target.get('kind', '')}/{target.get('name', '')}"


_NAME = Column("Name", _at("metadata.name"))
_AGE = Column("Age", _age)
_PLAIN = (_NAME, _AGE)
_IMAGES = (Column("Containers", _joined("name"), wide=True), Column("Images", _joined("image"), wide=True))
_SELECTOR = Column("Selector", _of(_selector), wide=True)
_MODE = Column("VolumeMode", _at("spec.volumeMode"), wide=True)

_COLUMNS: dict[Resource, tuple[Column, ...]] = {
    PODS: (
        _NAME,
        Column("Ready", _of(_pod_ready)),
        Column("Status", _of(_pod_status)),
        Column("Restarts", _pod_restarts),
        _AGE,
        Column("IP", _at("status.podIP", _NONE), wide=True),
        Column("Node", _at("spec.nodeName", _NONE), wide=True),
        Column("Nominated Node", _at("status.nominatedNodeName", _NONE), wide=True),
        Column("Readiness Gates", _of(lambda _: _NONE), wide=True),
    ),
    STATEFULSETS: (_NAME, Column("Ready", _fraction("status.readyReplicas", "spec.replicas")), _AGE, *_IMAGES),
    DEPLOYMENTS: (
        _NAME,
        Column("Ready", _fraction("status.readyReplicas", "spec.replicas")),
        Column("Up-to-date", _at("status.updatedReplicas", 0)),
        Column("Available", _at("status.availableReplicas", 0)),
        _AGE,
        *_IMAGES,
        _SELECTOR,
    ),
    REPLICASETS: (
        _NAME,
        Column("Desired", _at("spec.replicas", 0)),
        Column("Current", _at("status.replicas", 0)),
        Column("Ready", _at("status.readyReplicas", 0)),
        _AGE,
        *_IMAGES,
        _SELECTOR,
    ),
    SERVICES: (
        _NAME,
        Column("Type", _at("spec.type")),
        Column("Cluster-IP", _at("spec.clusterIP", _NONE)),
        Column("External-IP", _of(_external)),
        Column("Port(s)", _of(_ports)),
        _AGE,
        _SELECTOR,
    ),
    CLAIMS: (
        _NAME,
        Column("Status", _of(_phase)),
        Column("Volume", _at("spec.volumeName")),
        Column("Capacity", _of(_claim_capacity)),
        Column("Access Modes", _of(_claim_modes)),
        Column("StorageClass", _at("spec.storageClassName")),
        Column("VolumeAttributesClass", _at("spec.volumeAttributesClassName", _UNSET)),
        _AGE,
        _MODE,
    ),
    VOLUMES: (
        _NAME,
        Column("Capacity", _at("spec.capacity.storage")),
        Column("Access Modes", _of(_modes)),
        Column("Reclaim Policy", _at("spec.persistentVolumeReclaimPolicy")),
        Column("Status", _of(_phase)),
        Column("Claim", _of(_claim_of)),
        Column("StorageClass", _at("spec.storageClassName")),
        Column("VolumeAttributesClass", _at("spec.volumeAttributesClassName", _UNSET)),
        Column("Reason", _at("status.reason")),
        _AGE,
        _MODE,
    ),
    SECRETS: (_NAME, Column("Type", _at("type")), Column("Data", _of(_keys)), _AGE),
    CONFIGMAPS: (_NAME, Column("Data", _of(_keys)), _AGE),
    STORAGE_CLASSES: (
        Column("Name", _of(_class_name)),
        Column("Provisioner", _at("provisioner")),
        Column("ReclaimPolicy", _at("reclaimPolicy")),
        Column("VolumeBindingMode", _at("volumeBindingMode")),
        Column("AllowVolumeExpansion", _of(_expansion)),
        _AGE,
    ),
    LEASES: (_NAME, Column("Holder", _at("spec.holderIdentity")), _AGE),
    EVENTS: (
        Column("Last Seen", _seen("lastTimestamp", "eventTime", "firstTimestamp")),
        Column("Type", _at("type")),
        Column("Reason", _at("reason")),
        Column("Object", _of(_involved)),
        Column("Subobject", _at("involvedObject.fieldPath"), wide=True),
        Column("Source", _at("source.component"), wide=True),
        Column("Message", _at("message")),
        Column("First Seen", _seen("firstTimestamp", "eventTime"), wide=True),
        Column("Count", _at("count", 1), wide=True),
        Column("Name", _at("metadata.name"), wide=True),
    ),
    NAMESPACES: (_NAME, Column("Status", _at("status.phase")), _AGE),
    NODES: (
        _NAME,
        Column("Status", _of(_node_status)),
        Column("Roles", _of(lambda _: _NONE)),
        _AGE,
        Column("Version", _at("status.nodeInfo.kubeletVersion")),
    ),
    **{kind: (_NAME, *(_printed(*each) for each in shown), _AGE) for kind, shown in PRINTED.items()},
    AUTOSCALERS: (
        _NAME,
        Column("Reference", _of(_reference)),
        Column("MinPods", _at("spec.minReplicas", _UNSET)),
        Column("MaxPods", _at("spec.maxReplicas", 0)),
        Column("Replicas", _at("status.currentReplicas", 0)),
        _AGE,
    ),
}
