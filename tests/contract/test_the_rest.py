"""Leases, access reviews, events, logs and commands."""

from typing import Any

import pytest

from lifecycle.kube import rights
from lifecycle.kube.identity import identity
from tests.cluster.accounts import documented_rules
from tests.contract.api import Api
from tests.contract.commands import run
from tests.contract.objects import lease, pod, stateful_set

Json = dict[str, Any]

pytestmark = pytest.mark.timeout(60)

REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


async def test_a_lease_goes_to_the_first_who_writes_on_the_version_that_both_read(api: Api) -> None:
    path = api.path("leases", "tml-bot", group="coordination.k8s.io/v1")
    (made,) = await api.apply(lease())
    mine = made.body | {"spec": made.body["spec"] | {"holderIdentity": "me"}}
    theirs = made.body | {"spec": made.body["spec"] | {"holderIdentity": "them"}}
    assert (await api.client.ask("PUT", path, mine)).status == 200
    late = await api.client.ask("PUT", path, theirs)
    assert (late.status, late.body["reason"]) == (409, "Conflict")
    assert (await api.client.get(path)).body["spec"]["holderIdentity"] == "me"


async def test_a_lease_without_a_version_is_refused(api: Api) -> None:
    path = api.path("leases", "tml-bot", group="coordination.k8s.io/v1")
    await api.apply(lease())
    answer = await api.client.ask("PUT", path, lease("them"))
    assert answer.status == 422
    (cause,) = answer.body["details"]["causes"]
    assert cause["field"] == "metadata.resourceVersion"
    assert answer.body["details"]["kind"] == "leases"


async def test_a_leases_times_keep_their_microseconds(api: Api) -> None:
    wish = lease()
    wish["spec"]["renewTime"] = "2026-01-02T03:04:05.678901Z"
    (made,) = await api.apply(wish)
    assert made.body["spec"]["renewTime"] == "2026-01-02T03:04:05.678901Z"


async def test_a_lease_may_be_held_by_nobody(api: Api) -> None:
    (made,) = await api.apply(lease())
    path = api.path("leases", "tml-bot", group="coordination.k8s.io/v1")
    free = made.body | {"spec": made.body["spec"] | {"holderIdentity": ""}}
    answer = await api.client.ask("PUT", path, free)
    assert (answer.status, answer.body["spec"].get("holderIdentity", "")) == (200, "")


@pytest.mark.parametrize(
    ("asked", "allowed"),
    [
        ({"verb": "patch", "group": "apps", "resource": "statefulsets"}, True),
        ({"verb": "patch", "group": "apps", "resource": "statefulsets", "subresource": "scale"}, False),
        ({"verb": "get", "group": "", "resource": "pods", "subresource": "log"}, True),
        ({"verb": "create", "group": "", "resource": "pods", "subresource": "exec"}, False),
        ({"verb": "delete", "group": "apps", "resource": "statefulsets"}, False),
        ({"verb": "get", "group": "", "resource": "secrets"}, False),
        ({"verb": "get", "group": "", "resource": "unicorns"}, False),
    ],
    ids=lambda value: "-".join(value.values()) if isinstance(value, dict) else str(value),
)
async def test_an_access_review_says_what_the_documented_role_allows(api: Api, asked: Json, allowed: bool) -> None:
    client = await api.restricted(documented_rules())
    answer = await client.create(REVIEWS, review(asked | {"namespace": api.namespace}))
    assert answer.status == 201
    assert answer.body["status"]["allowed"] is allowed


def review(asked: Json) -> Json:
    kind = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview"}
    return kind | {"spec": {"resourceAttributes": asked}}


async def test_the_documented_role_is_all_that_the_bot_needs(api: Api) -> None:
    door = await api.door(documented_rules())
    assert await rights.missing(door, api.namespace, rights.NEEDED) == ()


async def test_each_right_that_the_bot_needs_is_missed_when_it_is_not_given(api: Api) -> None:
    door = await api.door([])
    assert await rights.missing(door, api.namespace, rights.NEEDED) == rights.NEEDED


async def test_every_cluster_has_an_identity_which_takes_a_right_of_its_own(api: Api) -> None:
    seen = await api.client.get("/api/v1/namespaces/kube-system")
    assert len(seen.body["metadata"]["uid"]) == 36
    door = await api.door(documented_rules())
    assert await identity(door) == ""
    assert str(rights.IDENTITY) in [str(one) for one in await rights.missing(door, api.namespace, rights.RESTORING)]


async def test_the_rights_of_one_namespace_are_none_in_another(api: Api) -> None:
    client = await api.restricted(documented_rules())
    wish = {"verb": "patch", "group": "apps", "resource": "statefulsets", "namespace": "default"}
    answer = await client.create(REVIEWS, review(wish))
    assert answer.body["status"]["allowed"] is False


async def test_events_say_about_which_object_what_happened_and_how_often(api: Api) -> None:
    await api.apply(stateful_set())
    await api.until(api.path("events"), lambda found: any(is_creation(one) for one in found["items"]))
    items = (await api.client.get(api.path("events"))).body["items"]
    event = next(one for one in items if is_creation(one))
    owner = (await api.client.get(api.apps("statefulsets", "web"))).body["metadata"]
    assert event["involvedObject"]["uid"] == owner["uid"]
    assert event["involvedObject"]["name"] == "web"
    assert event["type"] == "Normal"
    assert event["count"] >= 1
    assert event["lastTimestamp"]
    assert event["source"]["component"] == "statefulset-controller"


def is_creation(event: Json) -> bool:
    return bool(event["involvedObject"]["kind"] == "StatefulSet" and event["reason"] == "SuccessfulCreate")


async def test_a_pod_that_no_node_takes_says_so_in_its_condition_and_in_an_event(api: Api) -> None:
    claim = [{"name": "data", "persistentVolumeClaim": {"claimName": "none"}}]
    await api.apply(pod(volumes=claim))

    def is_refused(found: Json) -> bool:
        conditions = (found.get("status") or {}).get("conditions") or []
        return any(one["type"] == "PodScheduled" and one["status"] == "False" for one in conditions)

    found = await api.until(api.path("pods", "one"), is_refused)
    (condition,) = [one for one in found["status"]["conditions"] if one["type"] == "PodScheduled"]
    assert condition["reason"] == "Unschedulable"
    assert 'persistentvolumeclaim "none" not found' in condition["message"]
    await api.until(
        api.path("events"), lambda events: any(one["reason"] == "FailedScheduling" for one in events["items"])
    )
    assert found["status"]["phase"] == "Pending"


async def test_a_log_is_text_and_its_tail_is_as_long_as_asked(api: Api) -> None:
    await api.apply(pod())
    path = api.path("pods", "one")
    await api.until(path, lambda found: "running" in str((found["status"].get("containerStatuses") or [{}])[0]))
    whole = await api.client.ask("GET", f"{path}/log")
    assert whole.status == 200
    if not api.provisions:
        pytest.skip("what this cluster's containers write is not known")
    assert "starting" in whole.text
    tail = await api.client.ask("GET", f"{path}/log", params={"tailLines": 1, "container": "main"})
    assert tail.text == whole.text.splitlines(keepends=True)[-1]


async def test_the_log_before_a_restart_that_never_was_is_a_400(api: Api) -> None:
    await api.apply(pod())
    path = api.path("pods", "one")
    await api.until(path, lambda found: "running" in str((found["status"].get("containerStatuses") or [{}])[0]))
    answer = await api.client.ask("GET", f"{path}/log", params={"previous": True})
    assert (answer.status, answer.body["reason"]) == (400, "BadRequest")
    assert answer.body["message"] == 'previous terminated container "main" in pod "one" not found'


async def running_pod(api: Api) -> str:
    await api.apply(pod())
    path = api.path("pods", "one")
    await api.until(path, lambda found: "running" in str((found["status"].get("containerStatuses") or [{}])[0]))
    return path


async def test_a_command_is_a_list_of_words_and_says_what_it_wrote(api: Api) -> None:
    outcome = await run(api.client, await running_pod(api), ["echo", "one  word", "another"])
    assert outcome.stdout == "one  word another\n"
    assert outcome.code == 0


async def test_a_command_that_fails_says_with_which_code(api: Api) -> None:
    outcome = await run(api.client, await running_pod(api), ["ls", "/nowhere"])
    assert outcome.code in (1, 2)
    assert "nowhere" in outcome.stderr
    assert outcome.status["reason"] == "NonZeroExitCode"
    assert outcome.status["message"].startswith("command terminated with non-zero exit code")


async def test_a_command_in_a_container_that_is_not_there_is_a_400(api: Api) -> None:
    path = await running_pod(api)
    answer = await api.client.ask("GET", f"{path}/exec", params={"command": "true", "container": "none"})
    assert answer.status == 400
    assert answer.body["message"] == "container none is not valid for pod one"
