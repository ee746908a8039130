"""Which rights each verb needs, and that the documented Roles grant exactly those."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from lifecycle.kube.rights import CLUSTER_WIDE, NEEDED, for_verb
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
                yield from (Right(verb, group, resource) for verb in rule["verbs"])


def everything() -> set[Right]:
    return {*for_verb(Verb.DELETE), *for_verb(Verb.RESTORE)}


def test_the_role_for_delete_grants_what_delete_and_restore_need_beyond_the_other_and_nothing_else() -> None:
    wanted = {right for right in everything() - {*NEEDED} if right.resource not in CLUSTER_WIDE}
    assert {*granted(rules("delete.yaml", "Role"))} == wanted


def test_cluster_wide_it_grants_what_has_to_be_known_and_patched_of_volumes_and_nothing_else() -> None:
    wanted = {right for right in everything() if right.resource in CLUSTER_WIDE}
    assert {*granted(rules("delete.yaml", "ClusterRole"))} == wanted


@pytest.mark.parametrize("verb", [Verb.STOP, Verb.START, Verb.RESTART])
def test_stop_start_and_restart_need_no_more_than_before(verb: Verb) -> None:
    assert for_verb(verb) == NEEDED
    assert not any(right.resource in ("secrets", "configmaps", "persistentvolumes") for right in for_verb(verb))


async def test_with_both_roles_nothing_is_missing_and_without_the_second_delete_is_told_what(
    api: KubernetesSandbox, open_door: OpenDoor
) -> None:
    operating = [Role.of({**rule, "namespaces": [PROD_NAMESPACE]}) for rule in rules("role.yaml", "Role")]
    deleting = [Role.of({**rule, "namespaces": [PROD_NAMESPACE]}) for rule in rules("delete.yaml", "Role")]
    volumes = [Role.of(rule) for rule in rules("delete.yaml", "ClusterRole")]
    api.server.tokens["all"] = Identity("all", (*operating, *deleting, *volumes))
    api.server.tokens["few"] = Identity("few", (*operating, *deleting))
    assert await cluster_at(await open_door("all")).missing_rights(Verb.DELETE) == ()
    assert await cluster_at(await open_door("all")).missing_rights(Verb.RESTORE) == ()
    few = cluster_at(await open_door("few"))
    assert await few.missing_rights(Verb.STOP) == ()
    assert [str(right) for right in await few.missing_rights(Verb.DELETE)] == [
        f"{verb} persistentvolumes" for verb in ("get", "list", "watch", "patch")
    ]
