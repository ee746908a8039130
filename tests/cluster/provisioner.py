"""The storage behind the reference cluster's classes: a real folder for each volume, made and given up as asked."""

from sandbox.kubernetes.controllers.provisioning import SELECTED_NODE, new_volume
from sandbox.kubernetes.resources import CLAIMS, STORAGE_CLASSES, VOLUMES, Object
from sandbox.kubernetes.store import Event
from sandbox.kubernetes.volumes import Volumes
from tests.cluster.mirror import Mirror

DRIVER = "hostpath.csi.sandbox"
"""The provisioner that the reference cluster's StorageClasses name."""


class Provisioner:
    """Plays external-provisioner: a PersistentVolume for each claim that wants one, its end when it is released."""

    def __init__(self, mirror: Mirror, volumes: Volumes) -> None:
        self._mirror = mirror
        self._volumes = volumes

    def saw(self, event: Event) -> None:
        if event.type == "DELETED":
            return
        if event.resource is CLAIMS:
            self._provide(event.object)
        elif event.resource is STORAGE_CLASSES:
            for claim in list(self._mirror.rows(CLAIMS)):
                self._provide(claim)
        elif event.resource is VOLUMES:
            self._reclaim(event.object)

    def _provide(self, claim: Object) -> None:
        storage_class = self._class_of(claim)
        if storage_class is None or claim["spec"].get("volumeName") or "deletionTimestamp" in claim["metadata"]:
            return
        waits = storage_class.get("volumeBindingMode") == "WaitForFirstConsumer"
        if waits and SELECTED_NODE not in (claim["metadata"].get("annotations") or {}):
            return
        volume = new_volume(claim, storage_class)
        if self._mirror.find(VOLUMES, None, volume["metadata"]["name"]) is None:
            self._volumes.make(volume)
            self._mirror.create(VOLUMES, volume)

    def _class_of(self, claim: Object) -> Object | None:
        found = self._mirror.find(STORAGE_CLASSES, None, claim["spec"].get("storageClassName") or "")
        return found if found and found["provisioner"] == DRIVER else None

    def _reclaim(self, volume: Object) -> None:
        is_ours = volume["spec"].get("csi", {}).get("driver") == DRIVER
        released = volume.get("status", {}).get("phase") == "Released"
        going = "deletionTimestamp" in volume["metadata"]
        if is_ours and released and not going and volume["spec"]["persistentVolumeReclaimPolicy"] == "Delete":
            self._volumes.destroy(volume)
            self._mirror.delete(VOLUMES, None, volume["metadata"]["name"], uid=volume["metadata"]["uid"])
