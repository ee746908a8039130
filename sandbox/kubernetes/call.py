"""A request to the API, read: what is asked for, of which object, by whom."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sandbox.kubernetes import status
from sandbox.kubernetes.access import Identity, Wish
from sandbox.kubernetes.forms import Form, negotiated
from sandbox.kubernetes.protobuf import PROTOBUF, decoded
from sandbox.kubernetes.resources import NAMESPACES, Resource, at_path

TRUE = ("1", "true", "True", "t", "T", "TRUE")
_CHANGING = ("create", "update", "patch", "delete", "deletecollection")
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


@dataclass(frozen=True)
class Target:
    """What a path means; `namespace` and `name` are empty where the path has none."""

    resource: Resource
    namespace: str = ""
    name: str = ""
    subresource: str = ""


@dataclass(frozen=True)
class Call:
    """One request for a resource."""

    identity: Identity
    user_agent: str
    method: str
    target: Target
    query: Mapping[str, str]
    content_type: str
    accept: str
    raw: bytes
    commands: Sequence[str] = ()
    """Every `command` of the query, for exec."""

    @property
    def verb(self) -> str:
        if self.method in ("GET", "HEAD"):
            return self._reading()
        verb = _VERBS.get(self.method, "")
        return "deletecollection" if verb == "delete" and not self.target.name else verb

    def _reading(self) -> str:
        if not self.target.subresource and self.query.get("watch") in TRUE:
            return "watch"
        return "get" if self.target.name else "list"

    @property
    def changes(self) -> bool:
        """Whether it means to write an object."""
        return self.verb in _CHANGING and self.target.resource.is_stored and self.target.subresource != "exec"

    @property
    def wish(self) -> Wish:
        target = self.target
        namespace, name = target.namespace, target.name
        if target.resource is NAMESPACES:
            # a role in a namespace may speak of that namespace
            namespace = name
        for part in self.query.get("fieldSelector", "").split(","):
            key, _, value = part.partition("=")
            if key == "metadata.name" and not name:
                name = value.removeprefix("=")
        return Wish(self.verb, target.resource.group, self.resource_path, namespace, name)

    @property
    def resource_path(self) -> str:
        """The plural, with the subresource where there is one."""
        target = self.target
        return f"{target.resource.plural}/{target.subresource}" if target.subresource else target.resource.plural

    @property
    def form(self) -> Form:
        """In which form the answer is wanted. Raises ApiError (406)."""
        return negotiated(self.accept, self.verb)

    @property
    def dry_run(self) -> bool:
        return self.query.get("dryRun") == "All"

    def body(self) -> Any:
        """The body as plain JSON; None when there is none. Raises ApiError (400)."""
        if not self.raw.strip():
            return None
        if self.content_type == PROTOBUF:
            return decoded(self.raw)
        try:
            return json.loads(self.raw)
        except ValueError as error:
            raise status.bad_request(f"error decoding the body: {error}") from None


def target_of(path: Sequence[str]) -> Target | None:
    """What `/api/v1/part/…` or `/apis/group/version/part/…` names; None for what is not served."""
    match list(path):
        case ["api", "v1", "namespaces", name, ("status" | "finalize") as subresource]:
            return _known(NAMESPACES, "", name, subresource)
        case ["api", version, *rest] if rest:
            return _target("", version, rest)
        case ["apis", group, version, *rest] if rest:
            return _target(group, version, rest)
        case _:
            return None


def _target(group: str, version: str, rest: list[str]) -> Target | None:
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2:
        namespace, rest = rest[1], rest[2:]
    resource = at_path(group, version, rest[0])
    if resource is None or len(rest) > 3 or (namespace and not resource.namespaced):
        return None
    if len(rest) > 1 and resource.namespaced and not namespace:
        return None
    name, subresource = [*rest[1:], "", ""][:2]
    return _known(resource, namespace, name, subresource)


def _known(resource: Resource, namespace: str, name: str, subresource: str) -> Target | None:
    if subresource and subresource not in resource.subresources:
        return None
    return Target(resource, namespace, name, subresource)
