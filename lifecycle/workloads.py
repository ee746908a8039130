"""What runs a TML cluster, as values: workloads, their pods, and who else writes their counts."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from lifecycle.model import Component, Kind, Ref
from lifecycle.quiescing import Quiescing


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
    flushed_by: str = ""
    """The id of the operation that tried last to flush its pods."""
    flush_trouble: str = ""
    """Why it did not flush every one of them."""
    quiescing: Quiescing | None = None
    """How far the commands around a hot cut are, that are run in a pod of it."""
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
class Exit:
    """How a database container ended, as it was seen before its pod went away."""

    pod: str
    pod_uid: str
    container: str
    code: int
