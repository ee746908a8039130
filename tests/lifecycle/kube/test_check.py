"""The configured check, run in the sandbox's pods."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from lifecycle.checks import Check, Checked
from lifecycle.configuration import CHECKED
from lifecycle.kube.check import own_container
from lifecycle.kube.cluster import KubeCluster
from lifecycle.kube.door import Door
from lifecycle.kube.rights import CHECKING
from lifecycle.model import Component, Target, Verb
from lifecycle.topology import arranged
from sandbox.kubernetes import FAULT_ANNOTATION, KubernetesSandbox, ObjectFault
from sandbox.kubernetes.access import Identity, Role
from sandbox.kubernetes.faults import Fault
from sandbox.kubernetes.resources import DEPLOYMENTS
from sandbox.tml import PROD_NAMESPACE, prod
from tests.lifecycle.kube.conftest import OpenDoor, RealClock
from tests.lifecycle.kube.test_rights import rules

ACTIVE = Check(
    Component.CM,
    ("clustermanager", "ls", "components"),
    r"mysql-set-0-0\s+sql\s+ACTIVE",
    timeout=timedelta(seconds=5),
    within=timedelta(seconds=1),
)


def cluster_with(door: Door, check: Check | None) -> KubeCluster:
    return KubeCluster(door, Target("local", PROD_NAMESPACE), RealClock(), check=check)


@pytest.fixture
async def running(api: KubernetesSandbox) -> None:
    api.apply(prod())
    await api.ready(PROD_NAMESPACE)


async def checked_by(door: Door, check: Check | None) -> Checked | None:
    cluster = cluster_with(door, check)
    return await cluster.check(arranged((await cluster.discover()).workloads))


@pytest.mark.usefixtures("running")
async def test_a_check_that_finds_what_it_expects_has_seen_the_configuration(door: Door) -> None:
    assert await checked_by(door, ACTIVE) == Checked(Checked.SEEN)
    assert await checked_by(door, replace(ACTIVE, container="tml-cm")) == Checked(Checked.SEEN)


@pytest.mark.usefixtures("running")
async def test_without_a_check_there_is_nothing_to_say(door: Door) -> None:
    assert await checked_by(door, None) is None


@pytest.mark.usefixtures("running")
@pytest.mark.parametrize(
    ("check", "checked"),
    [
        (replace(ACTIVE, expects="SUSPENDED"), Checked(Checked.NOT_AS_EXPECTED)),
        (replace(ACTIVE, command=("clustermanager", "ls", "nonsense")), Checked(Checked.FAILED, "exit code 1")),
        (replace(ACTIVE, command=("nonsense",)), Checked(Checked.FAILED, "exit code 127")),
        (
            replace(ACTIVE, component=Component.SQL, command=("mysqladmin", "ping"), expects="alive"),
            Checked(Checked.SEEN),
        ),
    ],
)
async def test_a_check_that_does_not_pass_says_why_and_nothing_of_what_it_wrote(
    door: Door, check: Check, checked: Checked
) -> None:
    assert await checked_by(door, replace(check, within=timedelta(seconds=0.1))) == checked


@pytest.mark.usefixtures("running")
async def test_a_check_that_hangs_is_given_up(door: Door) -> None:
    hanging = replace(
        ACTIVE, command=("sleep", "100000"), timeout=timedelta(seconds=0.2), within=timedelta(seconds=0.1)
    )
    checked = await checked_by(door, hanging)
    assert checked is not None
    assert checked.verdict == Checked.UNHEARD
    assert "not at its end after 0.2 s" in checked.detail


@pytest.mark.usefixtures("running")
async def test_a_check_without_a_container_or_a_ready_pod_could_not_be_run(api: KubernetesSandbox, door: Door) -> None:
    quick = replace(ACTIVE, within=timedelta(seconds=0.1))
    checked = await checked_by(door, replace(quick, container="another"))
    assert checked is not None
    assert checked.verdict == Checked.NOT_RUN
    api.annotate(DEPLOYMENTS, PROD_NAMESPACE, "cm-deploy-0", FAULT_ANNOTATION, ObjectFault.NEVER_READY)
    api.store.change(DEPLOYMENTS, PROD_NAMESPACE, "cm-deploy-0", lambda one: one["spec"].update(replicas=0))
    await api.until(lambda store: not store.list(DEPLOYMENTS, PROD_NAMESPACE)[0]["status"].get("readyReplicas"))
    assert await checked_by(door, quick) == Checked(Checked.NOT_RUN, "no pod of cm is ready")


@pytest.mark.usefixtures("running")
async def test_a_check_is_repeated_until_it_passes(api: KubernetesSandbox, door: Door) -> None:
    trouble = api.faults.add(Fault("status", resource="pods/exec", status=500, times=1))
    assert await checked_by(door, replace(ACTIVE, within=timedelta(seconds=20))) == Checked(Checked.SEEN)
    assert trouble.met == 1


@pytest.mark.usefixtures("running")
async def test_who_has_no_right_to_run_it_is_told_at_once_which_it_is(
    api: KubernetesSandbox, open_door: OpenDoor
) -> None:
    named = tuple(Role.of(rule) for rule in rules("role.yaml", "Role"))
    api.server.tokens["few"] = Identity("few", named)
    begun = asyncio.get_running_loop().time()
    checked = await checked_by(await open_door("few"), replace(ACTIVE, within=timedelta(minutes=5)))
    assert checked == Checked(Checked.FORBIDDEN, "get and create pods/exec")
    assert asyncio.get_running_loop().time() - begun < 30


@pytest.mark.usefixtures("running")
@pytest.mark.parametrize("verb", Verb)
async def test_its_rights_are_asked_for_where_it_is_configured_and_what_runs_it_is_meant(
    api: KubernetesSandbox, open_door: OpenDoor, verb: Verb
) -> None:
    files = ("role", "remove", "snapshot", "verify", "delete", "purge")
    every = [rule for name in files for kind in ("Role", "ClusterRole") for rule in rules(f"{name}.yaml", kind)]
    api.server.tokens["few"] = Identity("few", tuple(Role.of(rule) for rule in every))
    door = await open_door("few")
    assert await cluster_with(door, None).missing_rights(verb) == ()
    wanted = CHECKING if verb in CHECKED else ()
    assert await cluster_with(door, ACTIVE).missing_rights(verb) == wanted
    with_it = [*every, *rules("check.yaml", "Role")]
    api.server.tokens["enough"] = Identity("enough", tuple(Role.of(rule) for rule in with_it))
    assert await cluster_with(await open_door("enough"), ACTIVE).missing_rights(verb) == ()


def test_the_components_own_container_is_that_which_says_what_it_is() -> None:
    own = {"name": "tml-cm", "env": [{"name": "TMGC_TYPE", "value": "configmanager"}]}
    assert own_container({"spec": {"containers": [{"name": "proxy"}, own]}}) == "tml-cm"
    assert own_container({"spec": {"containers": [{"name": "only"}]}}) == "only"
