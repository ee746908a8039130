"""Who else writes a workload's replica count."""

from collections.abc import Iterable, Iterator

from lifecycle.kube.answers import Json
from lifecycle.kube.read import annotations_of, labels_of, metadata, name_of, spec_of
from lifecycle.model import Kind
from lifecycle.workloads import Owner, OwnerKind

KEDA_PAUSED = "autoscaling.keda.sh/paused"
"""While it is "true" KEDA leaves the count alone (KEDA, Concepts, Pausing autoscaling)."""


def owners(
    kind: Kind, workload: Json, scaled_objects: Iterable[Json], autoscalers: Iterable[Json]
) -> tuple[Owner, ...]:
    found = [
        *_scaling(OwnerKind.KEDA, kind, workload, (one for one in scaled_objects if not _is_paused(one))),
        *_scaling(OwnerKind.HPA, kind, workload, autoscalers),
        *_named(workload),
        *_controllers(workload),
    ]
    return tuple(dict.fromkeys(found))


def _is_paused(scaled_object: Json) -> bool:
    return annotations_of(scaled_object).get(KEDA_PAUSED, "").lower() == "true"


def _scaling(owner: OwnerKind, kind: Kind, workload: Json, scalers: Iterable[Json]) -> Iterator[Owner]:
    """A ScaledObject's reference means a Deployment when it names no kind (KEDA, ScaledObject specification)."""
    for scaler in scalers:
        target = spec_of(scaler).get("scaleTargetRef") or {}
        if (target.get("kind") or Kind.DEPLOYMENT, target.get("name")) == (kind, name_of(workload)):
            yield Owner(owner, name_of(scaler))


def _named(workload: Json) -> Iterator[Owner]:
    """Those that mark what they manage with labels and annotations."""
    labels, annotations = labels_of(workload), annotations_of(workload)
    tracking = annotations.get("argocd.argoproj.io/tracking-id", "").split(":")[0]
    if argo := labels.get("argocd.argoproj.io/instance") or tracking:
        yield Owner(OwnerKind.ARGO_CD, argo)
    for label in ("kustomize.toolkit.fluxcd.io/name", "helm.toolkit.fluxcd.io/name"):
        if flux := labels.get(label):
            yield Owner(OwnerKind.FLUX, flux)
    release = annotations.get("meta.helm.sh/release-name", "")
    if release or labels.get("app.kubernetes.io/managed-by") == "Helm":
        yield Owner(OwnerKind.HELM, release or labels.get("app.kubernetes.io/instance", ""))


def _controllers(workload: Json) -> Iterator[Owner]:
    for reference in metadata(workload).get("ownerReferences") or []:
        if reference.get("controller"):
            yield Owner(OwnerKind.OPERATOR, f"{reference.get('kind')}/{reference.get('name')}")
