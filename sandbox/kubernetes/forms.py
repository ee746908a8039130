"""In which form a client takes its answer: the object as it is, a table, or nothing of it but its metadata.

Measured on 1.36.3: what a form cannot be made of is a 406, whatever else the Accept header names.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from sandbox.kubernetes import status
from sandbox.kubernetes.resources import Object, Resource

TABLE = "Table"
METADATA = "PartialObjectMetadata"
METADATA_LIST = "PartialObjectMetadataList"

_GROUP = "meta.k8s.io"
_VERSIONS = ("v1", "v1beta1")
_JSON, _YAML, _PROTOBUF = "application/json", "application/yaml", "application/vnd.kubernetes.protobuf"
# yaml and protobuf are accepted and answered in JSON, which kubectl takes as well
_SERVED = (_JSON, _YAML, _PROTOBUF)
_STREAMED = (f"{_JSON};stream=watch", f"{_PROTOBUF};stream=watch")
_ANY = "*/*"


@dataclass(frozen=True)
class Form:
    """`kind` is empty for the object as it is."""

    kind: str = ""
    version: str = "v1"

    @property
    def api_version(self) -> str:
        return f"{_GROUP}/{self.version}"

    def metadata_of(self, obj: Object) -> Object:
        return {"kind": METADATA, "apiVersion": self.api_version, "metadata": obj["metadata"]}

    def metadata_of_all(self, rows: Iterable[Object], metadata: Object) -> Object:
        """A list of none has null for its items."""
        items = [self.metadata_of(row) for row in rows]
        return {"kind": METADATA_LIST, "apiVersion": self.api_version, "metadata": metadata, "items": items or None}


@dataclass(frozen=True)
class _Clause:
    media_type: str
    parameters: Mapping[str, str]

    @property
    def order(self) -> tuple[float, bool]:
        """What is wanted most comes first, and among equals what is named."""
        return -_number(self.parameters.get("q", "1")), self.media_type == _ANY

    @property
    def form(self) -> Form | None:
        """None for one that is not served."""
        asked = {key: self.parameters[key] for key in ("as", "g", "v") if key in self.parameters}
        if not asked:
            return Form()
        kinds = (METADATA, METADATA_LIST) if self.media_type == _PROTOBUF else (TABLE, METADATA, METADATA_LIST)
        kind, version = asked.get("as", ""), asked.get("v", "")
        return Form(kind, version) if kind in kinds and version in _VERSIONS and asked.get("g") == _GROUP else None


def negotiated(accept: str, verb: str) -> Form:
    """The first form among what a client accepts that is served at all. Raises ApiError (406)."""
    if not accept.strip():
        return Form()
    clauses = [one for one in _clauses(accept) if one.media_type in (*_SERVED, _ANY)]
    if not clauses:
        raise status.no_such_media_type([*_SERVED, *(_STREAMED if verb == "watch" else ())])
    for clause in sorted(clauses, key=lambda one: one.order):
        if clause.form is not None:
            return clause.form
    raise status.not_acceptable(f"only the following media types are accepted: {', '.join(_SERVED)}")


def _clauses(accept: str) -> Iterator[_Clause]:
    for part in accept.split(","):
        media_type, *parameters = (one.strip() for one in part.split(";"))
        pairs = (one.partition("=") for one in parameters)
        yield _Clause(media_type, {key.strip(): value.strip() for key, _, value in pairs})


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def is_a_list(resource: Resource) -> status.ApiError:
    """Metadata of one object was asked for where a list is answered."""
    return status.not_acceptable(
        f"you requested {METADATA}, but the requested object is a list ({_type(resource, 'List')})"
    )


def is_no_list(resource: Resource) -> status.ApiError:
    return status.not_acceptable(
        f"you requested {METADATA_LIST}, but the requested object is not a list ({_type(resource, '')})"
    )


def _type(resource: Resource, suffix: str) -> str:
    """The name of the server's own type: `*core.Secret`."""
    if resource.custom:
        return f"*unstructured.Unstructured{suffix}"
    return f"*{resource.group.partition('.')[0] or 'core'}.{resource.kind}{suffix}"
