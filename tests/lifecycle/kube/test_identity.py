"""Which Kubernetes cluster it is, and the right to know it."""

import pytest

from lifecycle.errors import Forbidden
from lifecycle.kube import paths
from lifecycle.kube.identity import identity
from lifecycle.kube.paths import Resource
from lifecycle.model import Verb
from sandbox.kubernetes import KubernetesSandbox
from sandbox.kubernetes.access import Identity, Role
from sandbox.kubernetes.resources import NAMESPACES
from tests.lifecycle.kube.conftest import OpenDoor, cluster_at
from tests.lifecycle.kube.test_rights import rules


async def test_it_is_the_uid_of_a_namespace_that_kubernetes_makes_itself(
    api: KubernetesSandbox, open_door: OpenDoor
) -> None:
    api.server.tokens["cutting"] = Identity(
        "cutting", tuple(Role.of(one) for one in rules("snapshot.yaml", "ClusterRole"))
    )
    door = await open_door("cutting")
    assert await identity(door) == api.store.get(NAMESPACES, None, "kube-system")["metadata"]["uid"]
    with pytest.raises(Forbidden):
        await door.get(paths.one_of(Resource.NAMESPACES, "", "default"))


async def test_who_may_not_read_it_does_not_know_it_and_is_told_of_the_missing_right(
    api: KubernetesSandbox, open_door: OpenDoor
) -> None:
    api.server.tokens["none"] = Identity("none", ())
    door = await open_door("none")
    assert await identity(door) == ""
    for verb in (Verb.SNAPSHOT, Verb.DELETE, Verb.RESTORE, Verb.RESTORE_IN_PLACE, Verb.PURGE):
        missing = await cluster_at(door).missing_rights(verb)
        assert "get namespaces kube-system" in [str(right) for right in missing], verb
    for verb in (Verb.STOP, Verb.START, Verb.REMOVE, Verb.VERIFY):
        missing = await cluster_at(door).missing_rights(verb)
        assert "get namespaces kube-system" not in [str(right) for right in missing], verb
