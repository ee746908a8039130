"""Volumes: available, bound, released, and what becomes of them when their claim is gone."""

from sandbox.kubernetes.controllers.claims import ACTOR
from sandbox.kubernetes.controllers.owners import is_terminating, key_of
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
        phase = self._phase(volume)
        if volume["status"].get("phase") != phase:
            self._write_phase(volume, phase)
        if phase == "Released" and volume["spec"].get("persistentVolumeReclaimPolicy") == "Delete":
            self._delete(volume)
        if is_terminating(volume) and phase != "Bound":
            self._let_go(volume)

    def _phase(self, volume: Object) -> str:
        """A reservation without a uid waits for its claim; one with a uid had it, or has it still."""
        named = volume["spec"].get("claimRef") or {}
        if not named.get("uid"):
            return "Available"
        claim = self._store.find(CLAIMS, named["namespace"], named["name"])
        return "Bound" if claim and claim["metadata"]["uid"] == named["uid"] else "Released"

    def _write_phase(self, volume: Object, phase: str) -> None:
        def write(found: Object) -> None:
            found["status"] = {"phase": phase}

        self._store.change(VOLUMES, None, volume["metadata"]["name"], write, subresource="status", actor=ACTOR)

    def _delete(self, volume: Object) -> None:
        metadata = volume["metadata"]
        if is_terminating(volume):
            self._volumes.destroy(volume)
        elif self._work.has_waited(self, key_of(volume), metadata["uid"], DELETING):
            self._volumes.destroy(volume)
            self._store.delete(VOLUMES, None, metadata["name"], uid=metadata["uid"], actor=ACTOR)

    def _let_go(self, volume: Object) -> None:
        def release(found: Object) -> None:
            finalizers = found["metadata"].get("finalizers") or []
            found["metadata"]["finalizers"] = [name for name in finalizers if name != VOLUME_FINALIZER]

        current = self._store.find(VOLUMES, None, volume["metadata"]["name"])
        if current is not None:
            self._store.change(VOLUMES, None, volume["metadata"]["name"], release, actor="pv-protection-controller")
