"""What the API says of itself: versions, groups, resources."""

from collections.abc import Sequence

from sandbox.kubernetes.resources import RESOURCES, Object, Resource

VERSION: Object = {
    "major": "1",
    "minor": "36",
    "gitVersion": "v1.36.3+sandbox",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "",
    "compiler": "",
    "platform": "linux/amd64",
}

# what a subresource takes and gives, where that is not the resource's own kind
_SCALE = {"kind": "Scale", "group": "autoscaling", "version": "v1"}
_SUBRESOURCES: dict[str, Object] = {
    "status": {"verbs": ["get", "patch", "update"]},
    "scale": {"verbs": ["get", "patch", "update"], **_SCALE},
    "finalize": {"verbs": ["update"]},
    "log": {"verbs": ["get"]},
    "exec": {"verbs": ["create", "get"], "kind": "PodExecOptions"},
}


def document(path: Sequence[str]) -> Object | None:
    """The answer to a discovery request for `/part/part`; None for whatever is not discovery."""
    match list(path):
        case ["version"]:
            return VERSION
        case ["api"]:
            return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
        case ["apis"]:
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(name) for name in _groups()]}
        case ["api", "v1"]:
            return _resource_list("", "v1")
        case ["apis", group] if group in _groups():
            return {"kind": "APIGroup", "apiVersion": "v1", **_group(group)}
        case ["apis", group, version] if any(_served(group, version)):
            return _resource_list(group, version)
        case _:
            return None


def knows(path: Sequence[str]) -> bool:
    """Whether the group and version are served: what is asked of others is answered in plain text."""
    match list(path):
        case ["apis", group, version, *_]:
            return bool(_served(group, version))
        case [first, *_]:
            return first in ("api", "apis")
        case _:
            return False


def _groups() -> list[str]:
    return list(dict.fromkeys(resource.group for resource in RESOURCES if resource.group))


def _group(name: str) -> Object:
    versions = dict.fromkeys(resource.version for resource in RESOURCES if resource.group == name)
    listed = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def _served(group: str, version: str) -> list[Resource]:
    return [resource for resource in RESOURCES if (resource.group, resource.version) == (group, version)]


def _resource_list(group: str, version: str) -> Object:
    resources = [row for resource in _served(group, version) for row in _rows(resource)]
    group_version = f"{group}/{version}" if group else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources}


def _rows(resource: Resource) -> list[Object]:
    shared = {"singularName": "", "namespaced": resource.namespaced, "kind": resource.kind}
    main = {**shared, "name": resource.plural, "singularName": resource.singular, "verbs": list(resource.verbs)}
    if resource.short_names:
        main["shortNames"] = list(resource.short_names)
    if resource.categories:
        main["categories"] = list(resource.categories)
    return [
        main,
        *({**shared, "name": f"{resource.plural}/{name}", **_SUBRESOURCES[name]} for name in resource.subresources),
    ]
