"""Status codes and Status bodies: what the bot's door tells its errors apart by."""

import base64
from typing import Any

import pytest

from lifecycle.errors import Conflict, Forbidden, Gone, Invalid
from tests.cluster.accounts import documented_rules
from tests.cluster.client import open_client
from tests.contract.api import Api
from tests.contract.objects import config, lease, pod, stateful_set

Json = dict[str, Any]

pytestmark = pytest.mark.timeout(60)


def shape(status: Json) -> Json:
    """A Status without its wording."""
    return {key: value for key, value in status.items() if key != "message"}


def failure(code: int, reason: str, **details: Any) -> Json:
    body: Json = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code}
    return body | ({"reason": reason} if reason else {}) | ({"details": details} if details else {})


async def test_what_is_not_there_is_a_404_that_names_it(api: Api) -> None:
    answer = await api.client.ask("GET", api.apps("statefulsets", "none"))
    assert answer.status == 404
    assert shape(answer.body) == failure(404, "NotFound", name="none", group="apps", kind="statefulsets")
    assert answer.body["message"] == 'statefulsets.apps "none" not found'


async def test_a_pod_that_is_not_there_is_a_404_without_a_group(api: Api) -> None:
    answer = await api.client.ask("GET", api.path("pods", "none"))
    assert shape(answer.body) == failure(404, "NotFound", name="none", kind="pods")


async def test_a_resource_that_nobody_defined_is_a_404_that_names_nothing(api: Api) -> None:
    answer = await api.client.ask("GET", api.path("unicorns", group="example.com/v1"))
    assert (answer.status, answer.text) == (404, "404 page not found\n"), "no Status: nobody serves the group"
    for path in ("/apis/example.com", "/apis/example.com/v1"):
        answer = await api.client.ask("GET", path)
        assert (answer.status, answer.text) == (404, "404 page not found\n"), path


@pytest.mark.parametrize("path", ["/apis/apps/v9", "/apis/apps/v9/statefulsets", "/apis/apps/v1/unicorns"])
async def test_a_version_or_a_kind_that_a_known_group_does_not_have_is_a_404_with_a_status(api: Api, path: str) -> None:
    answer = await api.client.ask("GET", path)
    assert shape(answer.body) == failure(404, "NotFound") | {"details": {}}
    assert answer.body["message"] == "the server could not find the requested resource"


async def test_a_list_in_a_namespace_that_is_not_there_is_empty(api: Api) -> None:
    answer = await api.client.ask("GET", "/apis/apps/v1/namespaces/nobody-made-this/statefulsets")
    assert answer.status == 200
    assert answer.body["items"] == []


async def test_a_replace_of_an_older_version_is_a_409(api: Api) -> None:
    (made,) = await api.apply(config(a="1"))
    path = api.path("configmaps", "map")
    await api.client.replace(path, made.body | {"data": {"a": "2"}})
    answer = await api.client.ask("PUT", path, made.body | {"data": {"a": "3"}})
    assert answer.status == 409
    assert shape(answer.body) == failure(409, "Conflict", name="map", kind="configmaps")
    assert answer.body["message"] == (
        'Operation cannot be fulfilled on configmaps "map": the object has been modified; '
        "please apply your changes to the latest version and try again"
    )


async def test_a_create_of_what_is_there_is_a_409_of_another_reason(api: Api) -> None:
    await api.apply(config())
    answer = await api.client.ask("POST", api.path("configmaps"), config())
    assert shape(answer.body) == failure(409, "AlreadyExists", name="map", kind="configmaps")
    assert answer.body["message"] == 'configmaps "map" already exists'


async def test_a_dry_run_says_what_would_be_and_changes_nothing(api: Api) -> None:
    path, dry = api.path("configmaps", "map"), {"dryRun": "All"}
    answer = await api.client.ask("POST", api.path("configmaps"), config(a="1"), params=dry)
    assert (answer.status, answer.body["data"]) == (201, {"a": "1"})
    assert (await api.client.ask("GET", path)).status == 404
    (made,) = await api.apply(config(a="1"))
    answer = await api.client.ask("PATCH", path, {"data": {"a": "2"}}, patch="merge", params=dry)
    assert (answer.status, answer.body["data"]) == (200, {"a": "2"})
    answer = await api.client.ask("PUT", path, made.body | {"data": {"a": "3"}}, params=dry)
    assert (answer.status, answer.body["data"]) == (200, {"a": "3"})
    answer = await api.client.ask("DELETE", path, params=dry)
    assert (answer.status, answer.body["status"]) == (200, "Success")
    assert (await api.client.get(path)).body == made.body


async def test_a_dry_run_is_refused_as_the_real_thing_would_be(api: Api) -> None:
    await api.apply(config())
    answer = await api.client.ask("POST", api.path("configmaps"), config(), params={"dryRun": "All"})
    assert (answer.status, answer.body["reason"]) == (409, "AlreadyExists")
    answer = await api.client.ask("POST", api.path("configmaps"), config("other"), params={"dryRun": "Some"})
    assert answer.status == 422


async def test_a_delete_of_a_namesake_is_a_409(api: Api) -> None:
    await api.apply(config())
    options = {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": "0-0-0-0"}}
    answer = await api.client.ask("DELETE", api.path("configmaps", "map"), options)
    assert answer.status == 409
    assert answer.body["reason"] == "Conflict"
    assert answer.body["details"] == {"name": "map", "kind": "ConfigMap"}
    assert answer.body["message"].startswith('Operation cannot be fulfilled on ConfigMap "map": the UID in the pre')


async def test_a_delete_of_an_older_version_is_a_409(api: Api) -> None:
    (made,) = await api.apply(config())
    await api.client.patch(api.path("configmaps", "map"), {"data": {"b": "1"}})
    preconditions = {"uid": made.uid, "resourceVersion": made.version}
    options = {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": preconditions}
    answer = await api.client.ask("DELETE", api.path("configmaps", "map"), options)
    assert answer.status == 409
    assert "the ResourceVersion in the precondition" in answer.body["message"]


async def test_a_json_patch_whose_test_fails_is_a_422_without_causes(api: Api) -> None:
    await api.apply(stateful_set())
    wrong = [{"op": "test", "path": "/spec/replicas", "value": 7}]
    answer = await api.client.ask("PATCH", api.apps("statefulsets", "web"), wrong, patch="json")
    assert answer.status == 422
    assert answer.body["reason"] == "Invalid"
    assert "causes" not in answer.body.get("details", {})


async def test_a_json_patch_into_annotations_that_are_not_there_is_a_422_and_changes_nothing(api: Api) -> None:
    (_made,) = await api.apply(stateful_set())
    add = [{"op": "add", "path": "/metadata/annotations/a", "value": "1"}]
    answer = await api.client.ask("PATCH", api.apps("statefulsets", "web"), add, patch="json")
    assert answer.status == 422
    assert "causes" not in answer.body.get("details", {})
    found = await api.client.get(api.apps("statefulsets", "web"))
    assert found.body["metadata"].get("annotations") is None


async def test_a_json_patch_may_test_that_annotations_are_not_there_and_add_them(api: Api) -> None:
    await api.apply(stateful_set())
    both = [
        {"op": "test", "path": "/metadata/annotations", "value": None},
        {"op": "add", "path": "/metadata/annotations", "value": {"a": "1"}},
    ]
    answer = await api.client.patch(api.apps("statefulsets", "web"), both, "json")
    assert answer.body["metadata"]["annotations"] == {"a": "1"}
    again = await api.client.ask("PATCH", api.apps("statefulsets", "web"), both, patch="json")
    assert again.status == 422


async def test_a_json_patch_that_sets_an_older_version_is_a_409(api: Api) -> None:
    (made,) = await api.apply(config())
    path = api.path("configmaps", "map")
    await api.client.patch(path, {"data": {"b": "1"}})
    stale = [{"op": "replace", "path": "/metadata/resourceVersion", "value": made.version}]
    stale.append({"op": "add", "path": "/data/c", "value": "1"})
    answer = await api.client.ask("PATCH", path, stale, patch="json")
    assert answer.status == 409
    assert answer.body["reason"] == "Conflict"


async def test_a_json_patch_whose_uid_is_another_ones_changes_nothing(api: Api) -> None:
    await api.apply(stateful_set())
    patch = [{"op": "test", "path": "/metadata/uid", "value": "another"}]
    patch.append({"op": "replace", "path": "/spec/replicas", "value": 0})  # type: ignore[dict-item]
    answer = await api.client.ask("PATCH", api.apps("statefulsets", "web"), patch, patch="json")
    assert answer.status == 422
    assert (await api.client.get(api.apps("statefulsets", "web"))).body["spec"]["replicas"] == 1


async def test_a_value_that_is_not_allowed_is_a_422_that_names_the_field(api: Api) -> None:
    await api.apply(stateful_set())
    less = [{"op": "replace", "path": "/spec/replicas", "value": -1}]
    answer = await api.client.ask("PATCH", api.apps("statefulsets", "web"), less, patch="json")
    assert answer.status == 422
    (cause,) = answer.body["details"]["causes"]
    assert cause["field"] == "spec.replicas"
    assert cause["reason"] == "FieldValueInvalid"


async def test_what_may_not_be_changed_is_a_422_that_names_the_field(api: Api) -> None:
    await api.apply(stateful_set())
    other = [{"op": "replace", "path": "/spec/serviceName", "value": "other"}]
    answer = await api.client.ask("PATCH", api.apps("statefulsets", "web"), other, patch="json")
    assert answer.status == 422
    (cause,) = answer.body["details"]["causes"]
    assert (cause["field"], cause["reason"]) == ("spec", "FieldValueForbidden")


def secret(size: int = 1, **more: Any) -> Json:
    data = {"piece": base64.b64encode(bytes(size)).decode()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "piece"}, "data": data, **more}


async def test_an_immutable_secret_keeps_what_is_in_it_and_can_be_removed(api: Api) -> None:
    await api.client.create(api.path("secrets"), secret(immutable=True))
    path = api.path("secrets", "piece")
    for field, change in (("data", {"data": {"piece": "AQ=="}}), ("immutable", {"immutable": False})):
        answer = await api.client.ask("PATCH", path, change, patch="merge")
        assert (answer.status, answer.body["reason"]) == (422, "Invalid")
        (cause,) = answer.body["details"]["causes"]
        assert (cause["field"], cause["reason"]) == (field, "FieldValueForbidden")
        assert "field is immutable when `immutable` is set" in cause["message"]
    await api.client.patch(path, {"metadata": {"annotations": {"a": "1"}}})
    await api.client.delete(path)
    assert (await api.client.ask("GET", path)).status == 404


async def test_a_secret_of_more_than_a_mebibyte_is_a_422_that_names_its_data_and_shows_none(api: Api) -> None:
    answer = await api.client.ask("POST", api.path("secrets"), secret((1 << 20) + 1))
    assert (answer.status, answer.body["reason"]) == (422, "Invalid")
    (cause,) = answer.body["details"]["causes"]
    assert (cause["field"], cause["reason"]) == ("data", "FieldValueTooLong")
    assert "may not be more than 1048576 bytes" in cause["message"]
    assert "AAAA" not in answer.text
    await api.client.create(api.path("secrets"), secret(1 << 20))


async def test_a_json_patch_that_is_none_is_a_400(api: Api) -> None:
    await api.apply(config())
    answer = await api.client.ask("PATCH", api.path("configmaps", "map"), [{"op": "explode"}], patch="json")
    assert answer.status in (400, 422)
    assert answer.body["kind"] == "Status"


async def test_who_has_no_right_gets_a_403_that_names_the_right(api: Api) -> None:
    await api.apply(stateful_set())
    client = await api.restricted([{"apiGroups": ["apps"], "resources": ["statefulsets"], "verbs": ["get"]}])
    patch = [{"op": "replace", "path": "/spec/replicas", "value": 0}]
    answer = await client.ask("PATCH", api.apps("statefulsets", "web"), patch, patch="json")
    assert answer.status == 403
    assert shape(answer.body) == failure(403, "Forbidden", name="web", group="apps", kind="statefulsets")
    who = f"system:serviceaccount:{api.namespace}:tml-bot"
    assert answer.body["message"] == (
        f'statefulsets.apps "web" is forbidden: User "{who}" cannot patch resource "statefulsets" '
        f'in API group "apps" in the namespace "{api.namespace}"'
    )


async def test_who_may_not_list_gets_a_403_without_a_name(api: Api) -> None:
    client = await api.restricted([])
    answer = await client.ask("GET", api.path("pods"))
    assert shape(answer.body) == failure(403, "Forbidden", kind="pods")


async def test_a_token_that_nobody_gave_out_is_a_401(api: Api) -> None:
    async with open_client(api.client.access.as_user("nobody")) as client:
        answer = await client.ask("GET", api.path("pods"))
    assert shape(answer.body) == failure(401, "Unauthorized")


async def test_the_bots_door_tells_them_apart(api: Api) -> None:
    door = await api.door(documented_rules())
    sets, leases = api.apps("statefulsets"), api.path("leases", group="coordination.k8s.io/v1")
    await api.apply(stateful_set(), lease())
    with pytest.raises(Gone):
        await door.get(f"{sets}/none")
    with pytest.raises(Conflict):
        await door.create(leases, lease())
    with pytest.raises(Conflict):
        await door.patch(f"{sets}/web", [{"op": "test", "path": "/spec/replicas", "value": 7}])
    with pytest.raises(Invalid):
        await door.patch(f"{sets}/web", [{"op": "replace", "path": "/spec/replicas", "value": -1}])
    with pytest.raises(Forbidden):
        await door.get(api.path("secrets"))


async def test_the_log_of_a_pod_that_is_not_there_is_a_404(api: Api) -> None:
    answer = await api.client.ask("GET", api.path("pods", "none") + "/log")
    assert shape(answer.body) == failure(404, "NotFound", name="none", kind="pods")


async def test_the_log_of_a_container_that_is_not_there_is_a_400(api: Api) -> None:
    await api.apply(pod())
    answer = await api.client.ask("GET", api.path("pods", "one") + "/log", params={"container": "none"})
    assert shape(answer.body) == failure(400, "BadRequest")
    assert answer.body["message"] == "container none is not valid for pod one"
