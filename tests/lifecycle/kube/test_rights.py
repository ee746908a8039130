"""Which rights each verb needs, and that the documented Roles grant exactly those."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from lifecycle.kube.rights import (
    CLUSTER_WIDE,
    DELETING,
    GROUPING,
    NEEDED,
    PURGING,
    RESTORING,
    SNAPSHOTTING,
    UNGROUPING,
    VERIFYING,
    for_verb,
)
from lifecycle.model import Verb
from lifecycle.ports import Right
from sandbox.kubernetes import KubernetesSandbox
from sandbox.kubernetes.access import Identity, Role
from sandbox.tml import PROD_NAMESPACE
from tests.lifecycle.kube.conftest import OpenDoor, cluster_at

RBAC = Path(__file__).parents[3] / "deploy" / "rbac"


def rules(name: str, kind: str) -> list[dict[str, Any]]:
    documents = yaml.safe_load_all((RBAC / name).read_text())
    return [rule for document in documents if document["kind"] == kind for rule in document["rules"]]


def granted(found: list[dict[str, Any]]) -> Iterator[Right]:
    for rule in found:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                for name in rule.get("resourceNames") or [""]:
                    yield from (Right(verb, group, resource, name) for verb in rule["verbs"])


WIDER = {
    "snapshot.yaml": {*SNAPSHOTTING} - {*NEEDED},
    "verify.yaml": {*VERIFYING} - {*SNAPSHOTTING},
    "delete.yaml": {*DELETING, *RESTORING} - {*SNAPSHOTTING},
    "group.yaml": {*GROUPING} - {*SNAPSHOTTING},
    "purge.yaml": {*PURGING, *UNGROUPING} - {*DELETING, *RESTORING, *GROUPING},
}
"""Each file grants what role.yaml and snapshot.yaml do not; purge.yaml nothing that the ones before it do either."""


@pytest.mark.parametrize(("name", "wanted"), WIDER.items(), ids=list(WIDER))
def test_a_role_grants_what_its_verbs_need_beyond_the_roles_before_it_and_nothing_else(
    name: str, wanted: set[Right]
) -> None:
    of_the_cluster = {right for right in wanted if right.resource in CLUSTER_WIDE}
    assert {*granted(rules(name, "Role"))} == wanted - of_the_cluster
    assert {*granted(rules(name, "ClusterRole"))} == of_the_cluster


def test_the_role_for_stop_remove_grants_what_it_and_the_start_need_beyond_the_other_and_nothing_else() -> None:
    assert for_verb(Verb.REMOVE) == for_verb(Verb.RETURN), "nothing is removed that may not be made again"
    wanted = {*for_verb(Verb.REMOVE)} - {*NEEDED}
    assert {*granted(rules("remove.yaml", "Role"))} == wanted
    assert rules("remove.yaml", "ClusterRole") == []
    assert not [right for right in wanted if right.resource in ("persistentvolumeclaims", "persistentvolumes")]


@pytest.mark.parametrize("verb", [Verb.STOP, Verb.START, Verb.RESTART])
def test_stop_start_and_restart_need_no_more_than_before(verb: Verb) -> None:
    assert for_verb(verb) == NEEDED
    assert not any(right.resource in ("secrets", "configmaps", "persistentvolumes") for right in for_verb(verb))


async def test_with_all_roles_nothing_is_missing_and_without_the_last_delete_is_told_what(
    api: KubernetesSandbox, open_door: OpenDoor
) -> None:
    files = ("role.yaml", "snapshot.yaml", "delete.yaml")
    own = [Role.of({**rule, "namespaces": [PROD_NAMESPACE]}) for name in files for rule in rules(name, "Role")]
    cutting, volumes = ([Role.of(rule) for rule in rules(name, "ClusterRole")] for name in files[1:])
    api.server.tokens["all"] = Identity("all", (*own, *cutting, *volumes))
    api.server.tokens["few"] = Identity("few", (*own, *cutting))
    assert await cluster_at(await open_door("all")).missing_rights(Verb.SNAPSHOT) == ()
    assert await cluster_at(await open_door("all")).missing_rights(Verb.DELETE) == ()
    assert await cluster_at(await open_door("all")).missing_rights(Verb.RESTORE) == ()
    few = cluster_at(await open_door("few"))
    assert await few.missing_rights(Verb.SNAPSHOT) == ()
    assert [str(right) for right in await few.missing_rights(Verb.DELETE)] == ["patch persistentvolumes"]
