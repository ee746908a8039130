"""Whether the gateway answers."""

import pytest

from lifecycle.diagnosis import Traffic
from lifecycle.kube.door import Door
from lifecycle.kube.traffic import address_of
from sandbox.kubernetes import KubernetesSandbox
from sandbox.kubernetes.resources import SERVICES, Object
from sandbox.tml import PROD_NAMESPACE, prod
from tests.lifecycle.kube.conftest import cluster_at


async def test_a_gateway_answers_once_the_cluster_is_ready(api: KubernetesSandbox, door: Door) -> None:
    url = f"{api.url}/sandbox/traffic/{PROD_NAMESPACE}/mashping"
    before = await cluster_at(door).traffic(f"{url}?key=CANARY")
    assert before == Traffic(Traffic.REFUSES, url, "status 503")
    api.apply(prod())
    await api.ready(PROD_NAMESPACE)
    assert await cluster_at(door).traffic(url) == Traffic(Traffic.ANSWERS, url, "status 200")


async def test_without_a_load_balancer_there_is_no_address(api: KubernetesSandbox, door: Door) -> None:
    assert (await cluster_at(door).traffic(None)).detail == "there is no service tm-svc"
    services = [one for one in prod() if one["kind"] in ("Namespace", "Service")]
    for one in services:
        one.get("spec", {}).pop("type", None)
    api.apply(services)
    assert (await cluster_at(door).traffic(None)).verdict == Traffic.NO_ADDRESS


async def test_a_load_balancer_that_does_not_answer_is_not_reachable(api: KubernetesSandbox, door: Door) -> None:
    api.apply(prod())
    await api.until(lambda store: bool(address_of(store.get(SERVICES, PROD_NAMESPACE, "tm-svc"))))

    def elsewhere(found: Object) -> None:
        found["status"] = {"loadBalancer": {"ingress": [{"ip": "127.0.0.1"}]}}

    def on_a_closed_port(found: Object) -> None:
        found["spec"]["ports"] = [{"port": 9, "name": "discard"}]

    api.store.change(SERVICES, PROD_NAMESPACE, "tm-svc", on_a_closed_port)
    api.store.change(SERVICES, PROD_NAMESPACE, "tm-svc", elsewhere, subresource="status")
    answer = await cluster_at(door).traffic(None)
    assert (answer.verdict, answer.address) == (Traffic.UNREACHABLE, "http://127.0.0.1:9/mashping")
    assert answer.detail == "ClientConnectorError"


@pytest.mark.parametrize(
    ("ingress", "address"),
    [
        ([], ""),
        ([{"hostname": "x.elb.amazonaws.com"}], "x.elb.amazonaws.com"),
        ([{"ip": "10.0.0.1"}], "10.0.0.1"),
        ([{"ip": "fd00::1"}], "[fd00::1]"),
    ],
)
def test_an_address_is_what_the_load_balancer_gives(ingress: list[dict[str, str]], address: str) -> None:
    found = {"spec": {"ports": [{"port": 443}, {"port": 80}]}, "status": {"loadBalancer": {"ingress": ingress}}}
    assert address_of(found) == address


@pytest.mark.parametrize("url", ["not a url", "http://127.0.0.1:9/mashping", "ftp://example.com/"])
async def test_a_probe_url_that_does_not_work_is_a_verdict(door: Door, url: str) -> None:
    assert (await cluster_at(door).traffic(url)).verdict == Traffic.UNREACHABLE
