"""What was seen of a TML cluster, as values: all of it at one moment, and what belongs to it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from lifecycle.model import Component, Kind, Ref, Target
from lifecycle.volumes import Claim, Content, GroupSnapshot, Snapshot, SnapshotClass, Volume
from lifecycle.workloads import Exit, Pod, Workload, WorkloadState


@dataclass(frozen=True)
class Part:
    """A Service, Secret or ConfigMap of the cluster; ``addresses`` are those that a load balancer gave a Service."""

    ref: Ref
    uid: str
    made_by: str = ""
    addresses: tuple[str, ...] = ()
    written_by: str = ""
    namespace: str = ""
    """Of a piece of a capture that lies elsewhere than in the cluster's own namespace: where."""


@dataclass(frozen=True)
class Difference:
    """In which fields an object is not as it was captured; never what is in them.

    ``fixed`` are those of them that Kubernetes lets nobody change.
    """

    ref: Ref
    fields: tuple[str, ...]
    fixed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Address:
    """Where a load balancer makes a Service to be found: ``before`` it was removed, or left, and ``now``."""

    service: str
    before: tuple[str, ...]
    now: tuple[str, ...] = ()
    """Empty: none yet."""


class Forwarding(StrEnum):
    """Whether a log stream goes to a destination outside of the cluster."""

    FORWARDED = "forwarded"
    NOT_FORWARDED = "not forwarded"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Stream:
    """A stream of the log service; an empty name stands for all that have no setting of their own."""

    name: str
    forwarding: Forwarding


@dataclass(frozen=True)
class Inventory:
    """What belongs to a cluster beside its workloads, read once: volumes behind its claims, parts, log streams."""

    volumes: tuple[Volume, ...] = ()
    parts: tuple[Part, ...] = ()
    snapshot_classes: tuple[SnapshotClass, ...] | None = None
    """None: the cluster does not serve snapshot.storage.k8s.io."""
    streams: tuple[Stream, ...] = ()
    may_execute: bool = False
    """Whether Kubernetes lets the bot run a command in the cluster's pods."""


@dataclass(frozen=True)
class Scratch:
    """What a restore test made, by the names that it gives: clones, the volumes behind them, the pods of its checks."""

    claims: tuple[Claim, ...] = ()
    volumes: tuple[Volume, ...] = ()
    pods: tuple[Pod, ...] = ()
    free: tuple[Volume, ...] = ()
    """Volumes of nobody, which Kubernetes may bind to a clone's claim in place of a clone."""

    def claim(self, name: str) -> Claim | None:
        return next((one for one in self.claims if one.name == name), None)

    def pod(self, name: str) -> Pod | None:
        return next((one for one in self.pods if one.name == name), None)

    def volume_of(self, claim: str) -> Volume | None:
        return next((one for one in self.volumes if one.claim == claim), None)

    def seen(self, ref: Ref) -> object:
        """The object, whatever it is; None where there is none."""
        match ref.kind:
            case Kind.POD:
                return self.pod(ref.name)
            case Kind.VOLUME:
                return next((one for one in self.volumes if one.name == ref.name), None)
            case _:
                return self.claim(ref.name)


@dataclass(frozen=True)
class Observed:
    """A full picture of one moment. A kind that could not be read makes no picture at all."""

    at: datetime
    workloads: Mapping[Ref, WorkloadState]
    claims: tuple[Claim, ...] = ()
    exits: tuple[Exit, ...] = ()
    volumes: tuple[Volume, ...] = ()
    """Those that the goal names; only what captures or restores looks at them, and at what follows."""
    parts: tuple[Part, ...] = ()
    snapshots: tuple[Snapshot, ...] = ()
    """Those of the set that the goal takes, or of the sets that a purge is about."""
    contents: tuple[Content, ...] = ()
    """Those that a purge is about."""
    groups: tuple[GroupSnapshot, ...] = ()
    """The VolumeGroupSnapshots of these sets, where they were cut as groups."""
    group_contents: tuple[Content, ...] = ()
    """Those that a purge is about."""
    capture: str = ""
    """The sha256 of the goal's capture, once every piece of it was seen in one of its namespaces."""
    lacking: tuple[str, ...] = ()
    """Of these namespaces those in which this capture is not whole."""
    scratch: Scratch = Scratch()
    """What the goal's restore test made."""

    def __getitem__(self, workload: Workload) -> WorkloadState:
        return self.state_of(workload.ref)

    def state_of(self, ref: Ref) -> WorkloadState:
        return self.workloads.get(ref, WorkloadState(uid=None))

    def claim(self, name: str) -> Claim | None:
        return next((claim for claim in self.claims if claim.name == name), None)

    def volume(self, name: str) -> Volume | None:
        return next((volume for volume in self.volumes if volume.name == name), None)

    def snapshot(self, name: str) -> Snapshot | None:
        return next((snapshot for snapshot in self.snapshots if snapshot.name == name), None)

    def group(self, name: str) -> GroupSnapshot | None:
        return next((group for group in self.groups if group.name == name), None)

    def group_content(self, name: str) -> Content | None:
        return next((content for content in self.group_contents if content.name == name), None)

    def members(self, group: str) -> tuple[Snapshot, ...]:
        """The snapshots that were cut with this VolumeGroupSnapshot."""
        return tuple(snapshot for snapshot in self.snapshots if group and snapshot.group == group)

    def content(self, name: str) -> Content | None:
        return next((content for content in self.contents if content.name == name), None)

    def part(self, ref: Ref) -> Part | None:
        return next((part for part in self.parts if part.ref == ref), None)

    def with_state(self, ref: Ref, state: WorkloadState) -> "Observed":
        """The same picture but for one workload."""
        return replace(self, workloads={**self.workloads, ref: state})


@dataclass(frozen=True)
class Discovery:
    """What a namespace holds, read once.

    ``declared`` has cm's TMGC_*_COUNT by component and zone; ``strange`` names workloads whose TMGC_TYPE or selector
    the bot cannot read.
    """

    target: Target
    name: str
    mode: str
    release: str
    workloads: tuple[Workload, ...]
    observed: Observed
    declared: Mapping[tuple[Component, int], int] = field(default_factory=dict)
    strange: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    """What should be there and is not, in words: see preflight.absent."""
    orphans: tuple[Claim, ...] = ()
    """Claims that are a TML component's by their names, and whose StatefulSet is not there."""
    unread: tuple[str, ...] = ()
    """Kinds that may own replica counts and that the bot has no right to list."""
