"""What a TML cluster is, as values: workloads, pods, claims and what was seen of them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum


class Verb(StrEnum):
    """What can be asked for."""

    STOP = "stop"
    START = "start"
    RESTART = "restart"
    DELETE = "delete"
    RESTORE = "restore"
    SNAPSHOT = "snapshot"
    RESTORE_IN_PLACE = "restore-in-place"
    REMOVE = "remove"
    """A stop with --remove."""
    RETURN = "return"
    """A start of what that took away."""
    VERIFY = "verify"
    PURGE = "purge"

    @property
    def words(self) -> str:
        """What people call it; what they type is a stop, a start or a restore."""
        longer = {
            Verb.REMOVE: "stop and remove",
            Verb.RETURN: "start",
            Verb.RESTORE_IN_PLACE: "restore in place",
        }
        return longer.get(self, self.value)


class Component(StrEnum):
    """A part of a TML cluster, by the word people use for it."""

    NOSQL = "nosql"
    LOG = "log"
    CM = "cm"
    SQL = "sql"
    CACHE = "cache"
    TM = "tm"
    REPORTING = "reporting"


DATABASES = frozenset({Component.NOSQL, Component.SQL})
"""Components whose containers lose work when they are killed instead of stopped (domain, section 5)."""

CLAIM_NAME = re.compile(r"(?P<component>nosql|log|sql|cache|reporting)vol-(?P<set>.+)-\d+")
"""A claim of the vendor's, by the StatefulSet that it is of (domain, section 1)."""

KILLED = 137
"""The exit code of a container that was still running when its grace period ended (128 + SIGKILL)."""


class Kind(StrEnum):
    """The Kubernetes kinds that a TML cluster is made of; the first two run its components."""

    STATEFUL_SET = "StatefulSet"
    DEPLOYMENT = "Deployment"
    SERVICE = "Service"
    SECRET = "Secret"
    CONFIG_MAP = "ConfigMap"
    CLAIM = "PersistentVolumeClaim"
    VOLUME = "PersistentVolume"
    SNAPSHOT = "VolumeSnapshot"
    POD = "Pod"
    """Only those of checks, which no controller makes."""
    CONTENT = "VolumeSnapshotContent"


@dataclass(frozen=True, order=True)
class Ref:
    """An object by kind and name: within the cluster's namespace, or a PersistentVolume, which is in none."""

    kind: Kind
    name: str

    def __str__(self) -> str:
        return f"{self.kind.lower()}/{self.name}"


@dataclass(frozen=True)
class Target:
    """The identity of a TML cluster: object names are the same in all of them.

    ``context`` is one of the kubeconfig; None means the cluster the bot itself runs in.
    """

    context: str | None
    namespace: str

    def __str__(self) -> str:
        return f"{self.context or 'in-cluster'}/{self.namespace}"


@dataclass(frozen=True)
class Probe:
    """A readiness probe's times, in seconds."""

    initial_delay: int = 0
    period: int = 10
    failure_threshold: int = 3

    @property
    def longest(self) -> int:
        """Seconds a container may take before Kubernetes gives up on it becoming ready in time."""
        return self.initial_delay + self.failure_threshold * self.period


class OwnerKind(StrEnum):
    """Who else writes a workload's replica count."""

    KEDA = "KEDA"
    HPA = "HorizontalPodAutoscaler"
    ARGO_CD = "Argo CD"
    FLUX = "Flux"
    HELM = "Helm"
    OPERATOR = "operator"


@dataclass(frozen=True)
class Owner:
    """One of them, with the name of the object that says so."""

    kind: OwnerKind
    name: str


@dataclass(frozen=True)
class Workload:
    """What has to be known of a workload even when the cluster no longer shows it.

    ``zone`` is the zone's index, ``replicas`` the count asked for when it was discovered, ``grace`` the longest
    termination grace period of its pods in seconds, ``ordered`` whether its pods come and go one after another,
    ``claims`` the names of its claim templates.
    """

    ref: Ref
    component: Component
    zone: int
    uid: str
    selector: Mapping[str, str]
    replicas: int
    grace: int = 30
    probe: Probe | None = None
    ordered: bool = False
    claims: tuple[str, ...] = ()
    owners: tuple[Owner, ...] = ()
    deletes_claims_when_scaled: bool = False
    deletes_claims_when_deleted: bool = False
    rolls_out: bool = True
    """False where the update strategy is OnDelete: a changed template then restarts nothing."""

    def owns_claim(self, name: str) -> bool:
        """`<template>-<set>-<ordinal>`, ordinals beyond the present count too: their data is as dear."""
        prefixes = (f"{template}-{self.ref.name}-" for template in self.claims)
        return any(name.startswith(prefix) and name[len(prefix) :].isdecimal() for prefix in prefixes)

    @property
    def label(self) -> str:
        """How people call it: the component, and its zone where there may be several."""
        return self.component if self.zone == 0 else f"{self.component}-{self.zone}"


@dataclass(frozen=True)
class Container:
    """A container's state: ``waiting`` is Kubernetes' reason for not running, ``exit_code`` set once it ended."""

    name: str
    ready: bool = False
    restarts: int = 0
    waiting: str | None = None
    exit_code: int | None = None


@dataclass(frozen=True)
class Pod:
    """A pod that belongs to a workload by the workload's selector."""

    name: str
    uid: str
    phase: str
    ready: bool = False
    deleting: bool = False
    containers: tuple[Container, ...] = ()
    made_by: str = ""
    reason: str = ""
    """Why Kubernetes itself ended it: DeadlineExceeded, Evicted."""


@dataclass(frozen=True)
class WorkloadState:
    """A workload as it was seen. Counts are Kubernetes' own, see the API's StatefulSetStatus and DeploymentStatus."""

    uid: str | None
    """None: there is no such object, though pods of it may be left."""
    replicas: int = 0
    generation: int = 0
    observed_generation: int = 0
    status_replicas: int = 0
    ready: int = 0
    updated: int = 0
    available: int = 0
    revision_settled: bool = True
    """For a StatefulSet: updateRevision equals currentRevision."""
    remembered: int | None = None
    """The last count above zero, as the bot wrote it on the object when it took it to zero."""
    epoch: int = 0
    """The highest epoch of an executor that stamped the object."""
    restarted_by: str | None = None
    """The id of the operation whose restart the pod template bears."""
    made_by: str = ""
    """The id of the operation that made the object from a capture."""
    written_by: str = ""
    """The id of the operation that wrote to the object last."""
    pods: tuple[Pod, ...] = ()

    @property
    def exists(self) -> bool:
        return self.uid is not None

    @property
    def is_up(self) -> bool:
        """Somebody asks for at least one replica."""
        return self.exists and self.replicas > 0

    @property
    def is_present(self) -> bool:
        """Something of it runs, or may still: `rollout status` would pass at once for zero replicas."""
        behind = self.exists and self.observed_generation < self.generation
        return self.is_up or behind or self.status_replicas > 0 or bool(self.pods)

    def is_ready(self, kind: Kind) -> bool:
        """All that is asked for is up, of the newest template and ready (kubectl's rollout rules)."""
        if not self.is_up or self.observed_generation < self.generation:
            return False
        if kind is Kind.STATEFUL_SET:
            return self.ready == self.replicas and self.revision_settled
        return self.updated == self.replicas and self.status_replicas == self.updated and self.available == self.updated


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

    TERMINATING = "Terminating"

    @property
    def ref(self) -> Ref:
        return self.ref_of(self.name)

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
class Part:
    """A Service, Secret or ConfigMap of the cluster; ``addresses`` are those that a load balancer gave a Service."""

    ref: Ref
    uid: str
    made_by: str = ""
    addresses: tuple[str, ...] = ()
    written_by: str = ""


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


@dataclass(frozen=True)
class Exit:
    """How a database container ended, as it was seen before its pod went away."""

    pod: str
    pod_uid: str
    container: str
    code: int


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
    capture: str = ""
    """The sha256 of the goal's capture, once every piece of it was seen."""
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

    def content(self, name: str) -> Content | None:
        return next((content for content in self.contents if content.name == name), None)

    def part(self, ref: Ref) -> Part | None:
        return next((part for part in self.parts if part.ref == ref), None)

    def with_state(self, ref: Ref, state: WorkloadState) -> "Observed":
        """The same picture but for one workload."""
        return replace(self, workloads={**self.workloads, ref: state})


class Action(StrEnum):
    """What a step does to its object."""

    SCALE_TO_ZERO = "scale-to-zero"
    SCALE_UP = "scale-up"
    ROLLOUT_RESTART = "rollout-restart"
    CAPTURE = "capture"
    CUT = "cut"
    """Of a claim: make its snapshot."""
    RETAIN = "retain"
    """Of a claim: let its snapshot's content outlive the namespace. The uid is the snapshot's."""
    KEEP = "keep"
    REMOVE = "remove"
    MAKE = "make"
    OVERWRITE = "overwrite"
    REBIND = "rebind"
    GIVE_BACK = "give-back"
    CLONE = "clone"
    """Of a scratch claim: make it, of its member's snapshot."""
    CHECK = "check"
    """Of a pod: make it, to look at the clone of the same name."""
    LET_GO = "let-go"
    """Of a clone's volume: let it go with its claim."""
    CLEAN = "clean"
    """Of a scratch claim or a check's pod: remove it."""
    RELEASE = "release"
    """Of a snapshot's content: let the data go with it."""
    GIVE_UP = "give-up"
    """Of a kept volume: its reclaim policy of before, with no claim left."""


@dataclass(frozen=True, order=True)
class Step:
    """One write to one object: to that with this ``uid`` and no namesake, or a new one where it is empty.

    ``replicas`` is the count that is taken away, asked for or kept.
    """

    action: Action
    ref: Ref
    replicas: int = 0
    uid: str = ""

    @property
    def key(self) -> str:
        """Unique within an operation: the same step tried again is the same step."""
        return f"{self.action} {self.ref}"


@dataclass(frozen=True)
class Traffic:
    """Whether the gateway answered, in one of four ways, with the address that was asked."""

    ANSWERS = "traffic answers"
    NO_ADDRESS = "pods ready, load balancer not yet"
    REFUSES = "the gateway answers, but not with 200"
    UNREACHABLE = "not reachable from the bot"

    verdict: str
    address: str = ""
    detail: str = ""


@dataclass(frozen=True)
class Finding:
    """One thing that keeps a workload from its goal: the object, Kubernetes' reason and message, its last log lines."""

    object: str
    reason: str
    message: str
    log: tuple[str, ...] = ()


@dataclass(frozen=True)
class Diagnosis:
    """Why a phase's end was not seen, most telling first."""

    findings: tuple[Finding, ...] = ()

    @property
    def headline(self) -> str:
        """Object and reason of what comes first, short enough for a phone."""
        if not self.findings:
            return "nothing conspicuous was found"
        first = self.findings[0]
        return f"{first.object}: {first.reason}"


@dataclass(frozen=True)
class Person:
    """Who asks, by Slack's ids; names are for reading and decide nothing."""

    team: str
    user: str

    def __str__(self) -> str:
        return f"{self.team}/{self.user}"


BOT = Person("", "tml-bot")
"""Who asks where nobody did: the bot, because time passed."""


@dataclass(frozen=True)
class Place:
    """Where something was asked for or is told: a channel, and a message in it if there is one."""

    team: str
    channel: str
    ts: str | None = None


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
