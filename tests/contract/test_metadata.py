"""Metadata without the rest: how the bot knows of Secrets and never receives their values."""

import base64
import json
from typing import Any

import pytest

from tests.cluster.client import Answer
from tests.contract.api import Api
from tests.contract.objects import config, pod

Json = dict[str, Any]

pytestmark = pytest.mark.timeout(60)

ONE = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
MANY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
PLAIN = "application/json"
VALUES = {"password": "canary-of-the-data", "token": "canary-of-the-strings"}
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def secret(name: str = "hidden", **annotations: str) -> Json:
    metadata = {"name": name, "labels": {"app": "tml"}, "annotations": {"note": "kept", **annotations}}
    data = {"password": base64.b64encode(VALUES["password"].encode()).decode()}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata,
        "data": data,
        "stringData": {"token": VALUES["token"]},
    }


def tells_a_value(text: str) -> bool:
    return any(form in text for value in VALUES.values() for form in (value, base64.b64encode(value.encode()).decode()))


async def read(api: Api, name: str = "", *, accept: str, **params: str | int | bool) -> Answer:
    return await api.client.ask("GET", api.path("secrets", name), params=params, accept=accept)


def shown(events: str) -> list[Json]:
    return [json.loads(line) for line in events.splitlines()]


async def test_the_whole_of_a_secret_has_its_values(api: Api) -> None:
    """Else the tests below would prove nothing."""
    await api.apply(secret())
    assert tells_a_value((await read(api, "hidden", accept=PLAIN)).text)


@pytest.mark.parametrize("accept", [ONE, f"{ONE},{PLAIN}", f"{PLAIN};q=0.5,{ONE}", f"application/unicorn,{ONE}"])
async def test_one_objects_metadata_is_all_of_it_and_nothing_else(api: Api, accept: str) -> None:
    await api.apply(secret())
    whole, found = await read(api, "hidden", accept=PLAIN), await read(api, "hidden", accept=accept)
    metadata = whole.body["metadata"]
    assert found.body == {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata}
    assert metadata["labels"] == {"app": "tml"}
    assert not tells_a_value(found.text)


@pytest.mark.parametrize("accept", [MANY, f"{MANY},{PLAIN}"])
async def test_a_lists_items_are_metadata_and_say_so(api: Api, accept: str) -> None:
    await api.apply(secret("a"), secret("b"))
    found = await read(api, accept=accept, labelSelector="app=tml")
    whole = await read(api, accept=PLAIN, labelSelector="app=tml")
    assert (found.body["kind"], found.body["apiVersion"]) == ("PartialObjectMetadataList", "meta.k8s.io/v1")
    assert set(found.body) == {"kind", "apiVersion", "metadata", "items"}
    assert int(found.version) > 0
    kind = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1"}
    assert found.body["items"] == [kind | {"metadata": one["metadata"]} for one in whole.body["items"]]
    assert len(found.body["items"]) == 2
    assert not tells_a_value(found.text)


async def test_a_list_of_none_has_null_for_its_items(api: Api) -> None:
    found = await read(api, accept=MANY, labelSelector="app=nobodys")
    assert found.body["items"] is None
    assert (await read(api, accept=PLAIN, labelSelector="app=nobodys")).body["items"] == []


@pytest.mark.parametrize("accept", [ONE, f"{ONE},{PLAIN}"])
async def test_a_watchs_events_are_metadata(api: Api, accept: str) -> None:
    since = (await read(api, accept=MANY)).version
    (made,) = await api.apply(secret())
    path = api.path("secrets", "hidden")
    await api.client.patch(path, {"metadata": {"labels": {"step": "1"}}})
    await api.client.patch(path, {"stringData": {"token": VALUES["token"] + "-2"}})
    await api.client.delete(path)
    answer = await read(api, accept=accept, watch=True, resourceVersion=since, timeoutSeconds=1)
    assert not tells_a_value(answer.text)
    assert all(is_metadata(event["object"]) for event in shown(answer.text))
    told = [event for event in shown(answer.text) if event["object"]["metadata"]["uid"] == made.uid]
    assert [event["type"] for event in told] == ["ADDED", "MODIFIED", "MODIFIED", "DELETED"]
    versions = [int(event["object"]["metadata"]["resourceVersion"]) for event in told]
    assert versions == sorted(set(versions)), "a change of nothing but a value has a version"
    assert told[1]["object"]["metadata"]["labels"]["step"] == "1"


def is_metadata(found: Json) -> bool:
    kind = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1"}
    return found == kind | {"metadata": found["metadata"]}


async def test_a_watchs_bookmarks_are_metadata(api: Api) -> None:
    since = (await read(api, accept=MANY)).version
    await api.apply(secret())
    for _ in range(4):  # a real server sends one before the watch ends, mostly
        answer = await read(
            api, accept=ONE, watch=True, resourceVersion=since, timeoutSeconds=5, allowWatchBookmarks=True
        )
        marks = [event["object"] for event in shown(answer.text) if event["type"] == "BOOKMARK"]
        if marks:
            break
    assert is_metadata(marks[-1])
    assert int(marks[-1]["metadata"]["resourceVersion"]) > int(since)
    assert not tells_a_value(answer.text)


async def test_a_watch_from_a_lists_version_goes_on_from_there(api: Api) -> None:
    await api.apply(secret("before"))
    since = (await read(api, accept=MANY)).version
    await api.apply(secret("after"))
    answer = await read(api, accept=ONE, watch=True, resourceVersion=since, timeoutSeconds=1)
    assert [one["object"]["metadata"]["name"] for one in shown(answer.text)] == ["after"]


async def test_a_watch_without_a_version_begins_with_what_is_there(api: Api) -> None:
    await api.apply(secret())
    answer = await read(api, accept=ONE, watch=True, timeoutSeconds=1, fieldSelector="metadata.name=hidden")
    assert [(one["type"], set(one["object"])) for one in shown(answer.text)] == [
        ("ADDED", {"kind", "apiVersion", "metadata"})
    ]


async def test_a_watch_by_the_list_tells_nothing(api: Api) -> None:
    await api.apply(secret())
    answer = await read(api, accept=MANY, watch=True, timeoutSeconds=1, fieldSelector="metadata.name=hidden")
    assert (answer.status, answer.text) == (200, "")


async def test_every_resource_has_its_metadata(api: Api) -> None:
    await api.apply(config(key="canary-of-the-data"), pod())
    for path in (api.path("configmaps", "map"), api.path("pods", "one"), f"/api/v1/namespaces/{api.namespace}"):
        found = await api.client.ask("GET", path, accept=ONE)
        assert set(found.body) == {"kind", "apiVersion", "metadata"}
        assert not tells_a_value(found.text)


async def test_the_metadata_of_the_older_version_says_so(api: Api) -> None:
    await api.apply(secret())
    older = ONE.replace("v=v1", "v=v1beta1")
    assert (await read(api, "hidden", accept=older)).body["apiVersion"] == "meta.k8s.io/v1beta1"


@pytest.mark.parametrize(
    ("name", "accept", "why"),
    [
        ("hidden", ONE.replace("v=v1", "v=v2"), "only the following media types are accepted: application/json, "),
        ("hidden", ONE.replace("Metadata", "Unicorn"), "only the following media types are accepted: "),
        ("hidden", ONE.partition(";g=")[0], "only the following media types are accepted: "),
        ("hidden", "application/unicorn", "406: Not Acceptable\n\nAvailable representations: application/json, "),
        ("hidden", MANY, "you requested PartialObjectMetadataList, but the requested object is not a list ("),
        ("hidden", f"{MANY},{PLAIN}", "you requested PartialObjectMetadataList, but the requested object is not a"),
        ("", ONE, "you requested PartialObjectMetadata, but the requested object is a list ("),
        ("", f"{ONE},{PLAIN}", "you requested PartialObjectMetadata, but the requested object is a list ("),
    ],
)
async def test_what_cannot_be_served_is_a_406(api: Api, name: str, accept: str, why: str) -> None:
    await api.apply(secret())
    answer = await read(api, name, accept=accept)
    assert (answer.status, answer.body["code"]) == (406, 406)
    assert (answer.body["kind"], answer.body["status"], answer.body["reason"]) == ("Status", "Failure", "NotAcceptable")
    assert answer.body["message"].startswith(why)
    assert not tells_a_value(answer.text)


async def test_a_form_that_nobody_serves_falls_back_to_the_whole_object(api: Api) -> None:
    """So a header must not name one: what is meant to keep the values out would bring them."""
    await api.apply(secret())
    answer = await read(api, "hidden", accept=f"{ONE.replace('v=v1', 'v=v2')},{PLAIN}")
    assert (answer.status, answer.body["kind"]) == (200, "Secret")


async def test_what_is_not_there_is_a_404_all_the_same(api: Api) -> None:
    answer = await read(api, "none", accept=ONE)
    assert (answer.status, answer.body["kind"], answer.body["reason"]) == (404, "Status", "NotFound")


async def test_who_may_not_read_secrets_may_not_read_their_metadata(api: Api) -> None:
    await api.apply(secret())
    client = await api.restricted([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]}])
    for name, accept in (("hidden", ONE), ("", MANY)):
        assert (await client.ask("GET", api.path("secrets", name), accept=accept)).status == 403


async def test_a_write_is_answered_by_metadata_too(api: Api) -> None:
    made = await api.client.ask("POST", api.path("secrets"), secret(), accept=ONE)
    assert (made.status, made.body["kind"]) == (201, "PartialObjectMetadata")
    change = {"stringData": {"token": VALUES["token"] + "-2"}}
    changed = await api.client.ask("PATCH", api.path("secrets", "hidden"), change, patch="merge", accept=ONE)
    assert (changed.status, changed.body["kind"]) == (200, "PartialObjectMetadata")
    gone = await api.client.ask("DELETE", api.path("secrets", "hidden"), accept=ONE)
    assert (gone.status, gone.body["kind"]) == (200, "Status")
    assert not tells_a_value(made.text + changed.text + gone.text)


async def test_a_refused_form_of_a_write_changes_nothing_if_it_is_served_by_nobody(api: Api) -> None:
    await api.apply(secret())
    path = api.path("secrets", "hidden")
    change = {"metadata": {"labels": {"changed": "yes"}}}
    wrong = ONE.replace("v=v1", "v=v2")
    assert (await api.client.ask("PATCH", path, change, patch="merge", accept=wrong)).status == 406
    assert "changed" not in (await read(api, "hidden", accept=ONE)).body["metadata"]["labels"]


async def test_what_kubectl_left_in_an_annotation_comes_along(api: Api) -> None:
    """`kubectl apply` keeps the whole manifest there, values too: whoever shows or stores metadata leaves it out."""
    await api.apply(secret(**{LAST_APPLIED: json.dumps(secret()["data"])}))
    assert tells_a_value((await read(api, "hidden", accept=ONE)).text)
