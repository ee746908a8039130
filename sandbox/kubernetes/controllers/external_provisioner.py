"""Volumes for claims that have none, with the bytes that they ask for: what provisioners do, in-tree ones as well."""

import uuid

from sandbox.kubernetes.controllers import storage_faults
from sandbox.kubernetes.controllers.csi_driver import Driver, Refusal
from sandbox.kubernetes.controllers.data_sources import Foreign, Source, source_of
from sandbox.kubernetes.controllers.owners import is_terminating, key_of
from sandbox.kubernetes.controllers.podstatus import NODE
from sandbox.kubernetes.controllers.provisioning import (
    AWS_IN_TREE,
    CSI_FINALIZER,
    IN_TREE_FINALIZER,
    PROVISIONER,
    is_csi,
    new_volume,
)
from sandbox.kubernetes.controllers.recorder import Recorder
from sandbox.kubernetes.controllers.retries import Again, Retries
from sandbox.kubernetes.controllers.snapshotting import Trouble, annotations
from sandbox.kubernetes.controllers.work import Key, Work
from sandbox.kubernetes.resources import CLAIMS, STORAGE_CLASSES, VOLUMES, Object
from sandbox.kubernetes.store import Event, Store
from sandbox.kubernetes.volumes import Volumes

SECRETS = tuple(f"volume.kubernetes.io/provisioner-deletion-secret-{key}" for key in ("name", "namespace"))
PROVISIONING = 1.0
"""Simulated seconds."""


class Provisioner:
    """Acts on claims that the claims' controller has given to a provisioner; what fails is tried again, ever later."""

    def __init__(self, store: Store, volumes: Volumes, driver: Driver, work: Work) -> None:
        self._store = store
        self._volumes = volumes
        self._driver = driver
        self._work = work
        self._retries = Retries()
        self._identity = uuid.uuid4()

    def concerned(self, event: Event) -> list[Key]:
        if event.resource is not CLAIMS or event.type == "DELETED":
            return []
        is_new = event.previous is None or PROVISIONER not in annotations(event.previous)
        is_given = PROVISIONER in annotations(event.object) and is_new
        is_repaired = bool(event.previous) and storage_faults.differ(event.object, event.previous)
        return [key_of(event.object)] if is_given or is_repaired else []

    def reconcile(self, key: Key) -> None:
        claim = self._store.find(CLAIMS, *key)
        if claim is None or is_terminating(claim) or claim["spec"].get("volumeName"):
            self._retries.forget(key)
            return
        storage_class = self._store.find(STORAGE_CLASSES, None, claim["spec"].get("storageClassName") or "")
        if storage_class is None or annotations(claim).get(PROVISIONER) != storage_class["provisioner"]:
            return
        recorder = Recorder(self._store, f"{storage_class['provisioner']}_{NODE}_{self._identity}")
        try:
            self._provide(claim, storage_class, recorder)
        except (Trouble, Refusal) as trouble:
            recorder.warning(CLAIMS, claim, "ProvisioningFailed", str(trouble))
            self._work.again(self, key, self._retries.after(key))
        except Again:
            return
        else:
            self._retries.forget(key)

    def _provide(self, claim: Object, storage_class: Object, recorder: Recorder) -> None:
        """Raises Trouble, Refusal, Again while it goes on."""
        message = f'External provisioner is provisioning volume for claim "{"/".join(map(str, key_of(claim)))}"'
        recorder.normal(CLAIMS, claim, "Provisioning", message)
        try:
            source = source_of(self._store, claim, storage_class)
        except Foreign:
            message = "Assuming an external populator will provision the volume"
            Recorder(self._store, "external-provisioner").normal(CLAIMS, claim, "Provisioning", message)
            return
        if not self._work.has_waited(self, key_of(claim), claim["metadata"]["uid"], PROVISIONING):
            raise Again("the storage has been asked")
        volume = self._made(claim, storage_class, source)
        message = f"Successfully provisioned volume {volume['metadata']['name']}"
        recorder.normal(CLAIMS, claim, "ProvisioningSucceeded", message)

    def _made(self, claim: Object, storage_class: Object, source: Source | None) -> Object:
        """The bytes before the object, for whoever sees the one reads the other."""
        provisioner = storage_class["provisioner"]
        volume = new_volume(claim, storage_class)
        if is_csi(provisioner):
            self._driver.provision(claim, volume, source)
            volume["metadata"]["finalizers"] = [CSI_FINALIZER]
            volume["metadata"]["annotations"] |= dict.fromkeys(SECRETS, "")
        else:
            self._volumes.make(volume)
        if provisioner == AWS_IN_TREE and volume["spec"]["persistentVolumeReclaimPolicy"] == "Delete":
            volume["metadata"]["finalizers"] = [IN_TREE_FINALIZER]
        return self._store.create(VOLUMES, volume, actor=provisioner)
