"""Snapshot sets: what of a cluster is cut together, by which class, what is not and why, and what came of it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from lifecycle.model import KILLED, Kind, Ref
from lifecycle.quiescing import HotCommands, Quiescence
from lifecycle.volumes import Claim, GroupSnapshot, Snapshot, SnapshotClass, Volume
from lifecycle.workloads import Exit

FLUSHING = timedelta(seconds=60)
"""How long `nodetool flush` may take in the pods of one StatefulSet; then the operation goes on without it."""
MAY_NOT_EXECUTE = "exec is not allowed (get and create pods/exec)"
"""Why nothing is flushed where the bot may run no command in a pod."""


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
    memories: tuple[Ref, ...] = ()
    """The StatefulSets of nosql that are taken down for it: what they hold in memory is to be flushed before."""
    may_flush: bool = False
    """Whether Kubernetes allowed to run a command in their pods when this was planned."""

    def flushes(self, ref: Ref) -> bool:
        """Whether the workload is flushed before it goes down."""
        return self.may_flush and ref in self.memories

    commands: HotCommands | None = None
    """What is run around a hot cut."""
    group_class: str = ""
    """The VolumeGroupSnapshotClass by which a hot set is cut as one group; empty: each volume by itself."""
    apart: str = ""
    """Why a hot set is not cut as a group."""

    def member(self, claim: str) -> Member | None:
        return next((member for member in self.members if member.claim == claim), None)


@dataclass(frozen=True)
class Grouping:
    """Whether volumes can be cut as a group: the VolumeGroupSnapshotClasses that there are, or why not."""

    classes: tuple[SnapshotClass, ...] = ()
    why_not: str = ""


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
    driver: str = ""
    is_lost: bool = False
    """Whether the recorded snapshot is gone, as with its namespace, so that another one is bound to its data."""

    @property
    def ref(self) -> Ref:
        return Claim.ref_of(self.claim)


@dataclass(frozen=True)
class Flush:
    """What came of flushing a StatefulSet of nosql before it went down; ``trouble`` empty: each of its pods was."""

    workload: Ref
    trouble: str = ""


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
    flushes: tuple[Flush, ...] = ()
    """Of nosql that was taken down for it."""
    group: GroupSnapshot | None = None
    """The VolumeGroupSnapshot that the members were cut with, of one moment; None: each was cut by itself."""
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


def group_name(operation: str) -> str:
    """The VolumeGroupSnapshot of the set that the operation takes."""
    return f"tml-{operation}"


def together(cutting: Cutting, grouping: Grouping) -> Cutting:
    """The same set as one group, where all of its volumes are of one driver that has a class for that; else why not."""
    drivers = sorted({member.driver for member in cutting.members})
    if why := grouping.why_not or _not_together(cutting.members, drivers):
        return replace(cutting, apart=why)
    chosen = one_of_driver(grouping.classes, drivers[0])
    if chosen is None:
        return replace(cutting, apart=no_one_class(grouping.classes, drivers[0], GROUP_CLASS))
    members = (replace(one, snapshot_class=chosen.name, policy=chosen.policy) for one in cutting.members)
    return replace(cutting, members=tuple(members), group_class=chosen.name)


def _not_together(members: Sequence[Member], drivers: Sequence[str]) -> str:
    if len(members) < 2:
        return "there is one volume only"
    return f"its volumes are of several drivers ({', '.join(drivers)})" if len(drivers) > 1 else ""


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
    if claim.has_lost(volume):
        return Unsaved(claim.name, f"its volume {claim.volume} is gone, or another claim's", is_wanted=True)
    if volume is None:
        return Unsaved(claim.name, "has no volume yet, so there is nothing in it")
    if not volume.is_csi:
        return Unsaved(claim.name, _not_csi(volume), is_wanted=True)
    if classes is None:
        why = "this Kubernetes knows no snapshots (snapshot.storage.k8s.io): install the external-snapshotter"
        return Unsaved(claim.name, f"{why} with its CRDs", is_wanted=True)
    chosen = one_of_driver(classes, volume.driver)
    if chosen is None:
        return Unsaved(claim.name, no_one_class(classes, volume.driver, SINGLE_CLASS), is_wanted=True)
    return Member(claim.name, claim.uid, volume.capacity, volume.driver, chosen.name, chosen.policy)


def _not_csi(volume: Volume) -> str:
    """In-tree plugins cut none, nor do provisioners like nfs-subdir-external-provisioner (domain, section 6)."""
    what = volume.driver or "an unknown kind of volume"
    return f"its storage ({what}) is no CSI driver and cuts no snapshots: move the data to a class whose driver does"


SINGLE_CLASS = ("VolumeSnapshotClass", "snapshot.storage.kubernetes.io/is-default-class")
GROUP_CLASS = ("VolumeGroupSnapshotClass", "groupsnapshot.storage.kubernetes.io/is-default-class")
"""A kind of class, and the annotation that makes one of it the default."""


def one_of_driver(classes: Sequence[SnapshotClass], driver: str) -> SnapshotClass | None:
    """The default class of the driver, or the only one that it has."""
    of_driver = [one for one in classes if one.driver == driver]
    found = [one for one in of_driver if one.is_default] or of_driver
    return found[0] if len(found) == 1 else None


def no_one_class(classes: Sequence[SnapshotClass], driver: str, words: tuple[str, str]) -> str:
    """Why there is none that could be chosen, and what to do."""
    kind, annotation = words
    found = [one for one in classes if one.driver == driver]
    default = [one for one in found if one.is_default]
    if not found:
        return f"there is no {kind} for its driver {driver}: make one"
    if default:
        return f"several {kind}es of {driver} are the default one ({_names(default)}): leave one"
    note = f"annotate one with {annotation}: true"
    return f"{driver} has several {kind}es ({_names(found)}) and none is the default: {note}"


def _names(classes: Sequence[SnapshotClass]) -> str:
    return ", ".join(sorted(one.name for one in classes))


def ending(exits: Sequence[Exit], unseen: Sequence[str]) -> Ending:
    """Of databases that were taken down: an exit that nobody saw proves nothing."""
    if any(exit_.code == KILLED for exit_ in exits):
        return Ending.KILLED
    return Ending.UNSEEN if unseen else Ending.CLEAN
