"""Clusters as values: the seven components of one zone or more, in any state."""

from dataclasses import replace
from datetime import UTC, datetime

from lifecycle.decide import phases_of
from lifecycle.model import Component, Kind, Person, Place, Ref, Target
from lifecycle.observed import Discovery, Inventory, Observed, Part
from lifecycle.operation import Goal, Operation
from lifecycle.plan import Plan
from lifecycle.volumes import Claim, Snapshot, SnapshotClass, Volume
from lifecycle.workloads import Container, Pod, Probe, Workload, WorkloadState

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
ALICE = Person("T0TML", "U0ALICE")
OPS = Place("T0TML", "C0OPS")
TARGET = Target("eks-prod", "ml550")

SETS = {
    Component.NOSQL: ("cass-set", Probe(15, 5, 5), True, 10),
    Component.LOG: ("log-set", None, True, 10),
    Component.SQL: ("mysql-set", Probe(30, 5, 3), True, 10),
    Component.CACHE: ("cache-set", None, False, 3),
    Component.REPORTING: ("reporting-set", None, False, 10),
}
TEMPLATES = {Component.NOSQL: ("nosqlvol",), Component.SQL: ("sqlvol",)}
DEPLOYMENTS = {Component.CM: ("cm-deploy", Probe(5, 5, 3), 30), Component.TM: ("tm-deploy", Probe(120, 10, 90), 30)}


def workload(component: Component, zone: int = 0, **changes: object) -> Workload:
    """One of the reference cluster's workloads (domain, section 1)."""
    if component in SETS:
        name, probe, ordered, grace = SETS[component]
        kind = Kind.STATEFUL_SET
    else:
        name, probe, grace = DEPLOYMENTS[component]
        kind, ordered = Kind.DEPLOYMENT, False
    name = f"{name}-{zone}"
    values: dict[str, object] = {
        "ref": Ref(kind, name),
        "component": component,
        "zone": zone,
        "uid": f"uid-{name}",
        "selector": {"app": name},
        "replicas": 1,
        "grace": grace,
        "probe": probe,
        "ordered": ordered,
        "claims": TEMPLATES.get(component, ()),
    }
    return Workload(**{**values, **changes})  # type: ignore[arg-type]


def pods(one: Workload, count: int, *, ready: bool = True) -> tuple[Pod, ...]:
    return tuple(
        Pod(f"{one.ref.name}-{n}", f"uid-{one.ref.name}-{n}", "Running", ready, False, (Container("main", ready),))
        for n in range(count)
    )


def down(one: Workload, remembered: int | None = 1) -> WorkloadState:
    return WorkloadState(one.uid, generation=2, observed_generation=2, remembered=remembered)


def ready(one: Workload, count: int = 1) -> WorkloadState:
    return WorkloadState(one.uid, count, 1, 1, count, count, count, count, pods=pods(one, count))


def unready(one: Workload, count: int = 1) -> WorkloadState:
    return WorkloadState(one.uid, count, 1, 1, count, 0, count, 0, pods=pods(one, count, ready=False))


def leaving(one: Workload, count: int = 1) -> WorkloadState:
    """Scaled to zero, its pods still ending."""
    return WorkloadState(one.uid, 0, 2, 2, count, 0, 0, 0, remembered=count, pods=pods(one, count))


def unseen(one: Workload, count: int = 1) -> WorkloadState:
    """Scaled up, and its controller has not looked yet."""
    return WorkloadState(one.uid, count, 3, 2, 0, 0, 0, 0, remembered=count)


STATES = {"down": down, "ready": ready, "unready": unready, "leaving": leaving, "unseen": unseen}

CLAIMS = (
    Claim("nosqlvol-cass-set-0-0", "uid-c1", "Bound", "pvc-1", "10Gi", ("ReadWriteOnce",), "nosql-storage-class", NOW),
    Claim("sqlvol-mysql-set-0-0", "uid-c2", "Bound", "pvc-2", "20Gi", ("ReadWriteOnce",), "sql-storage-class", NOW),
)

ADDRESS = ("203.0.113.7",)
PARTS = (
    Part(Ref(Kind.SERVICE, "cass-svc-0"), "uid-s1"),
    Part(Ref(Kind.SERVICE, "tm-svc"), "uid-s2", addresses=ADDRESS),
    Part(Ref(Kind.SECRET, "mysql-secret"), "uid-s3"),
    Part(Ref(Kind.CONFIG_MAP, "cm-properties"), "uid-s4"),
)


def volume_of(claim: Claim, **changes: object) -> Volume:
    """The one behind the claim, of a storage class without a reclaimPolicy."""
    made = Volume(
        claim.volume, f"uid-{claim.volume}", "Delete", claim=claim.name, claim_uid=claim.uid, driver=claim.driver
    )
    return replace(made, storage_class=claim.storage_class, **changes)  # type: ignore[arg-type]


CSI = "csi.example.com"
SNAPSHOT_CLASSES = (SnapshotClass("csi-snapshots", CSI, "Delete"),)


def csi_inventory(found: Discovery) -> Inventory:
    """The same on storage that cuts snapshots."""
    volumes = (
        volume_of(claim, driver=CSI, is_csi=True, capacity=claim.capacity)
        for claim in found.observed.claims
        if claim.volume
    )
    return Inventory(tuple(volumes), PARTS, SNAPSHOT_CLASSES, may_execute=True)


def inventory(found: Discovery) -> Inventory:
    """A volume behind each claim that has one, and the parts."""
    return Inventory(tuple(volume_of(claim) for claim in found.observed.claims if claim.volume), PARTS)


def discovery(
    states: dict[Component, WorkloadState] | None = None,
    *,
    workloads: tuple[Workload, ...] | None = None,
    mode: str = "tethered",
    declared: dict[tuple[Component, int], int] | None = None,
) -> Discovery:
    """The reference cluster, all ready but for ``states``."""
    found = workloads or tuple(workload(component) for component in Component)
    overrides = states or {}
    seen = {one.ref: overrides.get(one.component) or ready(one, one.replicas) for one in found}
    return Discovery(
        target=TARGET,
        name="prod",
        mode=mode,
        release="5.5.2",
        workloads=found,
        observed=Observed(NOW, seen, CLAIMS),
        declared=declared or {},
    )


def operation(goal: Goal, identity: str = "op-000001", phase: str | None = None) -> Operation:
    return Operation(
        id=identity,
        verb=goal.verb,
        cluster="prod",
        target=TARGET,
        requester=ALICE,
        place=OPS,
        goal=goal,
        phase=phase or phases_of(goal)[0].name,
        begun_at=NOW,
        reason="patching",
    )


def planned(operation: Operation) -> tuple[Operation, Plan]:
    """An operation with a plan to begin it by."""
    return operation, Plan(operation.verb, operation.target, operation.goal, (), ())


def snapshot_of(name: str, claim: str, made_by: str) -> Snapshot:
    """One of which no more is known."""
    return Snapshot(name, "", claim, made_by)
