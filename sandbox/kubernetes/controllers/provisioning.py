"""The PersistentVolume that a provisioner makes for a claim."""

import hashlib
from typing import Any

from sandbox.kubernetes.resources import CLAIMS, Object

SELECTED_NODE = "volume.kubernetes.io/selected-node"
PROVISIONER = "volume.kubernetes.io/storage-provisioner"
PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
"""Annotations: of a claim who is to make its volume, of a volume who has made it."""
CSI_FINALIZER = "external-provisioner.volume.kubernetes.io/finalizer"
IN_TREE_FINALIZER = "kubernetes.io/pv-controller"
"""What keeps a volume's object until its bytes are gone, where they are to go (HonorPVReclaimPolicy)."""
CANNOT_PROVISION = "kubernetes.io/no-provisioner"
AWS_IN_TREE = "kubernetes.io/aws-ebs"


def wants(claim: Object) -> Object:
    """The reference to a claim that binds a volume to it and to nobody else."""
    metadata = claim["metadata"]
    return {
        "apiVersion": CLAIMS.api_version,
        "kind": CLAIMS.kind,
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        "uid": metadata["uid"],
        "resourceVersion": metadata["resourceVersion"],
    }


def new_volume(claim: Object, storage_class: Object) -> Object:
    """Bound to the claim from the start; its size is what the claim asks for."""
    provisioner = storage_class["provisioner"]
    name = f"pvc-{claim['metadata']['uid']}"
    return {
        "metadata": {"name": name, "annotations": {PROVISIONED_BY: provisioner}},
        "spec": {
            "accessModes": claim["spec"].get("accessModes") or ["ReadWriteOnce"],
            "capacity": {"storage": claim["spec"]["resources"]["requests"]["storage"]},
            "claimRef": wants(claim),
            "persistentVolumeReclaimPolicy": storage_class.get("reclaimPolicy") or "Delete",
            "storageClassName": storage_class["metadata"]["name"],
            "volumeMode": claim["spec"].get("volumeMode") or "Filesystem",
            **_source(provisioner, name),
        },
    }


def is_csi(provisioner: str) -> bool:
    """Whether it is a CSI driver's name: only their volumes can be snapshotted, restored and cloned."""
    return provisioner not in (CANNOT_PROVISION, AWS_IN_TREE) and "nfs" not in provisioner


def _source(provisioner: str, name: str) -> dict[str, Any]:
    """Only CSI volumes can be snapshotted, so it matters which kind of source a volume has."""
    if provisioner == AWS_IN_TREE:
        return {"awsElasticBlockStore": {"volumeID": f"aws://sandbox/vol-{name[-12:]}", "fsType": "ext4"}}
    if "nfs" in provisioner:
        return {"nfs": {"server": "nfs.sandbox", "path": f"/exports/{name}"}}
    # the storage has names of its own
    handle = f"vol-{hashlib.sha256(name.encode()).hexdigest()[:17]}"
    return {"csi": {"driver": provisioner, "volumeHandle": handle, "fsType": "ext4"}}
