"""Which log streams go elsewhere, read from the log service's settings and nothing else of them."""

import base64
import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.kube.cluster import KubeCluster
from lifecycle.kube.door import Door
from lifecycle.kube.forwarding import is_settings, merged, streams_of
from lifecycle.losses import GENERAL, NOT_READ
from lifecycle.model import Kind, Ref
from lifecycle.observed import Forwarding, Stream
from sandbox.kubernetes import KubernetesSandbox
from sandbox.kubernetes.access import Identity, Role
from sandbox.kubernetes.faults import Fault
from sandbox.kubernetes.resources import SECRETS, STATEFULSETS, Object
from sandbox.tml import PROD_NAMESPACE, prod
from sandbox.tml.manifests import LOG_PROPERTIES, log_properties
from tests.lifecycle.kube.conftest import OpenDoor, cluster_at
from tests.lifecycle.kube.test_rights import rules

OF_PROD = (
    Stream(GENERAL, Forwarding.NOT_FORWARDED),
    Stream("access", Forwarding.FORWARDED),
    Stream("verbose", Forwarding.NOT_FORWARDED),
)
CANARY = "CANARY-0b5e"


@pytest.fixture
async def cluster(api: KubernetesSandbox, door: Door) -> KubeCluster:
    api.apply(prod())
    await api.ready(PROD_NAMESPACE)
    return cluster_at(door)


async def read_by(cluster: KubeCluster) -> tuple[Stream, ...]:
    return await cluster.log_streams(await cluster.discover())


def secret(text: str) -> Object:
    return {"data": {LOG_PROPERTIES: base64.b64encode(text.encode()).decode()}}


def config_map(**written: Any) -> Object:
    return {"data": {LOG_PROPERTIES: json.dumps(written)}}


async def test_each_stream_says_whether_it_is_forwarded(cluster: KubeCluster) -> None:
    assert await read_by(cluster) == OF_PROD


def into_a_config_map(api: KubernetesSandbox) -> None:
    """As releases up to 5.2 have it."""
    text = json.dumps(log_properties(PROD_NAMESPACE))
    name = {"name": "log-property-map", "namespace": PROD_NAMESPACE}
    api.apply([{"apiVersion": "v1", "kind": "ConfigMap", "metadata": name, "data": {LOG_PROPERTIES: text}}])
    mount(api, {"name": "log-property", "configMap": {"name": "log-property-map"}})


def mount(api: KubernetesSandbox, volume: Object | None) -> None:
    def change(found: Object) -> None:
        spec = found["spec"]["template"]["spec"]
        spec["volumes"] = [one for one in spec["volumes"] if one["name"] != "log-property"] + (
            [volume] if volume else []
        )
        for container in spec["containers"]:
            mounts = container["volumeMounts"]
            container["volumeMounts"] = [one for one in mounts if volume or one["name"] != "log-property"]

    api.store.change(STATEFULSETS, PROD_NAMESPACE, "log-set-0", change)


async def test_where_the_settings_are_is_what_the_log_workload_says(
    api: KubernetesSandbox, cluster: KubeCluster
) -> None:
    into_a_config_map(api)
    assert await read_by(cluster) == OF_PROD
    assert api.server.requests["get", "configmaps"] == 1
    assert api.server.requests["get", "secrets"] == 0, "a Secret that nothing mounts is nobody's business"


@pytest.mark.parametrize(
    "break_it",
    [
        lambda api: api.faults.add(Fault("status", verb="get", resource="secrets", name="log-property", status=403)),
        lambda api: api.store.delete(SECRETS, PROD_NAMESPACE, "log-property"),
        lambda api: mount(api, None),
        lambda api: api.store.change(SECRETS, PROD_NAMESPACE, "log-property", lambda one: one.pop("data")),
        lambda api: api.store.change(
            SECRETS, PROD_NAMESPACE, "log-property", lambda one: one.update(secret("no json"))
        ),
    ],
    ids=["no right", "gone", "not mounted", "empty", "no JSON"],
)
async def test_what_cannot_be_read_is_unknown_and_keeps_no_plan_from_being_made(
    api: KubernetesSandbox, cluster: KubeCluster, break_it: Callable[[KubernetesSandbox], None]
) -> None:
    break_it(api)
    assert await read_by(cluster) == NOT_READ


async def test_the_documented_roles_are_enough_to_read_it(
    api: KubernetesSandbox, cluster: KubeCluster, open_door: OpenDoor
) -> None:
    named = [rule for name in ("role", "snapshot", "delete") for rule in rules(f"{name}.yaml", "Role")]
    api.server.tokens["least"] = Identity("least", tuple(Role.of(rule) for rule in named))
    assert await read_by(cluster_at(await open_door("least"))) == OF_PROD


@pytest.mark.parametrize(
    ("written", "forwarding"),
    [
        ("DEFAULT", Forwarding.NOT_FORWARDED),
        (" default ", Forwarding.NOT_FORWARDED),
        ("ELASTICSEARCH", Forwarding.FORWARDED),
        ("syslog", Forwarding.FORWARDED),
        ("", Forwarding.UNKNOWN),
        ("none", Forwarding.UNKNOWN),
        ("FALSE", Forwarding.UNKNOWN),
        ("${CHANNEL}", Forwarding.UNKNOWN),
        ("two words", Forwarding.UNKNOWN),
        ("x" * 41, Forwarding.UNKNOWN),
        (None, Forwarding.UNKNOWN),
        (True, Forwarding.UNKNOWN),
        (["ELASTICSEARCH"], Forwarding.UNKNOWN),
        ({"value": "ELASTICSEARCH"}, Forwarding.UNKNOWN),
    ],
)
def test_only_a_word_names_a_destination(written: Any, forwarding: Forwarding) -> None:
    found = config_map(td_agent_output_channelType=written)
    assert streams_of(found, Kind.CONFIG_MAP) == (Stream(GENERAL, forwarding),)


@pytest.mark.parametrize(
    ("written", "streams"),
    [
        ({}, (Stream(GENERAL, Forwarding.UNKNOWN),)),
        (
            {"td_agent_b_output_channelType": "DEFAULT", "td_agent_a_output_channelType": "SYSLOG"},
            (
                Stream(GENERAL, Forwarding.UNKNOWN),
                Stream("a", Forwarding.FORWARDED),
                Stream("b", Forwarding.NOT_FORWARDED),
            ),
        ),
        (
            {"log": [{"td_agent_output_channelType": "SYSLOG"}]},
            (Stream(GENERAL, Forwarding.FORWARDED),),
        ),
        (
            {
                "td_agent_output_channelTypeX": "SYSLOG",
                "my_td_agent_output_channelType": "SYSLOG",
                "td_agent__output_channelType": "SYSLOG",
                "td_agent_a<b>_output_channelType": "SYSLOG",
                f"td_agent_{'x' * 41}_output_channelType": "SYSLOG",
            },
            (Stream(GENERAL, Forwarding.UNKNOWN),),
        ),
    ],
    ids=["nothing", "two streams", "deep inside", "look-alikes"],
)
def test_two_kinds_of_keys_are_looked_at_and_no_other(written: Object, streams: tuple[Stream, ...]) -> None:
    assert streams_of(config_map(**written), Kind.CONFIG_MAP) == streams


@pytest.mark.parametrize(
    "found",
    [
        {},
        {"data": None},
        {"data": {"other.json": "e30="}},
        {"data": {LOG_PROPERTIES: "not base64!"}},
        {"data": {LOG_PROPERTIES: base64.b64encode(b"\xff\xfe").decode()}},
        secret("[" * 100_000),
        secret('{"td_agent_output_channelType": '),
    ],
    ids=["no data", "null", "another file", "no base64", "no text", "too deep", "half"],
)
def test_a_secret_that_is_not_what_is_expected_is_unknown(found: Object) -> None:
    assert streams_of(found, Kind.SECRET) == NOT_READ


def test_of_several_zones_a_stream_is_as_safe_as_the_worst() -> None:
    one = (Stream(GENERAL, Forwarding.FORWARDED), Stream("access", Forwarding.FORWARDED))
    other = (Stream(GENERAL, Forwarding.NOT_FORWARDED), Stream("audit", Forwarding.FORWARDED))
    assert merged([one, other]) == (
        Stream(GENERAL, Forwarding.NOT_FORWARDED),
        Stream("access", Forwarding.NOT_FORWARDED),
        Stream("audit", Forwarding.FORWARDED),
    )
    assert merged([one, NOT_READ])[0] == NOT_READ[0]


@pytest.mark.parametrize(
    ("kind", "name", "is_it"),
    [
        (Kind.SECRET, "log-property", True),
        (Kind.CONFIG_MAP, "log-property-map", True),
        (Kind.SECRET, "log-resource", False),
        (Kind.SECRET, "cluster-property", False),
    ],
)
def test_the_settings_are_known_by_their_name(kind: Kind, name: str, is_it: bool) -> None:
    assert is_settings(Ref(kind, name)) is is_it


@given(
    st.recursive(
        st.just(CANARY) | st.none() | st.booleans(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=20), inner, max_size=4),
        max_leaves=12,
    )
)
def test_whatever_else_the_file_holds_nothing_of_it_is_in_the_answer(content: Any) -> None:
    found = config_map(secret=content, td_agent_access_output_channelType=f"{CANARY} {CANARY}")
    assert CANARY not in repr(streams_of(found, Kind.CONFIG_MAP))


async def test_no_value_of_the_secret_is_logged_or_in_an_error(
    api: KubernetesSandbox, cluster: KubeCluster, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    told: list[str] = [repr(await read_by(cluster))]
    for break_it in (
        lambda one: one.update(secret(f'{{"password": "{CANARY}", ')),
        lambda one: one.update({"data": {LOG_PROPERTIES: base64.b64encode(b"\xff" + CANARY.encode()).decode()}}),
    ):
        api.store.change(SECRETS, PROD_NAMESPACE, "log-property", break_it)
        told.append(repr(await read_by(cluster)))
    api.faults.add(Fault("status", verb="get", resource="secrets", name="log-property", status=403))
    told.append(repr(await read_by(cluster)))
    told += [f"{record.getMessage()} {record.exc_text or ''}" for record in caplog.records]
    assert "CANARY" not in "".join(told)
    assert base64.b64encode(b"CANARY").decode()[:6] not in "".join(told)
