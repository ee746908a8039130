"""The objects that the contract is tried on; their pods need nothing and are ready as soon as they run."""

from typing import Any

from tests.cluster.storage import SNAPSHOTS

Json = dict[str, Any]
DRIVER = "hostpath.csi.sandbox"
IMAGE = "busybox:1.37"
SCRIPT = "trap 'exit 0' TERM; echo starting; sleep 3600 & wait"
"""What its container does where a node really runs it."""


def template(name: str, **spec: Any) -> Json:
    container = {"name": "main", "image": IMAGE, "command": ["sh", "-c", SCRIPT]}
    return {
        "metadata": {"labels": {"app": name}},
        "spec": {"terminationGracePeriodSeconds": 5, "containers": [container], **spec},
    }


def stateful_set(name: str = "web", replicas: int = 1, **spec: Any) -> Json:
    """Without annotations, as the vendor's are."""
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "serviceName": name,
            "selector": {"matchLabels": {"app": name}},
            "template": template(name),
            **spec,
        },
    }


def deployment(name: str = "app", replicas: int = 1) -> Json:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template(name)},
    }


def pod(name: str = "one", **spec: Any) -> Json:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": template(name, **spec)["spec"]}


def config(name: str = "map", **data: str) -> Json:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def claim(name: str = "data", *, storage_class: str, size: str = "1Gi", **spec: Any) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": storage_class,
            "resources": {"requests": {"storage": size}},
            **spec,
        },
    }


def snapshot(name: str = "snap", *, of: str | None = None, content: str | None = None, in_class: str = "") -> Json:
    """Of a claim, or of what a content that is there stands for."""
    source = {"persistentVolumeClaimName": of, "volumeSnapshotContentName": content}
    spec: Json = {"source": {key: value for key, value in source.items() if value}}
    if in_class:
        spec["volumeSnapshotClassName"] = in_class
    return {"apiVersion": SNAPSHOTS, "kind": "VolumeSnapshot", "metadata": {"name": name}, "spec": spec}


def snapshot_class(name: str, policy: str = "Delete", driver: str = DRIVER) -> Json:
    kind = {"apiVersion": SNAPSHOTS, "kind": "VolumeSnapshotClass", "metadata": {"name": name}}
    return kind | {"driver": driver, "deletionPolicy": policy}


def kept_content(name: str, handle: str, snapshot: str, namespace: str, policy: str = "Retain") -> Json:
    """For a snapshot that is in the storage already, to be bound by the VolumeSnapshot of that name."""
    spec = {
        "deletionPolicy": policy,
        "driver": DRIVER,
        "source": {"snapshotHandle": handle},
        "sourceVolumeMode": "Filesystem",
        "volumeSnapshotRef": {"name": snapshot, "namespace": namespace},
    }
    return {"apiVersion": SNAPSHOTS, "kind": "VolumeSnapshotContent", "metadata": {"name": name}, "spec": spec}


def storage_class(name: str, mode: str = "Immediate", **more: Any) -> Json:
    kind = {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": name}}
    return kind | {"provisioner": DRIVER, "volumeBindingMode": mode, **more}


def from_snapshot(name: str) -> Json:
    return {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": name}


def lease(holder: str = "one") -> Json:
    spec = {"holderIdentity": holder, "leaseDurationSeconds": 15, "leaseTransitions": 1}
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "tml-bot"}, "spec": spec}
