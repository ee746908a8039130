"""Claims: bound to a volume that is there or newly made, and kept while a pod uses them."""

from decimal import Decimal

from sandbox.kubernetes.clock import timestamp
from sandbox.kubernetes.controllers.owners import is_terminating, key_of
from sandbox.kubernetes.controllers.podstatus import claims_of
from sandbox.kubernetes.controllers.provisioning import (
    AWS_IN_TREE,
    CANNOT_PROVISION,
    PROVISIONER,
    SELECTED_NODE,
    is_csi,
    wants,
)
from sandbox.kubernetes.controllers.recorder import Recorder
from sandbox.kubernetes.controllers.work import Key
from sandbox.kubernetes.defaults import CLAIM_FINALIZER
from sandbox.kubernetes.resources import CLAIMS, PODS, STORAGE_CLASSES, VOLUMES, Object
from sandbox.kubernetes.store import Event, Store
from sandbox.kubernetes.validation import quantity

ACTOR = "persistentvolume-controller"
BIND_COMPLETED = "pv.kubernetes.io/bind-completed"
BOUND_BY_CONTROLLER = "pv.kubernetes.io/bound-by-controller"
BETA_PROVISIONER = "volume.beta.kubernetes.io/storage-provisioner"


class Claims:
    """Binds, asks for provisioning, and lets a deleted claim go when no pod uses it any longer."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._recorder = Recorder(store, ACTOR)

    def concerned(self, event: Event) -> list[Key]:
        if event.resource is CLAIMS:
            return [key_of(event.object)] if event.type != "DELETED" else []
        if event.resource is VOLUMES:
            before = _named(event.previous) if event.previous else []
            return [*before, *self._of_volume(event.object)]
        if event.resource is PODS and event.type == "DELETED":
            namespace = event.object["metadata"]["namespace"]
            return [(namespace, name) for name in claims_of(event.object).values()]
        return self._unbound() if event.resource is STORAGE_CLASSES else []

    def reconcile(self, key: Key) -> None:
        claim = self._store.find(CLAIMS, *key)
        if claim is None:
            return
        if is_terminating(claim):
            self._let_go(claim)
        elif BIND_COMPLETED in (claim["metadata"].get("annotations") or {}):
            self._check_bound(claim)
        else:
            self._find_volume(claim)

    def _of_volume(self, volume: Object) -> list[Key]:
        """The claim a volume names; a volume that names none may serve anyone."""
        return _named(volume) or self._unbound()

    def _unbound(self) -> list[Key]:
        rows = self._store.rows(CLAIMS)
        return [key_of(row) for row in rows if row["status"].get("phase") == "Pending"]

    def _let_go(self, claim: Object) -> None:
        if CLAIM_FINALIZER not in (claim["metadata"].get("finalizers") or []) or self._is_used(claim):
            return

        def release(found: Object) -> None:
            found["metadata"]["finalizers"].remove(CLAIM_FINALIZER)

        self._store.change(CLAIMS, *key_of(claim), release, actor="pvc-protection-controller")

    def _is_used(self, claim: Object) -> bool:
        """By a pod that has a node, so that its kubelet may have mounted it; one that waits for a node has not."""
        namespace, name = key_of(claim)
        rows = self._store.rows(PODS, namespace)
        return any(row["spec"].get("nodeName") and name in claims_of(row).values() for row in rows)

    def _check_bound(self, claim: Object) -> None:
        """A claim that has lost its volume keeps its phase until the volume is its own again."""
        volume = self._store.find(VOLUMES, None, claim["spec"]["volumeName"])
        if volume is None:
            self._lose(claim, "ClaimLost", "Bound claim has lost its PersistentVolume. Data on the volume is lost!")
        elif (volume["spec"].get("claimRef") or claim["metadata"]).get("uid") != claim["metadata"]["uid"]:
            message = "Two claims are bound to the same volume, this one is bound incorrectly"
            self._lose(claim, "ClaimMisbound", message)
        elif not volume["spec"].get("claimRef") or claim["status"].get("phase") != "Bound":
            self._bind(volume, claim)

    def _lose(self, claim: Object, reason: str, message: str) -> None:
        if claim["status"].get("phase") != "Lost":
            self._recorder.warning(CLAIMS, claim, reason, message)
            self._write_claim_status(claim, {"phase": "Lost"})

    def _find_volume(self, claim: Object) -> None:
        named = claim["spec"].get("volumeName")
        if named:
            self._bind_named(claim, self._store.find(VOLUMES, None, named))
            return
        reserved = next((row for row in self._store.list(VOLUMES) if _is_reserved(row, claim)), None)
        if reserved is not None:
            self._bind(reserved, claim)
            return
        if self._waits_for_consumer(claim):
            message = "waiting for first consumer to be created before binding"
            self._recorder.normal(CLAIMS, claim, "WaitForFirstConsumer", message)
            return
        rows = self._store.list(VOLUMES)
        free = sorted((row for row in rows if _is_free(row) and not _unfitness(row, claim)), key=_size)
        if free:
            self._bind(free[0], claim)
        else:
            self._provision(claim)

    def _bind_named(self, claim: Object, volume: Object | None) -> None:
        """The claim asks for one volume: bound only if that one is its own, or free and fit."""
        if volume is None:
            return
        name = volume["metadata"]["name"]
        if not _is_for(volume, claim):
            self._recorder.warning(
                CLAIMS, claim, "FailedBinding", f'volume "{name}" already bound to a different claim.'
            )
        elif not volume["spec"].get("claimRef") and (unfit := _unfitness(volume, claim)):
            message = f'Cannot bind to requested volume "{name}": {unfit}'
            self._recorder.warning(CLAIMS, claim, "VolumeMismatch", message)
        else:
            self._bind(volume, claim)

    def _waits_for_consumer(self, claim: Object) -> bool:
        storage_class = self._class_of(claim)
        waits = storage_class is not None and storage_class.get("volumeBindingMode") == "WaitForFirstConsumer"
        return waits and SELECTED_NODE not in (claim["metadata"].get("annotations") or {})

    def _class_of(self, claim: Object) -> Object | None:
        name = claim["spec"].get("storageClassName")
        return self._store.find(STORAGE_CLASSES, None, name) if name else None

    def _bind(self, volume: Object, claim: Object) -> None:
        """Both sides name each other, the volume first, as Kubernetes does it."""

        def reserve(found: Object) -> None:
            found["spec"]["claimRef"] = wants(claim)
            found["metadata"].setdefault("annotations", {})[BOUND_BY_CONTROLLER] = "yes"

        def take(found: Object) -> None:
            found["spec"]["volumeName"] = volume["metadata"]["name"]
            annotations = found["metadata"].setdefault("annotations", {})
            annotations |= {BIND_COMPLETED: "yes", BOUND_BY_CONTROLLER: "yes"}

        name = volume["metadata"]["name"]
        if (volume["spec"].get("claimRef") or {}).get("uid") != claim["metadata"]["uid"]:
            self._store.change(VOLUMES, None, name, reserve, actor=ACTOR)
        now = timestamp(self._store.clock.now())
        self._store.change(
            VOLUMES, None, name, lambda found: set_phase(found, "Bound", now), subresource="status", actor=ACTOR
        )
        self._store.change(CLAIMS, *key_of(claim), take, actor=ACTOR)
        capacity = volume["spec"]["capacity"]
        modes = volume["spec"]["accessModes"]
        self._write_claim_status(claim, {"phase": "Bound", "capacity": capacity, "accessModes": modes})

    def _write_claim_status(self, claim: Object, status: Object) -> None:
        def write(found: Object) -> None:
            found["status"] = status

        self._store.change(CLAIMS, *key_of(claim), write, subresource="status", actor=ACTOR)

    def _provision(self, claim: Object) -> None:
        class_name = claim["spec"].get("storageClassName")
        storage_class = self._class_of(claim)
        if storage_class is None:
            if class_name:
                message = f'storageclass.storage.k8s.io "{class_name}" not found'
                self._recorder.warning(CLAIMS, claim, "ProvisioningFailed", message)
            return
        provisioner = storage_class["provisioner"]
        if provisioner == CANNOT_PROVISION:
            return
        if claim["spec"].get("dataSource") and not is_csi(provisioner):
            # An empty volume in place of what was asked for would look like a success.
            self._recorder.warning(CLAIMS, claim, "ProvisioningFailed", _no_data_source(provisioner, class_name))
            return
        self._give_to(provisioner, claim)

    def _give_to(self, provisioner: str, claim: Object) -> None:
        def note(found: Object) -> None:
            annotations = found["metadata"].setdefault("annotations", {})
            annotations |= {PROVISIONER: provisioner, BETA_PROVISIONER: provisioner}

        self._store.change(CLAIMS, *key_of(claim), note, actor=ACTOR)
        if provisioner != AWS_IN_TREE:
            message = (
                f"Waiting for a volume to be created either by the external provisioner '{provisioner}' "
                "or manually by the system administrator. If volume creation is delayed, please verify that "
                "the provisioner is running and correctly registered."
            )
            self._recorder.normal(CLAIMS, claim, "ExternalProvisioning", message)


def set_phase(volume: Object, phase: str, now: str) -> None:
    if volume["status"].get("phase") != phase:
        volume["status"] = {"phase": phase, "lastPhaseTransitionTime": now}


def _no_data_source(provisioner: str, class_name: str) -> str:
    if provisioner == AWS_IN_TREE:
        return f'plugin "{provisioner}" is not a CSI plugin. Only CSI plugin can provision a claim with a datasource'
    return f'failed to provision volume with StorageClass "{class_name}": data sources are not supported'


def _named(volume: Object) -> list[Key]:
    """The claim that a volume is reserved for, if any."""
    named = volume["spec"].get("claimRef")
    return [(named.get("namespace"), named["name"])] if named else []


def _names(volume: Object, claim: Object) -> bool:
    named = volume["spec"].get("claimRef") or {}
    return (named.get("namespace"), named.get("name")) == key_of(claim)


def _is_for(volume: Object, claim: Object) -> bool:
    """Free, or reserved for this very claim; a reservation without a uid is for whoever bears the name."""
    named = volume["spec"].get("claimRef")
    if not named:
        return True
    return _names(volume, claim) and named.get("uid", claim["metadata"]["uid"]) in ("", claim["metadata"]["uid"])


def _is_free(volume: Object) -> bool:
    return (
        not volume["spec"].get("claimRef")
        and volume["status"].get("phase") == "Available"
        and not is_terminating(volume)
    )


def _is_reserved(volume: Object, claim: Object) -> bool:
    """By its name, or made for it; then the class does not matter, but what it asks for does."""
    return (
        _names(volume, claim)
        and _is_for(volume, claim)
        and not is_terminating(volume)
        and _size(volume) >= _asked(claim)
        and _has_modes(volume, claim)
    )


def _unfitness(volume: Object, claim: Object) -> str:
    """Why a volume that is free will not do; empty if it will."""
    name = volume["metadata"]["name"]
    if is_terminating(volume):
        return f'the volume is marked for deletion "{name}"'
    if _size(volume) < _asked(claim):
        return "requested PV is too small"
    if (claim["spec"].get("storageClassName") or "") != (volume["spec"].get("storageClassName") or ""):
        return "storageClassName does not match"
    return "" if _has_modes(volume, claim) else "incompatible accessMode"


def _has_modes(volume: Object, claim: Object) -> bool:
    return set(claim["spec"].get("accessModes") or []) <= set(volume["spec"].get("accessModes") or [])


def _asked(claim: Object) -> Decimal:
    return quantity(claim["spec"].get("resources", {}).get("requests", {}).get("storage", 0))


def _size(volume: Object) -> Decimal:
    return quantity(volume["spec"].get("capacity", {}).get("storage", 0))
