"""What the API says of itself: versions, groups, resources."""

from collections.abc import Sequence

from sandbox.kubernetes.resources import Object, Resource

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


class Discovery:
    """Of the resources that this server serves: without a CustomResourceDefinition its group is as unknown as any."""

    def __init__(self, served: Sequence[Resource]) -> None:
        self._resources = served

    def document(self, path: Sequence[str]) -> Object | None:
        """The answer to a discovery request for `/part/part`; None for whatever is not discovery."""
        match list(path):
            case ["version"]:
                return VERSION
            case ["api"]:
                return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
            case ["apis"]:
                groups = [self._group(name) for name in self._groups()]
                return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
            case ["api", "v1"]:
                return self._resource_list("", "v1")
            case ["apis", group] if group in self._groups():
                return {"kind": "APIGroup", "apiVersion": "v1", **self._group(group)}
            case ["apis", group, version] if self._served(group, version):
                return self._resource_list(group, version)
            case _:
                return None

    def knows(self, path: Sequence[str]) -> bool:
        """Whether the group is served: what is asked of others is answered in plain text."""
        match list(path):
            case ["apis", group, *_]:
                return group in self._groups()
            case [first, *_]:
                return first in ("api", "apis")
            case _:
                return False

    def serves(self, resource: Resource) -> bool:
        return resource in self._resources

    def _groups(self) -> list[str]:
        return list(dict.fromkeys(resource.group for resource in self._resources if resource.group))

    def _group(self, name: str) -> Object:
        versions = dict.fromkeys(resource.version for resource in self._resources if resource.group == name)
        listed = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
        return {"name": name, "versions": listed, "preferredVersion": listed[0]}

    def _served(self, group: str, version: str) -> list[Resource]:
        return [resource for resource in self._resources if (resource.group, resource.version) == (group, version)]

    def _resource_list(self, group: str, version: str) -> Object:
        resources = [row for resource in self._served(group, version) for row in _rows(resource)]
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
