"""What looks done and is not: kubectl's own rules at zero, and the order in which the pods of a deleted set end."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from lifecycle.kube.discovery import discover
from lifecycle.model import Target
from tests.cluster.accounts import documented_rules
from tests.contract.api import Api
from tests.contract.objects import deployment, stateful_set
from tests.contract.test_workloads import ZERO, is_ready, pods

Json = dict[str, Any]

pytestmark = pytest.mark.timeout(120)

HOLD = {"metadata": {"finalizers": ["example.com/held"]}}
LET_GO = {"metadata": {"finalizers": None}}
TML = [{"name": "TMGC_TYPE", "value": "nosql"}]
"""By which the bot knows a workload for one of its cluster's."""


def rolled_out_set(found: Json) -> bool:
    """As kubectl's `rollout status` judges it (StatefulSetStatusViewer)."""
    status = found["status"]
    is_observed = status.get("observedGeneration", 0) >= found["metadata"]["generation"]
    return bool(is_observed and status.get("readyReplicas", 0) >= found["spec"]["replicas"])


def rolled_out_deployment(found: Json) -> bool:
    """The same (DeploymentStatusViewer)."""
    status, wanted = found["status"], found["spec"]["replicas"]
    updated = status.get("updatedReplicas", 0)
    is_observed = status.get("observedGeneration", 0) >= found["metadata"]["generation"]
    return bool(is_observed and wanted <= updated == status.get("replicas", 0) == status.get("availableReplicas", 0))


async def held(api: Api, app: str, body: Json = HOLD) -> None:
    """Every pod stays where it is, ended or not, until it is let go."""
    for pod in await pods(api, app):
        await api.client.patch(api.path("pods", pod["metadata"]["name"]), body)


@pytest.mark.parametrize(
    ("plural", "made", "rolled_out"),
    [
        ("statefulsets", stateful_set("web"), rolled_out_set),
        ("deployments", deployment("web"), rolled_out_deployment),
    ],
    ids=["set", "deployment"],
)
async def test_what_kubectl_calls_rolled_out_at_zero_is_not_stopped_while_a_pod_is_there(
    api: Api, plural: str, made: Json, rolled_out: Callable[[Json], bool]
) -> None:
    made["spec"]["template"]["spec"]["containers"][0]["env"] = TML
    await api.apply(made)
    path = api.apps(plural, "web")
    await api.until(path, is_ready)
    await held(api, "web")
    await api.client.patch(path, ZERO, "json")
    await api.until(path, rolled_out)
    assert await pods(api, "web"), "it is not over"
    door = await api.door(documented_rules())

    async def is_present() -> bool:
        found = await discover(door, Target("test", api.namespace), datetime.now(UTC))
        return found.observed[found.workloads[0]].is_present

    assert await is_present()
    await held(api, "web", LET_GO)
    await api.until(api.path("pods"), lambda found: found["items"] == [])
    await api.until(path, lambda found: not found["status"].get("replicas"))
    assert not await is_present()


def are_ending(listed: Json) -> bool:
    return all("deletionTimestamp" in pod["metadata"] for pod in listed["items"])


async def test_a_set_that_is_deleted_ends_all_its_pods_at_once_and_one_that_goes_to_zero_in_order(api: Api) -> None:
    """So a delete scales to zero first, and removes a set of which nothing runs any more."""
    for name in ("deleted", "scaled"):
        await api.apply(stateful_set(name, replicas=2))
        await api.until(api.apps("statefulsets", name), is_ready)
        await held(api, name)
    await api.client.delete(api.apps("statefulsets", "deleted"))
    await api.until(api.path("pods") + "?labelSelector=app%3Ddeleted", are_ending)
    assert len(await pods(api, "deleted")) == 2, "none waits for another"
    await api.client.patch(api.apps("statefulsets", "scaled"), ZERO, "json")
    await api.until(api.path("pods", "scaled-1"), lambda pod: "deletionTimestamp" in pod["metadata"])
    await api.until(api.apps("statefulsets", "scaled"), lambda found: found["status"]["observedGeneration"] > 1)
    first = (await api.client.get(api.path("pods", "scaled-0"))).body
    assert "deletionTimestamp" not in first["metadata"], "it waits until the one after it is gone"
    for name in ("deleted", "scaled"):
        await held(api, name, LET_GO)
