"""What a namespace holds: its TML workloads, found by what their containers say of themselves."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from lifecycle.errors import Forbidden, Gone, NothingFound
from lifecycle.kube import paths, read
from lifecycle.kube.answers import Json
from lifecycle.kube.door import Door
from lifecycle.kube.owners import owners
from lifecycle.kube.parallel import together
from lifecycle.kube.paths import PICTURED, Resource
from lifecycle.model import CLAIM_NAME, Component, Ref, Target
from lifecycle.observed import Discovery
from lifecycle.topology import arranged
from lifecycle.volumes import Claim
from lifecycle.workloads import Owner, Workload

SCALERS = (Resource.SCALED_OBJECTS, Resource.AUTOSCALERS)


async def discover(door: Door, target: Target, at: datetime) -> Discovery:
    """Read the namespace once, everything at the same time. Raises NothingFound."""
    resources = (*PICTURED, *SCALERS)
    found = await together(_read(door, resource, target.namespace) for resource in resources)
    lists = {resource: objects or [] for resource, objects in zip(resources, found, strict=True)}
    unread = tuple(resource.plural for resource, objects in zip(resources, found, strict=True) if objects is None)
    return replace(discovered(target, lists, at), unread=unread)


async def _read(door: Door, resource: Resource, namespace: str) -> list[Json] | None:
    """The objects; of a SCALER none where its API is not installed, and None where it may not be read."""
    try:
        answer = await door.get(paths.all_of(resource, namespace))
    except (Gone, Forbidden) as error:
        if resource not in SCALERS:
            raise
        return [] if isinstance(error, Gone) else None
    return answer.get("items") or []


async def scalers(door: Door, namespace: str, refs: Sequence[Ref]) -> dict[Ref, tuple[Owner, ...]]:
    """Who scales workloads of these names, as far as the objects of KEDA and the autoscalers tell, where readable."""
    found = await together(_read(door, resource, namespace) for resource in SCALERS)
    lists = {resource: objects or [] for resource, objects in zip(SCALERS, found, strict=True)}
    return {ref: _owners(ref, {"metadata": {"name": ref.name}}, lists) for ref in refs}


def discovered(target: Target, lists: Mapping[Resource, list[Json]], at: datetime) -> Discovery:
    """The cluster that these objects are. Raises NothingFound when none of them is a TML workload."""
    objects = dict(_tml_objects(lists))
    found = {ref: read.workload(ref.kind, one, _owners(ref, one, lists)) for ref, one in objects.items()}
    topology = arranged(workload for workload in found.values() if workload)
    strange = tuple(str(ref) for ref in sorted(objects) if found[ref] is None)
    orphans = tuple(_orphans(lists))
    if not topology:
        raise NothingFound(_nothing(target, strange), orphans)
    ordered = [objects[workload.ref] for workload in topology]
    return Discovery(
        target=target,
        name=_first(ordered, "TMG_CLUSTER_NAME") or target.namespace,
        mode=_first(ordered, "TMG_CLUSTER_MODE"),
        release=_first(ordered, "TMG_RELEASE_VERSION"),
        workloads=topology.workloads,
        observed=read.observed(topology, lists, at),
        declared=_declared(topology, objects),
        strange=strange,
        orphans=orphans,
    )


def _orphans(lists: Mapping[Resource, list[Json]]) -> Iterator[Claim]:
    """Claims with the names that the vendor gives them, without the StatefulSet that they were made for."""
    sets = {read.name_of(one) for one in lists[Resource.STATEFUL_SETS]}
    for found in sorted(lists[Resource.CLAIMS], key=read.name_of):
        claim = read.claim(found)
        parts = CLAIM_NAME.fullmatch(claim.name)
        if parts and parts["set"] not in sets:
            yield claim


def _tml_objects(lists: Mapping[Resource, list[Json]]) -> Iterator[tuple[Ref, Json]]:
    for kind, resource in paths.WORKLOADS.items():
        for found in lists[resource]:
            if read.is_tml(found):
                yield Ref(kind, read.name_of(found)), found


def _owners(ref: Ref, found: Json, lists: Mapping[Resource, list[Json]]) -> tuple[Owner, ...]:
    return owners(ref.kind, found, lists[Resource.SCALED_OBJECTS], lists[Resource.AUTOSCALERS])


def _first(workloads: Iterable[Json], variable: str) -> str:
    return next((value for one in workloads if (value := read.environment(one).get(variable))), "")


def _declared(topology: Iterable[Workload], objects: Mapping[Ref, Json]) -> dict[tuple[Component, int], int]:
    counts: dict[tuple[Component, int], int] = {}
    for workload in topology:
        if workload.component is Component.CM:
            counts |= read.declared_counts(objects[workload.ref], workload.zone)
    return counts


def _nothing(target: Target, strange: tuple[str, ...]) -> str:
    look = f"Look with `kubectl -n {target.namespace} get statefulsets,deployments`"
    if strange:
        return (
            f"{target} holds nothing this bot can handle: {', '.join(strange)} have a TMGC_TYPE it does not know or "
            f"a selector with matchExpressions. {look}."
        )
    return (
        f"{target} holds no TML workload: no StatefulSet and no Deployment there has TMGC_TYPE in its environment. "
        f"{look}, and check the context and the namespace in the configuration."
    )
