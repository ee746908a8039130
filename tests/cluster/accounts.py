"""A service account with the rights that are documented and no others, as a person sets it up for the bot."""

import json
from pathlib import Path
from typing import Any

import yaml

from sandbox.kubernetes.resources import NAMESPACES, of_kind
from tests.cluster.client import Access, Client, until
from tests.cluster.mirror import path_of

Json = dict[str, Any]
RBAC = "/apis/rbac.authorization.k8s.io/v1"
FILES = Path(__file__).parent.parent.parent / "deploy" / "rbac"
OPERATING, REMOVING = "role.yaml", "remove.yaml"
"""The files there: enough to stop and start, and what a stop needs besides that removes."""
SNAPSHOTTING, VERIFYING, DELETING, PURGING = "snapshot.yaml", "verify.yaml", "delete.yaml", "purge.yaml"
GROUPING, CHECKING = "group.yaml", "check.yaml"
"""What snapshots need beyond the first, what a test and a delete need then, and what a purge needs after a delete's."""
EXECUTING = "check.yaml"
"""What a flush before a cold snapshot needs, where nosql is to be flushed."""
COPYING = "captures.yaml"
"""What it takes besides to copy captures, and to bind a set anew."""
COPIED_TO = "tml-captures"
"""As that file calls the namespace."""
NAME = "tml-bot"
"""The service account, as they call it."""


def documents(*names: str) -> list[Json]:
    """What these files have, in the order in which it can be created."""
    return [one for name in names for one in yaml.safe_load_all(FILES.joinpath(name).read_text())]


def documented_rules() -> list[Json]:
    """What the bot says that it needs to stop and start."""
    role = next(one for one in documents(OPERATING) if one["kind"] == "Role")
    rules: list[Json] = role["rules"]
    return rules


async def make_namespace(client: Client, name: str) -> None:
    """Returns when pods can be made in it."""
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    answer = await client.ask("POST", path_of(NAMESPACES, None), body)
    assert answer.status in (201, 409), answer.text
    await until(client, f"/api/v1/namespaces/{name}/serviceaccounts/default", lambda it: it.status == 200)


async def account(client: Client, namespace: str) -> Access:
    """The bot's service account, in the namespace itself; where it is there already, the same with a new token."""
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts"
    await client.ask("POST", path, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": NAME}})
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
    answer = await client.create(f"{path}/{NAME}/token", request)
    return client.access.as_user(answer.body["status"]["token"])


def copies_of(namespace: str) -> str:
    """The namespace that captures of the cluster there are copied to."""
    return f"{namespace}-copies"


def user_of(namespace: str) -> str:
    """What the API server calls that account."""
    return f"system:serviceaccount:{namespace}:{NAME}"


async def grant(client: Client, namespace: str, rules: list[Json]) -> None:
    """Give the account of the namespace these rules there."""
    role, binding = (one for one in documents(OPERATING))
    for made in (role | {"rules": rules}, binding):
        await client.create(*_meant(made, namespace))


async def grant_documented(client: Client, namespace: str, *names: str) -> list[str]:
    """Create what these files have, for this namespace and its account; the paths of what is in no namespace.

    What is there already, of an earlier namespace of this name, is left as it is.
    """
    outside = []
    for made in documents(*names):
        path, body = _meant(made, namespace)
        answer = await client.ask("POST", path, body)
        assert answer.status in (201, 409), answer.text
        if "namespace" not in body["metadata"]:
            outside.append(f"{path}/{body['metadata']['name']}")
    return outside


def _meant(found: Json, namespace: str) -> tuple[str, Json]:
    """With the namespace in place of the documented ones, and in the name of what is in none; where to create it."""
    made: Json = json.loads(json.dumps(found))
    metadata, kind = made["metadata"], f"{made['kind'].lower()}s"
    for subject in made.get("subjects", []):
        subject["namespace"] = namespace
    if "namespace" in metadata:
        where = metadata["namespace"] = copies_of(namespace) if metadata["namespace"] == COPIED_TO else namespace
        return f"{RBAC}/namespaces/{where}/{kind}", made
    metadata["name"] += f"-{namespace}"
    if "roleRef" in made:
        made["roleRef"]["name"] += f"-{namespace}"
    return f"{RBAC}/{kind}", made


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
