"""A stop takes the objects away and keeps the claims; a start makes them again: through both sandboxes."""

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sandbox import Sandbox, tml
from sandbox.kubernetes.faults import Fault
from sandbox.kubernetes.resources import DEPLOYMENTS, SECRETS, SERVICES, STATEFULSETS, Object
from sandbox.kubernetes.writes import Write
from sandbox.slack import Message
from tests.e2e.belongings import (
    assert_no_secret_in,
    bytes_of,
    captures,
    comparable,
    objects,
    policies,
    shared,
    uids,
)
from tests.e2e.served import Tripwire, served
from tests.e2e.town import PATIENCE, Town, bot, town, unhurried, words_of

PROD = tml.PROD_NAMESPACE
STAGING = tml.STAGING_NAMESPACE
SHARED = {f"Secret/{name}" for name in ("cluster-property", "zones-property", "papi-property", "tmgc-registry-key")}
ADDRESSES = {"Service/tm-svc", "Service/cm-svc-0", "Service/reporting-app-0"}
"""What stays in production, and elsewhere only with --keep-services."""
REMOVED = "Stopped and removed"


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Town]:
    async with town(tmp_path, configured=unhurried, filled=(PROD, STAGING)) as made:
        yield made


def claims(box: Sandbox, namespace: str) -> dict[str, tuple[str, str]]:
    """By name: the claim's uid and phase."""
    return {
        name: (one["metadata"]["uid"], one["status"]["phase"])
        for name, one in objects(box, namespace).items()
        if name.startswith("PersistentVolumeClaim/")
    }


def gone(box: Sandbox, namespace: str) -> set[str]:
    """What is there but for the claims."""
    return {name for name in objects(box, namespace) if not name.startswith("PersistentVolumeClaim/")}


def versions_of_storage(box: Sandbox, namespace: str) -> dict[str, str]:
    """Nobody writes to a claim or a volume, not even an annotation."""
    found = [*box.kubernetes.writes]
    return {
        write.name: write.verb
        for write in found
        if write.changed
        and write.resource in ("persistentvolumeclaims", "persistentvolumes")
        and write.namespace in ("", namespace)
        and write.user_agent.startswith("tml-bot")
    }


async def removed(place: Town, words: str = "stop staging --remove", channel: str = "ops") -> Message:
    live = await place.orders("alice", words, channel)
    await place.until_says(live, REMOVED)
    return live


async def started(place: Town, words: str = "start staging", channel: str = "ops") -> Message:
    live = await place.orders("alice", words, channel)
    await place.until_says(live, "Started")
    return live


async def test_production_is_asked_with_a_card_that_says_what_goes_and_a_start_brings_back_exactly_that(
    place: Town,
) -> None:
    box = place.box
    scale(box, PROD, "tm-deploy-0", 3)
    note(box, PROD, "mysql-set-0")
    await box.kubernetes.ready(PROD)
    before, held, whole = objects(box, PROD), claims(box, PROD), bytes_of(box, PROD)
    ours, kept, common = uids(box, PROD), policies(box, PROD), shared(box)
    assert {phase for _, phase in held.values()} == {"Bound"}

    card = await place.types("alice", "stop prod --remove because the contract ends")
    said = words_of(card)
    assert "Stop and remove prod" in said
    assert "remove 2 Deployments, 28 Secrets, 5 Services and 5 StatefulSets" in said
    assert "write down every object as it is" in said
    assert "5 claims and their volumes are not touched" in said
    assert "tm-svc stays with its address 127.0.0.1" in said
    assert "what all components share stays: cluster-property, papi-property and zones-property" in said
    assert objects(box, PROD) == before, "what waits for a yes changes nothing"
    live = await place.operation(words_of(await place.presses("alice", "confirm", card)))
    await place.until_says(live, "Stopped and removed prod: the contract ends")

    assert gone(box, PROD) == {*SHARED, *ADDRESSES}
    assert {name: uid for name, uid in uids(box, PROD).items() if name in ours} == uids(box, PROD), "nothing is new"
    assert claims(box, PROD) == held
    assert policies(box, PROD) == kept
    assert bytes_of(box, PROD) == whole
    assert shared(box) == common
    assert versions_of_storage(box, PROD) == {}
    assert len(captures(box, PROD)) == 1
    thread = place.thread(live)
    assert "Volumes* 5 of 5 Bound" in thread
    assert "sqlvol-mysql-set-0-0" in thread
    assert "every database container ended by itself" in thread
    assert "/tml start prod` brings all of it back as it was" in thread

    for words in ("stop prod", "stop prod --remove", "restart prod", "delete prod because x", "restore prod"):
        answer = words_of(await place.types("bob", words))
        assert "prod was stopped and removed by op-" in answer, words
        assert "`/tml start prod` brings it back" in answer, words
    status = words_of(await place.types("dave", "status prod"))
    assert "prod is stopped and removed by op-" in status
    assert "`/tml start prod` brings it back" in status
    assert "Volumes* 5 of 5 Bound" in status
    assert "stopped and removed by op-" in words_of(await place.types("dave", "list"))

    question = await place.types("bob", "start prod because it goes on")
    assert "make 2 Deployments, 28 Secrets, 5 Services and 5 StatefulSets again" in words_of(question)
    back = await place.operation(words_of(await place.presses("bob", "confirm", question)))
    await place.until_says(back, "Started prod: it goes on")
    assert comparable(objects(box, PROD)) == comparable(before)
    assert replicas(objects(box, PROD)) == replicas(before)
    assert claims(box, PROD) == held
    assert bytes_of(box, PROD) == whole
    assert policies(box, PROD) == kept
    assert versions_of_storage(box, PROD) == {}
    assert (await box.kubernetes.traffic(PROD))[0] == 200
    assert "traffic answers" in place.thread(back)
    assert "prod is running" in words_of(await place.types("dave", "status prod"))
    assert "already running" in words_of(await place.types("bob", "start prod"))
    (seen,) = [entry for entry in await place.audit(kinds={"passed"}) if entry.data["phase"] == "capture"]
    annotations = captures(box, PROD)[0]["metadata"]["annotations"]
    assert seen.data["capture"] == annotations["tml-bot/sha256"]


def scale(box: Sandbox, namespace: str, name: str, replicas: int) -> None:
    box.kubernetes.store.change(DEPLOYMENTS, namespace, name, lambda one: one["spec"].update(replicas=replicas))


def note(box: Sandbox, namespace: str, name: str) -> None:
    """Live changes that are in no manifest: an image, a probe, an annotation."""

    def change(one: Object) -> None:
        one["metadata"].setdefault("annotations", {})["example.com/owner"] = "api team"
        container = one["spec"]["template"]["spec"]["containers"][0]
        container["image"] = f"{container['image']}-patched"
        container["readinessProbe"]["failureThreshold"] = 7

    box.kubernetes.store.change(STATEFULSETS, namespace, name, change)


def replicas(found: dict[str, Object]) -> dict[str, int]:
    return {name: one["spec"]["replicas"] for name, one in found.items() if "replicas" in one.get("spec", {})}


async def test_a_cluster_whose_mode_is_remove_goes_and_comes_back_twice_each_time_as_it_was_then(
    tmp_path: Path,
) -> None:
    async with town(tmp_path, serve=False) as place:
        box, configuration = place.box, unhurried(place.box)
        written = configuration.read_text()
        assert "environment: staging" in written
        configuration.write_text(written.replace("environment: staging", "environment: staging\n    stop_mode: remove"))
        held = claims(box, STAGING)
        async with bot(box, configuration):
            for count in (1, 2):
                scale(box, STAGING, "tm-deploy-0", count)
                await box.kubernetes.ready(STAGING)
                before = objects(box, STAGING)
                live = await removed(place, "stop staging --keep-services because the night begins")
                assert gone(box, STAGING) == {*SHARED, *(ADDRESSES - {"Service/reporting-app-0"})}
                assert "Stays" in place.thread(live) or "stays with its address" in place.thread(live)
                await started(place)
                assert comparable(objects(box, STAGING)) == comparable(before)
                assert replicas(objects(box, STAGING)) == replicas(before)
                assert claims(box, STAGING) == held
            assert len(captures(box, STAGING)) == 2, "no capture is ever lost"
            plan = words_of(await place.types("alice", "plan stop staging --release-services"))
            assert "is given up" in plan


async def test_a_cluster_that_is_stopped_already_is_removed_and_comes_back_running(place: Town) -> None:
    box = place.box
    before, held = objects(box, STAGING), claims(box, STAGING)
    stopped = await place.orders("alice", "stop staging", "ops")
    await place.until_says(stopped, "Stopped staging")
    await removed(place)
    assert gone(box, STAGING) == SHARED
    await started(place)
    assert comparable(objects(box, STAGING)) == comparable(before)
    assert replicas(objects(box, STAGING)) == replicas(before)
    assert claims(box, STAGING) == held


async def test_options_that_mean_nothing_here_are_refused_with_what_to_type(place: Town) -> None:
    answer = words_of(await place.types("alice", "stop staging --keep-services"))
    assert "/tml stop staging --remove --keep-services" in answer
    answer = words_of(await place.types("alice", "stop staging --remove --snapshot"))
    assert "First `/tml stop staging --snapshot`, then `/tml stop staging --remove`" in answer
    answer = words_of(await place.types("alice", "start staging --overwrite"))
    assert "nothing of staging is removed" in answer


async def test_what_fails_before_anything_is_removed_is_running_again_before_it_is_said(place: Town) -> None:
    box = place.box
    before, running = uids(box, STAGING), comparable(objects(box, STAGING))
    box.kubernetes.faults.add(Fault("status", verb="create", resource="secrets", status=403))
    live = await place.orders("alice", "stop staging --remove", "ops")
    await place.until_says(live, "FAILED to stop and remove staging")
    assert (await box.kubernetes.traffic(STAGING))[0] == 200
    thread = place.thread(live)
    assert "is not stopped and removed, and nothing was removed" in thread
    assert "was started again" in thread
    assert "`/tml stop staging --remove` once the cause is mended" in thread
    assert uids(box, STAGING) == before
    assert comparable(objects(box, STAGING)) == running


async def test_what_fails_half_removed_is_named_so_and_only_a_start_leads_out_of_it(place: Town) -> None:
    box = place.box
    before, held = objects(box, STAGING), claims(box, STAGING)
    box.kubernetes.faults.add(Fault("status", verb="delete", resource="statefulsets", name="cass-set-0", status=403))
    live = await place.orders("alice", "stop staging --remove", "ops")
    await place.until_says(live, "FAILED to stop and remove staging")
    thread = await place.until_thread(live, "*Go on with*")
    assert "`/tml start staging` brings back what was removed" in thread
    assert "not done: nosql" in thread
    assert "StatefulSet/cass-set-0" in objects(box, STAGING)
    box.kubernetes.faults.clear()
    for words in ("stop staging --remove", "delete staging because it moves", "restart staging"):
        answer = words_of(await place.types("alice", words))
        assert "staging is half removed" in answer, words
        assert "`/tml start staging` brings all of it back" in answer, words
    for words in ("status staging", "list"):
        answer = words_of(await place.types("alice", words))
        assert "half removed" in answer, words
        assert "/tml start staging" in answer, words
    assert len(captures(box, STAGING)) == 1
    await started(place)
    assert comparable(objects(box, STAGING)) == comparable(before)
    assert claims(box, STAGING) == held
    await removed(place)
    assert gone(box, STAGING) == SHARED


async def test_what_somebody_made_since_is_compared_named_and_overwritten_only_when_that_is_said(
    place: Town,
) -> None:
    box = place.box
    before, held = objects(box, STAGING), claims(box, STAGING)
    await removed(place)
    theirs = {"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "sql-property", "namespace": STAGING}}
    box.kubernetes.apply([theirs | {"data": {"other": base64.b64encode(b"CANARY-other").decode()}}])
    plan = words_of(await place.types("alice", "plan start staging"))
    assert "secret/sql-property is not as captured: data in key other" in plan
    assert "It is left alone" in plan
    assert "CANARY" not in plan
    live = await started(place)
    assert "secret/sql-property is not as captured" in place.thread(live)
    assert set(box.kubernetes.store.get(SECRETS, STAGING, "sql-property")["data"]) == {"other"}
    await removed(place)
    box.kubernetes.store.delete(SECRETS, STAGING, "cluster-property")
    box.kubernetes.apply([{**theirs, "metadata": {"name": "cluster-property", "namespace": STAGING}, "data": {}}])
    live = await started(place, "start staging --overwrite")
    assert "overwrite 1 Secret with what is written down" in place.thread(live)
    after = comparable(objects(box, STAGING))
    mine = comparable(before)
    assert {name for name in mine if after[name] != mine[name]} == {"Secret/sql-property"}, "as it was then"
    assert claims(box, STAGING) == held


async def test_what_somebody_made_again_in_part_is_completed_by_a_start_and_by_nothing_else(place: Town) -> None:
    box = place.box
    before = objects(box, STAGING)
    await removed(place)
    again = [one for one in tml.staging() if one["kind"] == "StatefulSet" and one["metadata"]["name"] == "cass-set-0"]
    box.kubernetes.apply(again)
    answer = words_of(await place.types("dave", "status staging"))
    assert "a part of what op-" in answer
    assert "`/tml start staging` brings all of it back" in answer
    for words in ("stop staging --remove", "delete staging because it moves", "restart staging"):
        assert "staging is half removed" in words_of(await place.types("alice", words)), words
    await started(place)
    assert set(objects(box, STAGING)) == set(before)


async def test_while_it_goes_status_says_so_and_nobody_else_is_blamed(place: Town) -> None:
    box = place.box
    holding = box.kubernetes.faults.add(Fault("status", verb="delete", resource="secrets", status=503))
    live = await place.orders("alice", "stop staging --remove", "ops")

    def is_empty(store: Any) -> bool:
        return not (store.list(STATEFULSETS, STAGING) or store.list(DEPLOYMENTS, STAGING))

    await box.kubernetes.until(is_empty, PATIENCE)
    for words in ("status staging", "list"):
        answer = words_of(await place.types("dave", words))
        assert "stopping and removing now" in answer, words
        assert "not by this bot" not in answer, words
    box.kubernetes.faults.remove(holding)
    await place.until_says(live, REMOVED)


async def test_what_the_vendors_script_took_is_named_by_status_and_by_a_start(place: Town) -> None:
    box = place.box
    store = box.kubernetes.store
    stopped = await place.orders("alice", "stop staging", "ops")
    await place.until_says(stopped, "Stopped staging")
    for resource, name in ((DEPLOYMENTS, "tm-deploy-0"), (STATEFULSETS, "mysql-set-0")):
        store.delete(resource, STAGING, name)
    answer = words_of(await place.types("dave", "status staging"))
    assert "staging is half removed" in answer
    assert "Half removed, and not by this bot" in answer
    assert "sql is gone: there is no statefulset/mysql-set-0 any more" in answer
    assert "claim sqlvol-mysql-set-0-0 is Bound, and there is no StatefulSet for it" in answer
    assert "half removed" in words_of(await place.types("dave", "list"))
    asked = await place.types("alice", "start staging")
    assert "confirm" in str(asked.blocks), "nobody starts a part without wanting to"
    assert "tm is gone: there is no deployment/tm-deploy-0 any more" in words_of(asked)
    for resource in (DEPLOYMENTS, STATEFULSETS, SERVICES):
        for one in store.list(resource, STAGING):
            store.delete(resource, STAGING, one["metadata"]["name"])
    answer = words_of(await place.types("dave", "status staging"))
    assert "staging is removed, and not by this bot" in answer
    assert "sqlvol-mysql-set-0-0 Bound" in answer
    answer = words_of(await place.types("alice", "start staging"))
    assert "removed, and not by this bot" in answer
    assert "statefulset/mysql-set-0" in answer
    assert "removed, and not by this bot; its claims are there" in words_of(await place.types("dave", "list"))


async def test_without_its_capture_a_start_says_what_is_missing_and_runs_what_was_made_by_hand(place: Town) -> None:
    box = place.box
    before = objects(box, STAGING)
    await removed(place)
    for one in captures(box, STAGING):
        box.kubernetes.store.delete(SECRETS, STAGING, one["metadata"]["name"])
    answer = words_of(await place.types("alice", "start staging"))
    assert "its capture is not there, or not whole" in answer
    assert "statefulset/cass-set-0" in answer
    assert "persistentvolumeclaim/sqlvol-mysql-set-0-0" in answer
    assert "the capture is not there" in words_of(await place.types("dave", "status staging"))
    box.kubernetes.apply(tml.staging())
    await box.kubernetes.ready(STAGING)
    assert "already running" in words_of(await place.types("alice", "start staging"))
    assert set(objects(box, STAGING)) == set(before)
    await removed(place)
    await started(place)
    assert set(objects(box, STAGING)) == set(before)


def is_removal(write: Write) -> bool:
    return write.changed and write.verb == "delete" and write.resource in ("statefulsets", "secrets", "services")


def is_making(write: Write) -> bool:
    return write.changed and write.verb == "create" and write.resource in ("statefulsets", "secrets")


async def test_a_stop_and_a_start_whose_process_is_killed_go_on_in_the_next_one(tmp_path: Path) -> None:
    async with town(tmp_path, filled=[STAGING], serve=False) as place:
        box, configuration = place.box, unhurried(place.box)
        before, held, whole = objects(box, STAGING), claims(box, STAGING), bytes_of(box, STAGING)
        async with served(box, configuration) as first:
            box.kubernetes.server.writes = Tripwire(first.process, is_removal, 7)
            await box.slack.person("alice").types("/tml stop staging --remove", "ops")
            assert await first.ended() == -9
        async with served(box, configuration) as second:
            live = await place.the_one(REMOVED)
            assert "taken up by" in place.thread(live)
            assert gone(box, STAGING) == SHARED
            assert claims(box, STAGING) == held
            assert len(captures(box, STAGING)) == 1
            box.kubernetes.server.writes = Tripwire(second.process, is_making, 9)
            await box.slack.person("alice").types("/tml start staging", "ops")
            assert await second.ended() == -9
        async with served(box, configuration):
            back = await place.the_one("Started staging")
            assert "taken up by" in place.thread(back)
        assert comparable(objects(box, STAGING)) == comparable(before)
        assert replicas(objects(box, STAGING)) == replicas(before)
        assert claims(box, STAGING) == held
        assert bytes_of(box, STAGING) == whole
        assert [entry.data["state"] for entry in await place.audit(kinds={"finished"})] == ["done", "done"]


async def test_no_value_of_a_secret_is_seen_anywhere_but_in_secrets(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Through a capture, a start and an overwriting that Kubernetes does not take; as text and as base64."""
    caplog.set_level("DEBUG")
    async with town(tmp_path, configured=unhurried) as place:
        box = place.box
        unwritten = box.kubernetes.faults.add(Fault("status", verb="create", resource="secrets", status=422))
        failed = await place.orders("alice", "stop staging --remove", "ops")
        await place.until_says(failed, "FAILED to stop and remove staging")
        box.kubernetes.faults.remove(unwritten)
        await removed(place)
        other: dict[str, Any] = {"name": "sql-property", "namespace": STAGING}
        theirs = base64.b64encode(b"CANARY-theirs").decode()
        box.kubernetes.apply([{"apiVersion": "v1", "kind": "Secret", "metadata": other, "data": {"other": theirs}}])
        refused = [
            box.kubernetes.faults.add(Fault("status", verb=verb, resource="secrets", status=422))
            for verb in ("create", "patch")
        ]
        live = await place.orders("alice", "start staging --overwrite", "ops")
        await place.until_says(live, "FAILED to start staging")
        assert all(fault.met for fault in refused)
        box.kubernetes.faults.clear()
        await started(place, "start staging --overwrite")
    assert_no_secret_in(caplog.text + "".join(capfd.readouterr()))
