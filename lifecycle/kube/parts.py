"""Services, Secrets and ConfigMaps as values; of the last two nothing but their metadata is looked at."""

from collections.abc import Iterable, Iterator

from lifecycle.kube import read
from lifecycle.kube.answers import Json
from lifecycle.kube.paths import PARTS
from lifecycle.kube.read import Lists
from lifecycle.model import Kind, Ref
from lifecycle.observed import Part

OWN = "tml-bot/"
"""Prefix of our own labels and annotations."""
SERVICE_ACCOUNT = "kubernetes.io/service-account.name"
"""Annotation of a Secret that Kubernetes fills with a token (API reference, service-account-token)."""


def part(kind: Kind, found: Json) -> Part:
    return Part(
        ref=Ref(kind, read.name_of(found)),
        uid=read.uid_of(found),
        made_by=read.made_by(found),
        addresses=tuple(_addresses(found)) if kind is Kind.SERVICE else (),
        written_by=read.written_by(found),
    )


def _addresses(service: Json) -> Iterator[str]:
    for entry in (read.status_of(service).get("loadBalancer") or {}).get("ingress") or []:
        if address := entry.get("ip") or entry.get("hostname"):
            yield str(address)


def parts(refs: Iterable[Ref], lists: Lists) -> tuple[Part, ...]:
    """Those of them that are there."""
    wanted = set(refs)
    found = (part(kind, one) for kind, resource in PARTS.items() for one in lists[resource])
    return tuple(sorted((one for one in found if one.ref in wanted), key=lambda one: one.ref))


def bare(found: Json) -> Json:
    """Without what people put into annotations: `kubectl apply` keeps the whole manifest there, values too."""
    metadata = read.metadata(found)
    notes = {key: value for key, value in read.annotations_of(found).items() if key.startswith((OWN, SERVICE_ACCOUNT))}
    return {"metadata": {**metadata, "annotations": notes, "managedFields": []}}
