"""What is behind the claims: PersistentVolumes as values, and the writes that keep, free and give back one.

Each write is a JSON Patch of the volume as it was just read, and of no later version of it.
"""

from datetime import datetime

from lifecycle.errors import Conflict, Invalid
from lifecycle.kube import read
from lifecycle.kube.answers import Json
from lifecycle.kube.patch import ANNOTATIONS, Patch, annotate, as_read, entry, removal, setting, test
from lifecycle.kube.read import KEPT_BY, POLICY_BEFORE
from lifecycle.model import Ref, Step
from lifecycle.volumes import Claim, Volume

POLICY = "/spec/persistentVolumeReclaimPolicy"
CLAIM_REF = "/spec/claimRef"
PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
POLICIES = ("Delete", "Retain", "Recycle")

SOURCES = {
    "awsElasticBlockStore": ("kubernetes.io/aws-ebs", ("volumeID",)),
    "azureDisk": ("kubernetes.io/azure-disk", ("diskURI",)),
    "azureFile": ("kubernetes.io/azure-file", ("shareName",)),
    "cinder": ("kubernetes.io/cinder", ("volumeID",)),
    "fc": ("kubernetes.io/fc", ("wwids",)),
    "gcePersistentDisk": ("kubernetes.io/gce-pd", ("pdName",)),
    "hostPath": ("kubernetes.io/host-path", ("path",)),
    "iscsi": ("kubernetes.io/iscsi", ("targetPortal", "iqn", "lun")),
    "local": ("kubernetes.io/local-volume", ("path",)),
    "nfs": ("kubernetes.io/nfs", ("server", "path")),
    "vsphereVolume": ("kubernetes.io/vsphere-volume", ("volumePath",)),
}
"""The plugins within Kubernetes, with the fields that tell one volume from another (API reference)."""


def volume(found: Json, namespace: str) -> Volume:
    """``claim`` is empty where the volume is for a claim of another namespace."""
    spec, notes = read.spec_of(found), read.annotations_of(found)
    named = spec.get("claimRef") or {}
    driver, handle = _source(spec)
    created = read.metadata(found).get("creationTimestamp")
    return Volume(
        name=read.name_of(found),
        uid=read.uid_of(found),
        policy=policy_of(found),
        phase=Claim.TERMINATING if read.is_deleting(found) else str(read.status_of(found).get("phase", "Pending")),
        claim=str(named.get("name", "")) if named.get("namespace") == namespace else "",
        claim_uid=str(named.get("uid") or ""),
        driver=driver,
        handle=handle,
        capacity=(spec.get("capacity") or {}).get("storage") or "",
        storage_class=spec.get("storageClassName") or "",
        kept_by=notes.get(KEPT_BY, ""),
        policy_before=notes.get(POLICY_BEFORE, ""),
        is_csi=bool(spec.get("csi")),
        created_at=datetime.fromisoformat(created) if created else None,
        provisioner=notes.get(PROVISIONED_BY, ""),
    )


def policy_of(found: Json) -> str:
    """The API server fills it in for a volume that was made by hand."""
    return str(read.spec_of(found).get("persistentVolumeReclaimPolicy", Volume.RETAIN))


def _source(spec: Json) -> tuple[str, str]:
    if csi := spec.get("csi"):
        return str(csi.get("driver", "")), str(csi.get("volumeHandle", ""))
    for key, (driver, fields) in SOURCES.items():
        if source := spec.get(key):
            return driver, ":".join(str(source[field]) for field in fields if field in source)
    return "", ""


def keep(step: Step, found: Json, claim: Claim | None, operation: str) -> Patch:
    """Retain, and note of whom and from what; an empty patch where it is so.

    Raises Conflict where it is another claim's, Invalid where it goes with its claim whatever its policy.
    """
    if read.is_deleting(found):
        raise Invalid(f"{step.ref} is being deleted already, so its data cannot be kept")
    named = read.spec_of(found).get("claimRef") or {}
    if claim is None or named.get("uid") != claim.uid:
        raise Conflict(f"{step.ref} is not bound to the claim any more that it was kept for")
    notes = read.annotations_of(found)
    is_noted, is_retained = notes.get(KEPT_BY) == operation, policy_of(found) == Volume.RETAIN
    if is_noted and is_retained:
        return []
    noted = {} if is_noted else {KEPT_BY: operation, POLICY_BEFORE: _policy_before(found)}
    return [
        *as_read(found, step.uid),
        test(f"{CLAIM_REF}/uid", claim.uid),
        *annotate(read.metadata(found), ANNOTATIONS, noted),
        setting(POLICY, Volume.RETAIN),
    ]


def _policy_before(found: Json) -> str:
    """What an earlier delete set to Retain, and no restore gave back, has kept its first policy in the note."""
    before = read.annotations_of(found).get(POLICY_BEFORE, "")
    is_kept = bool(read.annotations_of(found).get(KEPT_BY)) and policy_of(found) == Volume.RETAIN
    return before if is_kept and before in POLICIES else policy_of(found)


def rebind(step: Step, found: Json, namespace: str, claim: str) -> Patch:
    """Free it for the claim of this name and for no other: the reference stays, without what is of the old claim.

    An empty claimRef would let any pending claim of the same class take the volume (measured, kubernetes 1.36).
    """
    named = read.spec_of(found).get("claimRef") or {}
    if (named.get("namespace"), named.get("name")) != (namespace, claim):
        raise Invalid(f"{step.ref} is reserved for another claim than {claim}")
    stale = [key for key in ("uid", "resourceVersion") if key in named]
    if not stale:
        return []
    return [
        *as_read(found, step.uid),
        test(f"{CLAIM_REF}/namespace", namespace),
        test(f"{CLAIM_REF}/name", claim),
        *(removal(f"{CLAIM_REF}/{key}") for key in stale),
    ]


def give_back(step: Step, found: Json, source: str) -> Patch:
    """The reclaim policy that it had, and no note left; an empty patch where the operation ``source`` keeps it no more.

    Raises Conflict where no claim is bound to it: with the policy Delete its data would go at once.
    """
    notes = read.annotations_of(found)
    if notes.get(KEPT_BY) != source:
        return []
    if read.status_of(found).get("phase") != "Bound":
        raise Conflict(f"{step.ref} is not bound, so it stays {policy_of(found)}")
    before = notes.get(POLICY_BEFORE, "")
    return [
        *as_read(found, step.uid),
        test(entry(ANNOTATIONS, KEPT_BY), source),
        *([setting(POLICY, before)] if before in POLICIES else []),
        *(removal(entry(ANNOTATIONS, key)) for key in (KEPT_BY, POLICY_BEFORE) if key in notes),
    ]


def let_go(step: Step, found: Json, namespace: str, claim: str, claim_uid: str) -> Patch:
    """Of a clone's volume, whose class says Retain: to go with its claim. An empty patch where it is so.

    Raises Conflict where it is not bound to this very claim.
    """
    named = read.spec_of(found).get("claimRef") or {}
    if (named.get("namespace"), named.get("name"), named.get("uid")) != (namespace, claim, claim_uid):
        raise Conflict(f"{step.ref} is not bound to the claim {claim}")
    if policy_of(found) == "Delete":
        return []
    return [*as_read(found, step.uid), test(f"{CLAIM_REF}/uid", claim_uid), setting(POLICY, "Delete")]


def require_kept(found: Json, claim: Ref, claim_uid: str, operation: str) -> None:
    """Raises Conflict where the claim's data would not stay without it."""
    named = read.spec_of(found).get("claimRef") or {}
    is_kept = policy_of(found) == Volume.RETAIN and read.annotations_of(found).get(KEPT_BY) == operation
    if not is_kept or read.is_deleting(found) or named.get("uid") != claim_uid:
        raise Conflict(
            f"{claim} is not removed: its volume {read.name_of(found)} is {policy_of(found)}, or not its own"
        )


def require_anothers(found: Json, claim: Ref, claim_uid: str) -> None:
    """Raises Conflict where the volume is the claim's own, or may become so: the claim was to go because it is not."""
    holder = (read.spec_of(found).get("claimRef") or {}).get("uid") or ""
    if holder in ("", claim_uid):
        raise Conflict(f"{claim} is not removed: its volume {read.name_of(found)} is there again")
