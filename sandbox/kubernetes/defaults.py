"""The fields the API server fills in: only those that somebody relies on."""

import base64
from collections.abc import Callable

from sandbox.kubernetes.resources import (
    AUTOSCALERS,
    CLAIMS,
    DEPLOYMENTS,
    NAMESPACES,
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

CLAIM_FINALIZER = "kubernetes.io/pvc-protection"
VOLUME_FINALIZER = "kubernetes.io/pv-protection"
_DATA_SOURCES = (("PersistentVolumeClaim", ""), ("VolumeSnapshot", "snapshot.storage.k8s.io"))
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")


def set_defaults(resource: Resource, obj: Object) -> None:
    """What holds for an object whenever it is written, new or not."""
    setter = _ALWAYS.get(resource)
    if setter is not None:
        setter(obj)


def set_first_state(resource: Resource, obj: Object) -> None:
    """What an object is born with: finalizers, first phase."""
    setter = _AT_BIRTH.get(resource)
    if setter is not None:
        setter(obj)


def _fill(target: Object, **values: object) -> None:
    for key, value in values.items():
        if target.get(key) is None:
            target[key] = value


def _spec(obj: Object) -> Object:
    spec: Object = obj.setdefault("spec", {})
    return spec


def _pod_spec(spec: Object) -> None:
    _fill(
        spec,
        restartPolicy="Always",
        dnsPolicy="ClusterFirst",
        schedulerName="default-scheduler",
        securityContext={},
        terminationGracePeriodSeconds=30,
    )
    for container in [*spec.get("containers", []), *spec.get("initContainers", [])]:
        _container(container)


def _container(container: Object) -> None:
    image = str(container.get("image", ""))
    latest = image.endswith(":latest") or ":" not in image.rpartition("/")[2]
    _fill(
        container,
        imagePullPolicy="Always" if latest else "IfNotPresent",
        resources={},
        terminationMessagePath="/dev/termination-log",
        terminationMessagePolicy="File",
    )
    for port in container.get("ports", []):
        _fill(port, protocol="TCP")
    for name in _PROBES:
        if container.get(name) is not None:
            _probe(container[name])


def _probe(probe: Object) -> None:
    _fill(probe, periodSeconds=10, failureThreshold=3, successThreshold=1, timeoutSeconds=1)


def _pod(obj: Object) -> None:
    _pod_spec(_spec(obj))


def _template(spec: Object) -> None:
    template = spec.setdefault("template", {})
    template.setdefault("metadata", {})
    _pod_spec(template.setdefault("spec", {}))


def _statefulset(obj: Object) -> None:
    spec = _spec(obj)
    _fill(
        spec,
        replicas=1,
        podManagementPolicy="OrderedReady",
        revisionHistoryLimit=10,
        updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
        persistentVolumeClaimRetentionPolicy={},
    )
    _fill(spec["persistentVolumeClaimRetentionPolicy"], whenDeleted="Retain", whenScaled="Retain")
    _fill(spec["updateStrategy"], type="RollingUpdate")
    _template(spec)
    for claim in spec.get("volumeClaimTemplates", []):
        _fill(claim, apiVersion="v1", kind="PersistentVolumeClaim", status={"phase": "Pending"})
        _fill(_spec(claim), volumeMode="Filesystem")


def _deployment(obj: Object) -> None:
    spec = _spec(obj)
    _fill(spec, replicas=1, progressDeadlineSeconds=600, revisionHistoryLimit=10, strategy={})
    strategy = spec["strategy"]
    _fill(strategy, type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        _fill(strategy, rollingUpdate={})
        _fill(strategy["rollingUpdate"], maxSurge="25%", maxUnavailable="25%")
    _template(spec)


def _replicaset(obj: Object) -> None:
    _fill(_spec(obj), replicas=1)
    _template(obj["spec"])


def _storage_class(obj: Object) -> None:
    _fill(obj, reclaimPolicy="Delete", volumeBindingMode="Immediate")


def _secret(obj: Object) -> None:
    _fill(obj, type="Opaque")
    plain = obj.pop("stringData", None)
    if plain:
        data = obj.setdefault("data", {})
        data.update({key: base64.b64encode(str(text).encode()).decode() for key, text in plain.items()})


def _service(obj: Object) -> None:
    spec = _spec(obj)
    _fill(spec, type="ClusterIP", sessionAffinity="None")
    for port in spec.get("ports", []):
        _fill(port, protocol="TCP", targetPort=port.get("port"))


def _claim(obj: Object) -> None:
    spec = _spec(obj)
    _fill(spec, volumeMode="Filesystem")
    _data_source(spec)


def _data_source(spec: Object) -> None:
    """The two fields say the same. What `dataSource` cannot mean is dropped silently, as it always was (KEP 1495)."""
    if (spec.get("dataSourceRef") or {}).get("namespace"):
        del spec["dataSourceRef"]  # CrossNamespaceVolumeDataSource is off
    source, wider = spec.get("dataSource"), spec.get("dataSourceRef")
    if source and not wider and (source.get("kind"), source.get("apiGroup") or "") not in _DATA_SOURCES:
        del spec["dataSource"]
    elif source and not wider:
        spec["dataSourceRef"] = {**source}
    elif wider and not source:
        spec["dataSource"] = {**wider}
    for key in ("dataSource", "dataSourceRef"):
        if spec.get(key):
            spec[key].setdefault("apiGroup", None)


def _volume(obj: Object) -> None:
    _fill(_spec(obj), volumeMode="Filesystem", persistentVolumeReclaimPolicy="Retain")


def _autoscaler(obj: Object) -> None:
    _fill(_spec(obj), minReplicas=1)


def _namespace(obj: Object) -> None:
    metadata = obj["metadata"]
    if metadata.get("name"):
        metadata.setdefault("labels", {})["kubernetes.io/metadata.name"] = metadata["name"]


def _add_finalizer(obj: Object, finalizer: str) -> None:
    finalizers = obj["metadata"].setdefault("finalizers", [])
    if finalizer not in finalizers:
        finalizers.append(finalizer)


def _new_claim(obj: Object) -> None:
    _add_finalizer(obj, CLAIM_FINALIZER)
    _fill(obj, status={})
    _fill(obj["status"], phase="Pending")


def _new_volume(obj: Object) -> None:
    _add_finalizer(obj, VOLUME_FINALIZER)
    _fill(obj, status={})
    _fill(obj["status"], phase="Pending")


def _new_pod(obj: Object) -> None:
    _fill(obj, status={})
    _fill(obj["status"], phase="Pending", qosClass="BestEffort")


def _new_namespace(obj: Object) -> None:
    _fill(_spec(obj), finalizers=["kubernetes"])
    _fill(obj, status={})
    _fill(obj["status"], phase="Active")


def _new_service(obj: Object) -> None:
    _fill(obj, status={"loadBalancer": {}})


def _new_statefulset(obj: Object) -> None:
    _fill(obj, status={})
    _fill(obj["status"], replicas=0, availableReplicas=0)


def _new_deployment(obj: Object) -> None:
    _fill(obj, status={})


def _new_replicaset(obj: Object) -> None:
    _fill(obj, status={"replicas": 0})


_ALWAYS: dict[Resource, Callable[[Object], None]] = {
    PODS: _pod,
    STATEFULSETS: _statefulset,
    DEPLOYMENTS: _deployment,
    REPLICASETS: _replicaset,
    STORAGE_CLASSES: _storage_class,
    SECRETS: _secret,
    SERVICES: _service,
    CLAIMS: _claim,
    VOLUMES: _volume,
    AUTOSCALERS: _autoscaler,
    NAMESPACES: _namespace,
}

_AT_BIRTH: dict[Resource, Callable[[Object], None]] = {
    PODS: _new_pod,
    CLAIMS: _new_claim,
    VOLUMES: _new_volume,
    NAMESPACES: _new_namespace,
    SERVICES: _new_service,
    STATEFULSETS: _new_statefulset,
    DEPLOYMENTS: _new_deployment,
    REPLICASETS: _new_replicaset,
}
