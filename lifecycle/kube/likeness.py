"""How the pods of a claim run: image, pull secrets, user, nodes; out of the live workload, else out of the capture."""

from collections.abc import Iterable, Iterator, Mapping

from lifecycle.errors import Invalid
from lifecycle.kube import paths, read
from lifecycle.kube.answers import Json
from lifecycle.kube.capture import Reader
from lifecycle.kube.door import Door
from lifecycle.kube.paths import Resource
from lifecycle.model import Kind, Ref
from lifecycle.operation import Operation
from lifecycle.verification import Likeness, Toleration
from lifecycle.workloads import Workload


async def likenesses(
    door: Door, namespace: str, captures: Reader, taken: Operation, captured: str
) -> Mapping[str, Likeness]:
    """By claim. The capture is read only where something is not live: it holds Secrets."""
    answer = await door.get(paths.all_of(Resource.STATEFUL_SETS, namespace))
    live = {Ref(Kind.STATEFUL_SET, read.name_of(one)): one for one in answer.get("items") or []}
    found = dict(_of(taken, live))
    if all(claim.name in found for claim in taken.goal.claims):
        return found
    return {**dict(_of(taken, await _captured(captures, taken, captured))), **found}


async def _captured(captures: Reader, taken: Operation, sha256: str) -> Mapping[Ref, Json]:
    """Nothing where it is not there, or not what was written: then nothing is known of it."""
    try:
        return await captures.read(taken.id, sha256, taken.goal.copies)
    except Invalid:
        return {}


def _of(taken: Operation, objects: Mapping[Ref, Json]) -> Iterator[tuple[str, Likeness]]:
    for claim in taken.goal.claims:
        workload = next((one for one in taken.goal.topology if one.owns_claim(claim.name)), None)
        found = objects.get(workload.ref) if workload else None
        likeness = of(found, workload, claim.name) if workload and found else None
        if likeness:
            yield claim.name, likeness


def of(found: Json, workload: Workload, claim: str) -> Likeness | None:
    """Of the container that mounts the claim's template; None where none does."""
    template = next((one for one in workload.claims if claim.startswith(f"{one}-{workload.ref.name}-")), "")
    for container in read.containers_of(found):
        for mount in container.get("volumeMounts") or []:
            if mount.get("name") == template and container.get("image"):
                return _likeness(read.spec_of(read.template_of(found)), container, str(mount.get("mountPath", "")))
    return None


def _likeness(pod: Json, container: Json, mount: str) -> Likeness:
    """A container's own identity comes before its pod's (API reference, SecurityContext)."""
    identity = {**(pod.get("securityContext") or {}), **(container.get("securityContext") or {})}
    return Likeness(
        image=str(container["image"]),
        mount=mount,
        pull_secrets=_names(pod.get("imagePullSecrets") or []),
        user=identity.get("runAsUser"),
        group=identity.get("runAsGroup"),
        fs_group=identity.get("fsGroup"),
        node_selector={str(key): str(value) for key, value in (pod.get("nodeSelector") or {}).items()},
        tolerations=tuple(
            Toleration(*(str(one.get(key) or "") for key in ("key", "operator", "value", "effect")))
            for one in pod.get("tolerations") or []
        ),
    )


def _names(references: Iterable[Json]) -> tuple[str, ...]:
    return tuple(str(one["name"]) for one in references if one.get("name"))
