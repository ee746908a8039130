"""Who a request is from, and what they may do."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sandbox.kubernetes import status
from sandbox.kubernetes.resources import Object, Resource
from sandbox.kubernetes.status import ApiError


@dataclass(frozen=True)
class Role:
    """What is allowed, as an RBAC rule; `*` allows any. A subresource is written `statefulsets/scale`."""

    api_groups: tuple[str, ...]
    resources: tuple[str, ...]
    verbs: tuple[str, ...]
    namespaces: tuple[str, ...] | None = None
    """None: everywhere, and cluster-scoped resources too."""
    resource_names: tuple[str, ...] = ()

    def allows(self, wish: "Wish") -> bool:
        return (
            _matches(self.api_groups, wish.group)
            and _matches(self.resources, wish.resource)
            and _matches(self.verbs, wish.verb)
            and (self.namespaces is None or wish.namespace in self.namespaces)
            and (not self.resource_names or wish.name in self.resource_names)
        )

    @classmethod
    def of(cls, rule: Mapping[str, Iterable[str] | None]) -> "Role":
        """From the keys of a Role's rule (apiGroups, resources, verbs, resourceNames) and `namespaces`."""
        namespaces = rule.get("namespaces")
        return cls(
            tuple(rule.get("apiGroups") or ("",)),
            tuple(rule.get("resources") or ()),
            tuple(rule.get("verbs") or ()),
            None if namespaces is None else tuple(namespaces),
            tuple(rule.get("resourceNames") or ()),
        )


@dataclass(frozen=True)
class Identity:
    """A user. Without rules (None) they may do everything."""

    name: str
    rules: tuple[Role, ...] | None = None

    def may(self, wish: "Wish") -> bool:
        return self.rules is None or any(rule.allows(wish) for rule in self.rules)


ADMIN = Identity("sandbox-admin")


@dataclass(frozen=True)
class Wish:
    """One request as access rules see it; `resource` includes the subresource, `namespace` is empty cluster-wide."""

    verb: str
    group: str
    resource: str
    namespace: str = ""
    name: str = ""


def _matches(allowed: tuple[str, ...], value: str) -> bool:
    return "*" in allowed or value in allowed


def identify(authorization: str, tokens: Mapping[str, Identity]) -> Identity:
    """Who bears this Authorization header; without one it is the admin. Raises ApiError (401)."""
    if not authorization:
        return ADMIN
    scheme, _, token = authorization.partition(" ")
    found = tokens.get(token.strip()) if scheme.lower() == "bearer" else None
    if found is None:
        raise status.unauthorized()
    return found


def refusal(identity: Identity, resource: Resource, wish: Wish) -> ApiError:
    where = f' in the namespace "{wish.namespace}"' if wish.namespace else " at the cluster scope"
    why = f'User "{identity.name}" cannot {wish.verb} resource "{wish.resource}" in API group "{wish.group}"{where}'
    return status.forbidden(resource, wish.name, why)


def review_access(identity: Identity, review: Object) -> Object:
    """A SelfSubjectAccessReview, answered."""
    spec = review.get("spec") or {}
    asked = spec.get("resourceAttributes")
    if not asked and not spec.get("nonResourceAttributes"):
        raise status.bad_request("exactly one of nonResourceAttributes or resourceAttributes must be specified")
    allowed = identity.may(_wish(asked)) if asked else True
    return {**review, "metadata": {}, "status": {"allowed": allowed}}


def _wish(asked: Mapping[str, str]) -> Wish:
    resource = "/".join(filter(None, (asked.get("resource", ""), asked.get("subresource"))))
    return Wish(
        asked.get("verb", ""), asked.get("group", ""), resource, asked.get("namespace", ""), asked.get("name", "")
    )


def review_rules(identity: Identity, review: Object) -> Object:
    """A SelfSubjectRulesReview, answered for the namespace it names."""
    namespace = str((review.get("spec") or {}).get("namespace") or "")
    everything = (Role(("*",), ("*",), ("*",)),)
    rules = [
        _shown(rule)
        for rule in (everything if identity.rules is None else identity.rules)
        if rule.namespaces is None or namespace in rule.namespaces
    ]
    found = {"resourceRules": rules, "nonResourceRules": [], "incomplete": False}
    return {**review, "metadata": {}, "status": found}


def _shown(rule: Role) -> Object:
    shown: Object = {
        "verbs": list(rule.verbs),
        "apiGroups": list(rule.api_groups),
        "resources": list(rule.resources),
    }
    if rule.resource_names:
        shown["resourceNames"] = list(rule.resource_names)
    return shown
