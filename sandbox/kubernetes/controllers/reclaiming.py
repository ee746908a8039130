"""Volumes: available, bound, released, and what becomes of them when their claim is gone."""

from sandbox.kubernetes.clock import timestamp
from sandbox.kubernetes.controllers.claims import ACTOR, BOUND_BY_CONTROLLER, set_phase
from sandbox.kubernetes.controllers.owners import is_terminating, key_of
from sandbox.kubernetes.controllers.provisioning import (
    AWS_IN_TREE,
    CSI_FINALIZER,
    IN_TREE_FINALIZER,
    PROVISIONED_BY,
    is_csi,
)
from sandbox.kubernetes.controllers.work import Key, Work
from sandbox.kubernetes.defaults import VOLUME_FINALIZER
from sandbox.kubernetes.resources import CLAIMS, VOLUMES, Object
from sandbox.kubernetes.store import Event, Store
from sandbox.kubernetes.volumes import Volumes

DELETING = 0.5
"""Simulated seconds that the storage needs to delete a volume."""


class Reclaiming:
    """Follows the claim: without it a volume is Released, and then kept or deleted as its policy says."""

    def __init__(self, store: Store, volumes: Volumes, work: Work) -> None:
        self._store = store
        self._volumes = volumes
        self._work = work

    def concerned(self, event: Event) -> list[Key]:
        if event.resource is VOLUMES:
            return [key_of(event.object)] if event.type != "DELETED" else []
        if event.resource is CLAIMS and event.type == "DELETED" and event.object["spec"].get("volumeName"):
            return [(None, event.object["spec"]["volumeName"])]
        return []

    def reconcile(self, key: Key) -> None:
        volume = self._store.find(VOLUMES, None, key[1])
        if volume is None:
            return
        self._hold(volume)
        phase = self._phase(volume)
        self._write_phase(volume, phase)
        if phase == "Released" and volume["spec"].get("persistentVolumeReclaimPolicy") == "Delete":
            self._delete(volume)
        if is_terminating(volume) and phase != "Bound":
            self._drop(volume, VOLUME_FINALIZER, "pv-protection-controller")

    def _hold(self, volume: Object) -> None:
        """Its deleter's finalizer is there as long as its bytes are to go with it."""
        holder = _holder(volume)
        is_bound = volume["status"].get("phase") == "Bound" and not is_terminating(volume)
        if holder and volume["spec"].get("persistentVolumeReclaimPolicy") != "Delete":
            self._drop(volume, holder, ACTOR)
        elif holder and is_bound:

            def hold(found: Object) -> None:
                known = found["metadata"].get("finalizers") or []
                found["metadata"]["finalizers"] = [*known, *([] if holder in known else [holder])]

            self._store.change(VOLUMES, None, volume["metadata"]["name"], hold, actor=ACTOR)

    def _phase(self, volume: Object) -> str:
        """A reservation without a uid waits for its claim; one with a uid had it, or has it still."""
        named = volume["spec"].get("claimRef") or {}
        if not named.get("uid"):
            return "Available"
        claim = self._store.find(CLAIMS, named["namespace"], named["name"])
        if claim is None or claim["metadata"]["uid"] != named["uid"]:
            return "Released"
        bound_to = claim["spec"].get("volumeName")
        if bound_to == volume["metadata"]["name"]:
            return "Bound"
        return self._superfluous(volume) if bound_to else str(volume["status"].get("phase") or "Pending")

    def _superfluous(self, volume: Object) -> str:
        """The claim has found another volume."""
        marks = volume["metadata"].get("annotations") or {}
        if PROVISIONED_BY in marks and volume["spec"].get("persistentVolumeReclaimPolicy") == "Delete":
            return "Released"

        def unbind(found: Object) -> None:
            annotations = found["metadata"].get("annotations") or {}
            if annotations.pop(BOUND_BY_CONTROLLER, None):
                del found["spec"]["claimRef"]
            else:
                found["spec"]["claimRef"].pop("uid")

        self._store.change(VOLUMES, None, volume["metadata"]["name"], unbind, actor=ACTOR)
        return "Available"

    def _write_phase(self, volume: Object, phase: str) -> None:
        now = timestamp(self._store.clock.now())
        name = volume["metadata"]["name"]
        self._store.change(
            VOLUMES, None, name, lambda found: set_phase(found, phase, now), subresource="status", actor=ACTOR
        )

    def _delete(self, volume: Object) -> None:
        metadata, holder = volume["metadata"], _holder(volume)
        if is_terminating(volume) and holder not in (metadata.get("finalizers") or []):
            return  # its bytes are gone, or were never to go with it
        if self._work.has_waited(self, key_of(volume), metadata["uid"], DELETING):
            self._volumes.destroy(volume)
            self._store.delete(VOLUMES, None, metadata["name"], uid=metadata["uid"], actor=ACTOR)
            self._drop(volume, holder, ACTOR)

    def _drop(self, volume: Object, finalizer: str, actor: str) -> None:
        def release(found: Object) -> None:
            finalizers = found["metadata"].get("finalizers") or []
            found["metadata"]["finalizers"] = [name for name in finalizers if name != finalizer]

        name = volume["metadata"]["name"]
        if self._store.find(VOLUMES, None, name) is not None:
            self._store.change(VOLUMES, None, name, release, actor=actor)


def _holder(volume: Object) -> str:
    """The finalizer of who deletes this volume's bytes; empty where nobody holds the object for it."""
    maker = (volume["metadata"].get("annotations") or {}).get(PROVISIONED_BY) or ""
    driver = (volume["spec"].get("csi") or {}).get("driver") or ""
    if is_csi(maker or driver) and (maker or driver):
        return CSI_FINALIZER
    return IN_TREE_FINALIZER if maker == AWS_IN_TREE else ""
