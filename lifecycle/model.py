"""What a TML cluster is, as values: workloads, pods, claims and what was seen of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum


class Verb(StrEnum):
    """What can be asked for."""

    STOP = "stop"
    START = "start"
    RESTART = "restart"


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

KILLED = 137
"""The exit code of a container that was still running when its grace period ended (128 + SIGKILL)."""


class Kind(StrEnum):
    """The Kubernetes kinds that run a component."""

    STATEFUL_SET = "StatefulSet"
    DEPLOYMENT = "Deployment"


@dataclass(frozen=True, order=True)
class Ref:
    """A workload within its namespace."""

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
    rolls_out: bool = True
    """False where the update strategy is OnDelete: a changed template then restarts nothing."""

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


@dataclass(frozen=True)
class Exit:
    """How a database container ended, as it was seen before its pod went away."""

    pod: str
    pod_uid: str
    container: str
    code: int


@dataclass(frozen=True)
class Observed:
    """A full picture of one moment. A kind that could not be read makes no picture at all."""

    at: datetime
    workloads: Mapping[Ref, WorkloadState]
    claims: tuple[Claim, ...] = ()
    exits: tuple[Exit, ...] = ()

    def __getitem__(self, workload: Workload) -> WorkloadState:
        return self.workloads.get(workload.ref, WorkloadState(uid=None))

    def with_state(self, ref: Ref, state: WorkloadState) -> "Observed":
        """The same picture but for one workload."""
        return replace(self, workloads={**self.workloads, ref: state})


class Action(StrEnum):
    """What a step does to a workload."""

    SCALE_TO_ZERO = "scale-to-zero"
    SCALE_UP = "scale-up"
    ROLLOUT_RESTART = "rollout-restart"


@dataclass(frozen=True, order=True)
class Step:
    """One write to one workload; ``replicas`` is the count that is taken away, asked for or kept."""

    action: Action
    workload: Ref
    replicas: int

    @property
    def key(self) -> str:
        """Unique within an operation: the same step tried again is the same step."""
        return f"{self.action} {self.workload}"


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
    unread: tuple[str, ...] = ()
    """Kinds that may own replica counts and that the bot has no right to list."""
