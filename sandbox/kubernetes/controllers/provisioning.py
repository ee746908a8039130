"""The PersistentVolume that a provisioner makes for a claim."""

from typing import Any

from sandbox.kubernetes.resources import CLAIMS, Object

SELECTED_NODE = "volume.kubernetes.io/selected-node"
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
        "metadata": {"name": name, "annotations": {"pv.kubernetes.io/provisioned-by": provisioner}},
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


def _source(provisioner: str, name: str) -> dict[str, Any]:
    """Only CSI volumes can be snapshotted, so it matters which kind of source a volume has."""
    if provisioner == AWS_IN_TREE:
        return {"awsElasticBlockStore": {"volumeID": f"aws://sandbox/vol-{name[-12:]}", "fsType": "ext4"}}
    if "nfs" in provisioner:
        return {"nfs": {"server": "nfs.sandbox", "path": f"/exports/{name}"}}
    return {"csi": {"driver": provisioner, "volumeHandle": name, "fsType": "ext4"}}
