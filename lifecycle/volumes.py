"""Where a TML cluster's data are, as values: claims, the volumes behind them, snapshots of these."""

from dataclasses import dataclass
from datetime import datetime

from lifecycle.model import Kind, Ref


@dataclass(frozen=True)
class Claim:
    """A PersistentVolumeClaim in the columns and short forms (RWO, Terminating) of `kubectl get pvc`.

    ``driver`` is who provisioned its volume.
    """

    name: str
    uid: str
    status: str
    volume: str = ""
    capacity: str = ""
    access_modes: tuple[str, ...] = ()
    storage_class: str = ""
    created_at: datetime | None = None
    driver: str = ""
    epoch: int = 0
    made_by: str = ""
    mounted_by: tuple[str, ...] = ()
    """The pods, of whatever workload, that mount it."""
    goes_with: tuple[str, ...] = ()
    """The uids of its owners: Kubernetes removes it with the last of them."""
    grouped_by: str = ""
    """The operation that put it into the volume group of its set, the last one that did."""

    TERMINATING = "Terminating"
    LOST = "Lost"

    @property
    def ref(self) -> Ref:
        return self.ref_of(self.name)

    def has_lost(self, volume: "Volume | None") -> bool:
        """Whether the volume that it names, None where there is none, is gone or another claim's.

        One that is nobody's, or reserved for a name without a uid, Kubernetes binds to the claim yet.
        """
        return bool(self.volume) and (volume is None or volume.claim_uid not in ("", self.uid))

    @staticmethod
    def ref_of(name: str) -> Ref:
        return Ref(Kind.CLAIM, name)


@dataclass(frozen=True)
class Volume:
    """A PersistentVolume: what is behind a claim, and outlives it where ``policy`` (reclaim policy) is Retain.

    ``claim`` and ``claim_uid`` are its claimRef's name and uid, ``handle`` what the storage's driver knows it by,
    ``is_csi`` whether that driver is a CSI one (only those cut snapshots), ``kept_by`` the operation that set it to
    Retain and ``policy_before`` what it was set from.
    """

    name: str
    uid: str
    policy: str
    phase: str = "Bound"
    claim: str = ""
    claim_uid: str = ""
    driver: str = ""
    handle: str = ""
    capacity: str = ""
    storage_class: str = ""
    kept_by: str = ""
    policy_before: str = ""
    is_csi: bool = False
    created_at: datetime | None = None
    provisioner: str = ""
    """Who made it for a claim; empty where a person did."""

    RETAIN = "Retain"

    @property
    def ref(self) -> Ref:
        return Ref(Kind.VOLUME, self.name)

    @property
    def is_retained(self) -> bool:
        """Whether its data stay when its claim goes."""
        return self.policy == self.RETAIN

    def is_made_for(self, claim: Claim) -> bool:
        """Whether it is bound to this very claim and nothing was in it before: a free volume may be bound to any claim.

        Kubernetes takes one that is free before it has one made, whatever the claim wants it to be made of.
        """
        is_its = (self.claim, self.claim_uid) == (claim.name, claim.uid)
        is_newer = bool(self.created_at and claim.created_at and self.created_at >= claim.created_at)
        return is_its and is_newer and bool(self.provisioner)


@dataclass(frozen=True)
class SnapshotClass:
    """A VolumeSnapshotClass: who cuts with it, and what becomes of the data with the object (``policy``)."""

    name: str
    driver: str
    policy: str
    is_default: bool = False


@dataclass(frozen=True)
class Snapshot:
    """A VolumeSnapshot with its content, as it was seen.

    Nothing that was written to the volume after ``cut_at`` (creationTime) is in it; ``is_ready`` (readyToUse) may come
    much later. ``content`` and what follows are set only where snapshot and content name each other. ``size``
    (restoreSize, bytes) is what a claim made of it must have at least, ``handle`` what the driver knows it by,
    ``policy`` the content's deletionPolicy. ``error`` is tried again by the controller and final for nobody but us.
    """

    name: str
    uid: str
    claim: str
    made_by: str = ""
    cut_at: datetime | None = None
    is_ready: bool = False
    content: str = ""
    policy: str = ""
    handle: str = ""
    driver: str = ""
    size: int = 0
    mode: str = ""
    error: str = ""
    deleting: bool = False
    group: str = ""
    """The VolumeGroupSnapshot that it is a member of; who made that made it."""

    @property
    def ref(self) -> Ref:
        return Ref(Kind.SNAPSHOT, self.name)

    @property
    def is_saved(self) -> bool:
        """Whether a claim can be made of it, and it outlives its namespace."""
        return self.is_ready and self.size > 0 and bool(self.content and self.handle) and self.policy == Volume.RETAIN


@dataclass(frozen=True)
class Content:
    """A VolumeSnapshotContent: what is behind a VolumeSnapshot, and outlives it where ``policy`` is Retain.

    ``snapshot`` and ``snapshot_uid`` are whom it names (empty where that is of another namespace), ``handle`` what the
    driver knows it by.
    """

    name: str
    uid: str
    policy: str
    snapshot: str = ""
    snapshot_uid: str = ""
    handle: str = ""
    driver: str = ""
    deleting: bool = False

    @property
    def ref(self) -> Ref:
        return Ref(Kind.CONTENT, self.name)


@dataclass(frozen=True)
class GroupSnapshot(Snapshot):
    """A VolumeGroupSnapshot with its content: of no claim and no size of its own, its members have them.

    The bytes of all members are this content's: they go with it, and with no member's own.
    """

    @property
    def ref(self) -> Ref:
        return self.ref_of(self.name)

    @staticmethod
    def ref_of(name: str) -> Ref:
        return Ref(Kind.GROUP, name)

    @property
    def is_saved(self) -> bool:
        """Whether it is ready, and outlives its namespace."""
        return self.is_ready and bool(self.content and self.handle) and self.policy == Volume.RETAIN


@dataclass(frozen=True)
class GroupContent(Content):
    """A VolumeGroupSnapshotContent: the same of a VolumeGroupSnapshot."""

    @property
    def ref(self) -> Ref:
        return Ref(Kind.GROUP_CONTENT, self.name)
