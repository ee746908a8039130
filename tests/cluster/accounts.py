"""A service account with the rights of a Role and nothing else, as a person sets it up for the bot."""

from pathlib import Path
from typing import Any

import yaml

from sandbox.kubernetes.resources import NAMESPACES, of_kind
from tests.cluster.client import Access, Client, until
from tests.cluster.mirror import path_of

Json = dict[str, Any]
ROLE = Path(__file__).parent.parent.parent / "deploy" / "rbac" / "role.yaml"
RBAC = "/apis/rbac.authorization.k8s.io/v1"


def documented_rules() -> list[Json]:
    """What the bot says that it needs."""
    role = next(one for one in yaml.safe_load_all(ROLE.read_text()) if one["kind"] == "Role")
    rules: list[Json] = role["rules"]
    return rules


async def make_namespace(client: Client, name: str) -> None:
    """Returns when pods can be made in it."""
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    answer = await client.ask("POST", path_of(NAMESPACES, None), body)
    assert answer.status in (201, 409), answer.text
    await until(client, f"/api/v1/namespaces/{name}/serviceaccounts/default", lambda it: it.status == 200)


async def account(client: Client, home: str, name: str) -> Access:
    """A service account of the namespace ``home``; where it is there already, the same one with a new token."""
    path = f"/api/v1/namespaces/{home}/serviceaccounts"
    await client.ask("POST", path, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}})
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
    answer = await client.create(f"{path}/{name}/token", request)
    return client.access.as_user(answer.body["status"]["token"])


async def grant(client: Client, home: str, name: str, namespace: str, rules: list[Json]) -> None:
    """Give the account these rules in the namespace."""
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": name}, "rules": rules}
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": home}],
    }
    await client.create(f"{RBAC}/namespaces/{namespace}/roles", role)
    await client.create(f"{RBAC}/namespaces/{namespace}/rolebindings", binding)


async def apply(client: Client, manifests: list[Json]) -> None:
    """Create what is not there yet; what is shared by several clusters may be."""
    for manifest in manifests:
        resource = of_kind(manifest["apiVersion"], manifest["kind"])
        assert resource is not None, manifest["kind"]
        namespace = manifest["metadata"].get("namespace")
        if resource is NAMESPACES:
            await make_namespace(client, manifest["metadata"]["name"])
            continue
        answer = await client.ask("POST", path_of(resource, namespace), manifest)
        assert answer.status in (201, 409), answer.text
