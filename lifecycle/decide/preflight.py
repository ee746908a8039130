"""What is looked at before anything changes, the same for every verb."""

from collections.abc import Iterable

from lifecycle.errors import Unsafe
from lifecycle.observed import Discovery
from lifecycle.workloads import OwnerKind, Workload

GITOPS = frozenset({OwnerKind.ARGO_CD, OwnerKind.FLUX, OwnerKind.HELM, OwnerKind.OPERATOR})


OPTIONAL = "reportingvol-"
"""Claims of a component that a cluster may well be without."""


def refuse_unsafe_scaling(workloads: Iterable[Workload]) -> None:
    """Raises Unsafe where changing the replica count deletes claims, or KEDA would change it back."""
    for workload in workloads:
        if workload.deletes_claims_when_scaled:
            raise Unsafe(
                f"{workload.ref} has persistentVolumeClaimRetentionPolicy.whenScaled: Delete, so scaling it to zero "
                f"deletes its volumes. Set it to Retain first: kubectl patch {workload.ref} --type merge "
                '-p \'{"spec":{"persistentVolumeClaimRetentionPolicy":{"whenScaled":"Retain"}}}\''
            )
        for owner in workload.owners:
            if owner.kind is OwnerKind.KEDA:
                raise Unsafe(
                    f"KEDA's ScaledObject {owner.name} owns the replica count of {workload.ref} and would set it "
                    "again. Pause it first: kubectl annotate scaledobject "
                    f"{owner.name} autoscaling.keda.sh/paused=true"
                )


def refuse_unsafe_removal(workloads: Iterable[Workload]) -> None:
    """Raises Unsafe where claims go when their StatefulSet does."""
    for workload in workloads:
        if workload.deletes_claims_when_deleted:
            raise Unsafe(
                f"{workload.ref} has persistentVolumeClaimRetentionPolicy.whenDeleted: Delete, so its claims would go "
                f"with it. Set it to Retain first: kubectl patch {workload.ref} --type merge "
                '-p \'{"spec":{"persistentVolumeClaimRetentionPolicy":{"whenDeleted":"Retain"}}}\''
            )


def absent(discovery: Discovery, known: Iterable[Workload]) -> tuple[str, ...]:
    """The workloads that an earlier operation knew, or that cm declares, and that nobody finds any more."""
    there = {workload.ref for workload in discovery.workloads}
    gone = [workload for workload in known if workload.ref not in there]
    places = {(workload.component, workload.zone) for workload in (*discovery.workloads, *gone)}
    told = [f"{workload.label} is gone: there is no {workload.ref} any more" for workload in gone]
    told += [
        f"claim {claim.name} is {claim.status}, and there is no StatefulSet for it any more"
        for claim in discovery.orphans
        if not claim.name.startswith(OPTIONAL)
    ]
    told += [
        f"{component} is missing: cm of zone {zone} declares {count}, and there is no workload for it"
        for (component, zone), count in discovery.declared.items()
        if count > 0 and (component, zone) not in places
    ]
    return tuple(told)


def warnings(discovery: Discovery) -> tuple[str, ...]:
    """What people should know although it stops nothing: other owners of the replica counts, unknown workloads."""
    told = list(discovery.absent)
    for workload in discovery.workloads:
        for owner in workload.owners:
            if owner.kind in GITOPS:
                told.append(f"{owner.kind} ({owner.name}) manages {workload.ref} and may set its replicas again")
            if owner.kind is OwnerKind.HPA:
                told.append(
                    f"HorizontalPodAutoscaler {owner.name} leaves {workload.ref} alone at zero and goes on afterwards"
                )
    told += [
        f"{name} has a TMGC_TYPE or a selector this bot cannot read and is left alone" for name in discovery.strange
    ]
    told += [
        f"whether one of the {kind} owns a replica count is not known: no right to list them"
        for kind in discovery.unread
    ]
    return tuple(told)
