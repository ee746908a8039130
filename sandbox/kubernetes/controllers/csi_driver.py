"""The CSI drivers: what they can do with volumes and snapshots, how long it takes them, and what they refuse."""

import json
import uuid
from collections import Counter
from dataclasses import dataclass
from datetime import datetime

from sandbox.kubernetes.controllers import storage_faults
from sandbox.kubernetes.controllers.provisioning import is_csi
from sandbox.kubernetes.controllers.storage_faults import StorageFault
from sandbox.kubernetes.controllers.work import Work
from sandbox.kubernetes.resources import CLAIMS, STORAGE_CLASSES, VOLUMES, Object
from sandbox.kubernetes.store import Store
from sandbox.kubernetes.validation import quantity
from sandbox.kubernetes.volumes import Volumes

# Simulated seconds.
CUTTING = 0.5
UPLOADING = 2.0
SLOW_UPLOADING = 600.0
DELETING = 0.5
PATIENCE = 60.0
"""After which whoever called gives up on a driver that does not answer."""

NOT_FINAL = ("Canceled", "DeadlineExceeded", "Unavailable", "ResourceExhausted", "Aborted")


class Refusal(Exception):
    """What a driver answered instead of doing it, as gRPC words it."""

    def __init__(self, code: str, why: str) -> None:
        super().__init__(f"rpc error: code = {code} desc = {why}")
        self.is_final = code not in NOT_FINAL
        """Whether it is certain that nothing goes on in the storage any more."""


@dataclass(frozen=True)
class Snapshot:
    """One snapshot in the storage, whatever objects speak of it; `size` is the volume's, in bytes."""

    handle: str
    driver: str
    volume: str
    size: int
    created: datetime
    since: float
    """The same moment in simulated seconds."""
    group: str = ""

    @property
    def created_ns(self) -> int:
        return int(self.created.timestamp() * 1e9)


class Driver:
    """All drivers of the cluster in one; each knows only volumes and snapshots of its own name."""

    def __init__(self, store: Store, volumes: Volumes, work: Work) -> None:
        self._store = store
        self._volumes = volumes
        self._work = work
        self._by_name: dict[str, Snapshot] = {}
        self._refused: Counter[str] = Counter()

    def runs(self, driver: str) -> bool:
        """Whether there is such a driver here: something asks for its volumes, or has one."""
        wanted = {row["provisioner"] for row in self._store.rows(STORAGE_CLASSES)}
        made = {(row["spec"].get("csi") or {}).get("driver") for row in self._store.rows(VOLUMES)}
        kept = {snapshot.driver for snapshot in self._by_name.values()}
        return is_csi(driver) and driver in wanted | made | kept

    def faults(self, volume: str) -> frozenset[StorageFault]:
        """What the claim that a volume is bound to says."""
        return storage_faults.declared(self._claim(volume))

    def cut(self, name: str, driver: str, volume: str) -> Snapshot:
        """CreateSnapshot: the same name is the same snapshot. Raises Refusal."""
        known = self._by_name.get(name)
        if known is not None:
            return known
        found = self._existing(volume, driver)
        self._refuse(name, volume)
        made = self._kept(found, self._store.clock.now(), self._work.now(), "")
        self._by_name[name] = made
        return made

    def cut_all(self, name: str, driver: str, volumes: list[str]) -> list[Snapshot]:
        """CreateVolumeGroupSnapshot: all at one moment or none, under the group's name. Raises Refusal."""
        known = [each for each in self._by_name.values() if each.group == name]
        if known:
            return known
        found = [self._existing(volume, driver) for volume in volumes]
        for volume in volumes:
            self._refuse(f"{name}/{volume}", volume)
        now, since = self._store.clock.now(), self._work.now()
        made = [self._kept(each, now, since, name) for each in found]
        self._by_name |= {f"{name}/{each.volume}": each for each in made}
        return made

    def find(self, handle: str) -> Snapshot | None:
        return next((each for each in self._by_name.values() if each.handle == handle), None)

    def is_ready(self, snapshot: Snapshot) -> bool:
        """Whether it is uploaded."""
        faults = self.faults(snapshot.volume)
        if StorageFault.SNAPSHOT_NEVER_READY in faults:
            return False
        usual = 0.0 if snapshot.group else UPLOADING  # who can cut a group keeps it where it is
        takes = SLOW_UPLOADING if StorageFault.SNAPSHOT_SLOW in faults else usual
        return self._work.now() >= snapshot.since + takes

    def delete(self, handle: str) -> None:
        """DeleteSnapshot: what is not there is no error."""
        for name in [name for name, each in self._by_name.items() if each.handle == handle]:
            del self._by_name[name]
            self._volumes.drop(handle)

    def delete_all(self, group: str) -> None:
        """DeleteVolumeGroupSnapshot."""
        for snapshot in [each for each in self._by_name.values() if each.group == group]:
            self.delete(snapshot.handle)

    def provision(self, claim: Object, volume: Object, source: tuple[str, str] | None) -> None:
        """CreateVolume with a claim's bytes: `source` is ("snapshot" or "volume", handle). Raises Refusal."""
        if StorageFault.PROVISIONING_FAILS in storage_faults.declared(claim):
            raise Refusal("Internal", storage_faults.text(claim))
        if source is None:
            self._volumes.make(volume)
        elif source[0] == "volume":
            self._volumes.clone(self._existing(source[1], volume["spec"]["csi"]["driver"]), volume)
        elif self.find(source[1]) is None:
            raise Refusal("NotFound", f"there is no snapshot {source[1]}")
        else:
            self._volumes.restore(source[1], volume)

    def _refuse(self, name: str, volume: str) -> None:
        """Raises Refusal where the claim says so."""
        claim = self._claim(volume)
        faults = storage_faults.declared(claim)
        if StorageFault.SNAPSHOT_HANGS in faults:
            raise Refusal("DeadlineExceeded", "context deadline exceeded")
        if StorageFault.SNAPSHOT_FAILS in faults and self._refused[name] < storage_faults.times(claim):
            self._refused[name] += 1
            raise Refusal("Internal", storage_faults.text(claim))

    def _kept(self, volume: Object, now: datetime, since: float, group: str) -> Snapshot:
        """Cut now."""
        csi, handle = volume["spec"]["csi"], f"snap-{uuid.uuid4().hex[:17]}"
        if StorageFault.SNAPSHOT_EMPTY in self.faults(csi["volumeHandle"]):
            self._volumes.snapshot_folder(handle).mkdir(parents=True)
        else:
            self._volumes.cut(volume, handle)
        size = int(quantity(volume["spec"]["capacity"]["storage"]))
        return Snapshot(handle, csi["driver"], csi["volumeHandle"], size, now, since, group)

    def _existing(self, handle: str, driver: str) -> Object:
        found = self._find(handle)
        if found is None or found["spec"]["csi"]["driver"] != driver:
            raise Refusal("NotFound", f"there is no volume {handle}")
        return found

    def _find(self, handle: str) -> Object | None:
        rows = self._store.rows(VOLUMES)
        return next((row for row in rows if (row["spec"].get("csi") or {}).get("volumeHandle") == handle), None)

    def _claim(self, handle: str) -> Object | None:
        reference = ((self._find(handle) or {}).get("spec") or {}).get("claimRef")
        return self._store.find(CLAIMS, reference["namespace"], reference["name"]) if reference else None


def quoted(error: object) -> str:
    """As Go's %q writes a text inside another one."""
    return json.dumps(str(error), ensure_ascii=False)
