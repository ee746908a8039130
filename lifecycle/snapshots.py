"""Snapshot sets: what of a cluster is cut together, by which class, what is not and why, and what came of it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from lifecycle.model import KILLED, Kind, Ref
from lifecycle.quiescing import HotCommands, Quiescence
from lifecycle.volumes import Claim, Snapshot, SnapshotClass, Volume
from lifecycle.workloads import Exit


class Temperature(StrEnum):
    """Whether the pods were gone when it was cut: a cold set is of one moment, a hot one of one moment per volume."""

    COLD = "cold"
    HOT = "hot"


class Ending(StrEnum):
    """How the databases had ended when a set was cut."""

    CLEAN = "clean"
    KILLED = "killed, will recover on start"
    UNSEEN = "exit not seen"
    RUNNING = "running, will recover on start"


@dataclass(frozen=True)
class Member:
    """A claim that is cut, with the VolumeSnapshotClass to cut it with; ``policy`` is that class's deletionPolicy."""

    claim: str
    uid: str
    capacity: str
    driver: str
    snapshot_class: str
    policy: str

    @property
    def ref(self) -> Ref:
        return Claim.ref_of(self.claim)


@dataclass(frozen=True)
class Unsaved:
    """A claim that no set has, and why; ``is_wanted`` False: the configuration leaves it out."""

    claim: str
    why: str
    is_wanted: bool = False


@dataclass(frozen=True)
class Cutting:
    """What an operation cuts. ``before`` is how the databases of a cluster that was down already had ended."""

    temperature: Temperature
    members: tuple[Member, ...]
    unsaved: tuple[Unsaved, ...] = ()
    before: Ending | None = None
    commands: HotCommands | None = None
    """What is run around a hot cut."""

    def member(self, claim: str) -> Member | None:
        return next((member for member in self.members if member.claim == claim), None)


@dataclass(frozen=True)
class Clone:
    """A claim that is to be made of a snapshot, as the one was that was cut; ``uid`` and ``handle`` are the snapshot's.

    ``size`` is the restoreSize in bytes, ``capacity`` what the claim had; ``access_modes`` are in short form (RWO),
    ``labels`` those that its StatefulSet gives it.
    """

    claim: str
    snapshot: str
    uid: str
    handle: str
    size: int
    capacity: str
    storage_class: str
    access_modes: tuple[str, ...]
    mode: str
    labels: Mapping[str, str]

    @property
    def ref(self) -> Ref:
        return Claim.ref_of(self.claim)


@dataclass(frozen=True)
class SnapshotSet:
    """A set that was SEEN ready to restore from; ``id`` is that of the operation that took it.

    ``capture`` is the sha256 of the cluster's objects as they were written down with it.
    """

    id: str
    temperature: Temperature
    ending: Ending
    taken_at: datetime
    members: tuple[Snapshot, ...]
    unsaved: tuple[Unsaved, ...]
    capture: str
    quiescence: Quiescence | None = None
    """What came of the commands around a hot cut; None where there were none."""

    @property
    def size(self) -> int:
        """Bytes that restoring it takes at least."""
        return sum(member.size for member in self.members)


def name_of(operation: str, claim: str) -> str:
    """The VolumeSnapshot of the claim in the set that the operation takes."""
    return f"tml-{operation}-{claim}"


def ref_of(operation: str, claim: str) -> Ref:
    return Ref(Kind.SNAPSHOT, name_of(operation, claim))


def choose(
    claims: Sequence[Claim],
    volumes: Mapping[str, Volume],
    classes: Sequence[SnapshotClass] | None,
    excluded: Collection[str],
) -> tuple[tuple[Member, ...], tuple[Unsaved, ...]]:
    """What of these claims can be cut, and what is not and why.

    ``volumes`` are by claim, ``classes`` None where the cluster knows no snapshots, ``excluded`` the names of claims
    that the configuration leaves out.
    """
    members: list[Member] = []
    unsaved: list[Unsaved] = []
    for claim in claims:
        found = _chosen(claim, volumes.get(claim.name), classes, is_excluded=claim.name in excluded)
        if isinstance(found, Member):
            members.append(found)
        else:
            unsaved.append(found)
    return tuple(members), tuple(unsaved)


def _chosen(
    claim: Claim, volume: Volume | None, classes: Sequence[SnapshotClass] | None, *, is_excluded: bool
) -> Member | Unsaved:
    if is_excluded:
        return Unsaved(claim.name, "left out by the configuration (snapshot: false)")
    if volume is None:
        return Unsaved(claim.name, "has no volume yet, so there is nothing in it")
    if not volume.is_csi:
        return Unsaved(claim.name, _not_csi(volume), is_wanted=True)
    if classes is None:
        why = "this Kubernetes knows no snapshots (snapshot.storage.k8s.io): install the external-snapshotter"
        return Unsaved(claim.name, f"{why} with its CRDs", is_wanted=True)
    of_driver = [one for one in classes if one.driver == volume.driver]
    default = [one for one in of_driver if one.is_default]
    if len(default) > 1 or (not default and len(of_driver) != 1):
        return Unsaved(claim.name, _no_one_class(volume, of_driver, default), is_wanted=True)
    (chosen,) = default or of_driver
    return Member(claim.name, claim.uid, volume.capacity, volume.driver, chosen.name, chosen.policy)


def _not_csi(volume: Volume) -> str:
    """In-tree plugins cut none, nor do provisioners like nfs-subdir-external-provisioner (domain, section 6)."""
    what = volume.driver or "an unknown kind of volume"
    return f"its storage ({what}) is no CSI driver and cuts no snapshots: move the data to a class whose driver does"


def _no_one_class(volume: Volume, found: Sequence[SnapshotClass], default: Sequence[SnapshotClass]) -> str:
    note = "annotate one with snapshot.storage.kubernetes.io/is-default-class: true"
    if not found:
        return f"there is no VolumeSnapshotClass for its driver {volume.driver}: make one"
    if default:
        return f"several VolumeSnapshotClasses of {volume.driver} are the default one ({_names(default)}): leave one"
    return f"{volume.driver} has several VolumeSnapshotClasses ({_names(found)}) and none is the default: {note}"


def _names(classes: Sequence[SnapshotClass]) -> str:
    return ", ".join(sorted(one.name for one in classes))


def ending(exits: Sequence[Exit], unseen: Sequence[str]) -> Ending:
    """Of databases that were taken down: an exit that nobody saw proves nothing."""
    if any(exit_.code == KILLED for exit_ in exits):
        return Ending.KILLED
    return Ending.UNSEEN if unseen else Ending.CLEAN
