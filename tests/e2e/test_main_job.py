"""A cluster stopped and started from Slack, with everything people see on the way."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

import sandbox
from sandbox import Sandbox, tml
from sandbox.kubernetes import FAULT_ANNOTATION
from sandbox.kubernetes.faults import Fault
from sandbox.kubernetes.resources import CLAIMS, DEPLOYMENTS, PODS, SECRETS, SERVICES, STATEFULSETS
from tests.e2e.town import PATIENCE, SCALE, Town, bot, town, words_of

PROD = tml.PROD_NAMESPACE
STAGING = tml.STAGING_NAMESPACE


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Town]:
    async with town(tmp_path) as made:
        yield made


def break_workload(box: Sandbox, name: str, fault: str | None, namespace: str = PROD) -> None:
    resource = DEPLOYMENTS if "deploy" in name else STATEFULSETS
    box.kubernetes.annotate(resource, namespace, name, FAULT_ANNOTATION, fault)


def replicas(box: Sandbox, namespace: str = PROD) -> dict[str, int]:
    store = box.kubernetes.store
    return {
        found["metadata"]["name"]: found["spec"]["replicas"]
        for resource in (STATEFULSETS, DEPLOYMENTS)
        for found in store.list(resource, namespace)
    }


async def test_a_production_stop_asks_back_and_then_keeps_everything_but_the_pods(place: Town) -> None:
    box = place.box
    kept = {
        r.plural: [o["metadata"]["uid"] for o in box.kubernetes.store.list(r, PROD)]
        for r in (CLAIMS, SERVICES, SECRETS)
    }
    bytes_before = box.kubernetes.volumes.digest(PROD, "sqlvol-mysql-set-0-0")
    card = await place.types("alice", "stop prod because patching the nodes")
    assert "tm 2 → 0" in words_of(card)
    assert "API traffic stops" in words_of(card)
    assert card.only_for == "U0ALICE"
    assert set(replicas(box).values()) == {1, 2}, "a card changes nothing"
    answer = await place.presses("alice", "confirm", card)
    assert "Stopping prod (op-" in words_of(answer)
    live = (
        place.posted("prod")[0]
        if place.posted("prod")
        else await box.slack.until(lambda _: next(iter(place.posted("prod")), None), PATIENCE, "the live message")
    )
    await place.until_says(live, "Stopped prod: patching the nodes")
    thread = place.thread(live)
    assert "7 of 7" not in thread
    assert "5 of 5 Bound" in thread
    assert "NAME" in thread
    assert "ACCESS MODES" in thread
    assert "sqlvol-mysql-set-0-0" in thread
    assert "mysql-set-0-0/" in thread
    assert "ended with exit code 0" in thread
    assert set(replicas(box).values()) == {0}
    assert kept == {
        r.plural: [o["metadata"]["uid"] for o in box.kubernetes.store.list(r, PROD)]
        for r in (CLAIMS, SERVICES, SECRETS)
    }
    assert box.kubernetes.volumes.digest(PROD, "sqlvol-mysql-set-0-0") == bytes_before
    (finished,) = await place.audit(kinds={"finished"})
    assert [claim["status"] for claim in finished.data["claims_after"]] == ["Bound"] * 5
    (begun,) = await place.audit(kinds={"begun"})
    assert begun.actor is not None
    assert begun.actor.user == "U0ALICE"
    assert begun.data["reason"] == "patching the nodes"


async def test_the_no_to_a_card_changes_nothing(place: Town) -> None:
    card = await place.types("alice", "stop prod")
    proposal = card.blocks[-1]["elements"][0]["text"].split(" ")[0]
    answer = await place.presses("alice", "dismiss", card)
    assert "Nothing was changed" in words_of(answer)
    assert 0 not in replicas(place.box).values()
    assert [entry.kind for entry in await place.audit(subject=proposal)] == ["proposed", "proposal-dismissed"]


async def test_a_start_brings_back_what_a_stop_took_away_in_the_order_of_the_needs(place: Town) -> None:
    before = replicas(place.box, STAGING)
    stopped = await place.orders("carol", "stop staging", "ops")
    await place.until_says(stopped, "Stopped staging")
    place.box.kubernetes.writes.clear()
    started = await place.orders("carol", "start staging because done", "ops")
    await place.until_says(started, "Started staging: done")
    assert replicas(place.box, STAGING) == before
    assert "traffic answers" in place.thread(started)
    touched = {write.resource for write in place.box.kubernetes.writes if write.identity}
    assert touched <= {"statefulsets", "deployments", "leases", "selfsubjectaccessreviews"}, "never a claim"
    ups = [
        write.name
        for write in place.box.kubernetes.writes
        if write.resource in {"statefulsets", "deployments"} and '"value": 1' in str(write.body).replace("'", '"')
    ]
    assert ups.index("cass-set-0") < ups.index("log-set-0") < ups.index("mysql-set-0") < ups.index("tm-deploy-0")


async def test_two_people_type_stop_at_the_same_moment_and_one_operation_runs(place: Town) -> None:
    answers = await asyncio.gather(*(place.types(name, "stop staging") for name in ("alice", "bob")))
    texts = sorted(words_of(answer) for answer in answers)
    assert sum("Stopping staging (op-" in text for text in texts) == 1
    assert sum("staging is busy" in text for text in texts) == 1
    assert len(await place.audit(kinds={"begun"})) == 1
    assert len(await place.audit(kinds={"refused"})) == 1


async def test_what_is_stopped_already_is_refused_with_since_when_and_by_whom(place: Town) -> None:
    await place.until_says(await place.orders("carol", "stop staging", "ops"), "Stopped staging")
    answer = words_of(await place.types("alice", "stop staging"))
    assert "already stopped" in answer
    assert "<@U0CAROL>" in answer
    answer = words_of(await place.types("alice", "stop staging please"))
    assert "already stopped" in answer


@pytest.mark.parametrize("person", ["dave", "greta"])
async def test_who_may_not_operate_is_answered_and_recorded(person: str, place: Town) -> None:
    answer = words_of(await place.types(person, "stop staging"))
    assert "may not do this" in answer or "This is for operators of staging" in answer
    (refused,) = await place.audit(kinds={"refused"})
    assert refused.actor is not None
    assert refused.actor.user == f"U0{person.upper()}"
    assert 0 not in replicas(place.box, STAGING).values()


async def test_a_start_that_fails_names_pod_and_reason_and_the_same_command_goes_on_after_the_repair(
    place: Town,
) -> None:
    await place.until_says(await place.orders("alice", "stop prod"), "Stopped prod")
    break_workload(place.box, "mysql-set-0", "never-ready")
    failed = await place.orders("bob", "start prod")
    await place.until_says(failed, "FAILED to start prod")
    thread = place.thread(failed)
    assert "mysql-set-0-0" in thread
    assert "not done: sql and tm" in thread
    assert "kubectl --context sandbox -n ml550 scale deployment/tm-deploy-0 --replicas=2" in thread
    break_workload(place.box, "mysql-set-0", None)
    summary = next(m for m in reversed(place.box.slack.thread("prod", failed.ts)) if "again" in str(m.blocks))
    card = await place.presses("bob", "again", summary)
    await place.presses("bob", "confirm", card)
    live = await place.box.slack.until(
        lambda _: next((m for m in place.posted("prod") if m.text.startswith("Started prod")), None),
        PATIENCE,
        "started",
    )
    await place.until_says(live, "Started prod")
    assert replicas(place.box)["tm-deploy-0"] == 2


async def test_a_restart_rolls_cm_and_leaves_traffic_alone(place: Town) -> None:
    before = pods(place, "cm-deploy")
    live = await place.orders("carol", "restart staging cm because new certificate", "ops")
    await place.until_says(live, "Restarted cm of staging: new certificate")
    after = pods(place, "cm-deploy")
    assert before
    assert after
    assert not before & after
    assert replicas(place.box, STAGING)["cm-deploy-0"] == 1


def pods(place: Town, prefix: str) -> set[str]:
    found = place.box.kubernetes.store.list(PODS, STAGING)
    return {pod["metadata"]["uid"] for pod in found if pod["metadata"]["name"].startswith(prefix)}


async def test_a_restart_that_would_take_the_only_database_down_needs_the_word(place: Town) -> None:
    assert "--downtime" in words_of(await place.types("carol", "restart staging sql"))
    live = await place.orders("carol", "restart staging sql --downtime", "ops")
    await place.until_says(live, "Restarted sql of staging")


async def test_counts_that_nobody_remembers_come_from_cm_and_are_confirmed_even_outside_production(
    place: Town,
) -> None:
    store = place.box.kubernetes.store
    for resource in (STATEFULSETS, DEPLOYMENTS):
        for found in store.list(resource, STAGING):
            store.change(resource, STAGING, found["metadata"]["name"], lambda o: o["spec"].update(replicas=0))
    await place.box.kubernetes.stopped(STAGING)
    card = await place.types("carol", "start staging")
    assert "nobody remembers its count; cm declares 1" in words_of(card)
    await place.presses("carol", "confirm", card)
    await place.box.kubernetes.ready(STAGING)


async def test_a_card_is_void_when_the_cluster_changed_and_the_new_plan_is_asked(place: Town) -> None:
    card = await place.types("alice", "stop prod")
    place.box.kubernetes.store.change(DEPLOYMENTS, PROD, "tm-deploy-0", lambda o: o["spec"].update(replicas=3))
    answer = await place.presses("alice", "confirm", card)
    assert "The cluster changed since you were asked" in words_of(answer)
    assert "tm 3 → 0" in words_of(answer)
    assert 0 not in replicas(place.box).values()


async def test_a_card_pressed_by_somebody_else_changes_nothing(place: Town) -> None:
    card = await place.types("alice", "stop prod")
    payload = place.box.slack.person("alice").press_payload("confirm", card)
    payload["user"] = {**payload["user"], "id": "U0BOB", "username": "bob", "name": "bob"}
    reply = await place.box.slack.person("bob").sends(payload)
    answers = await reply.answers(1, timeout=PATIENCE)
    assert "asked for by somebody else" in words_of(answers[-1])
    assert 0 not in replicas(place.box).values()


async def test_status_tells_why_something_is_unready_though_nothing_runs(place: Town) -> None:
    break_workload(place.box, "cache-set-0", "image-pull", STAGING)
    place.box.kubernetes.store.delete(PODS, STAGING, "cache-set-0-0")
    await place.box.kubernetes.until(
        lambda store: "ImagePullBackOff" in str(store.find(PODS, STAGING, "cache-set-0-0")), PATIENCE
    )
    text = words_of(await place.types("dave", "status staging"))
    assert "staging is partly up" in text
    assert "ImagePullBackOff" in text


async def test_status_says_when_the_cluster_is_no_longer_as_it_was_left(place: Town) -> None:
    await place.until_says(await place.orders("carol", "stop staging", "ops"), "Stopped staging")
    place.box.kubernetes.store.change(STATEFULSETS, STAGING, "cass-set-0", lambda o: o["spec"].update(replicas=1))
    text = words_of(await place.types("dave", "status staging"))
    assert "No longer as the bot left it" in text
    assert "nosql has 1 replicas" in text


async def test_a_workload_that_somebody_deleted_is_named_by_status_and_before_a_start(place: Town) -> None:
    await place.until_says(await place.orders("carol", "stop staging", "ops"), "Stopped staging")
    place.box.kubernetes.store.delete(STATEFULSETS, STAGING, "cache-set-0")
    gone = "cache is gone: there is no statefulset/cache-set-0 any more"
    assert gone in words_of(await place.types("dave", "status staging"))
    card = await place.types("carol", "start staging")
    assert gone in words_of(card)
    assert "confirm" in str(card.blocks)


async def test_what_somebody_did_by_hand_is_not_blamed_on_the_last_operation(place: Town) -> None:
    await place.until_says(await place.orders("carol", "stop staging", "ops"), "Stopped staging")
    await place.until_says(await place.orders("alice", "start staging", "ops"), "Started staging")
    store = place.box.kubernetes.store
    for resource in (STATEFULSETS, DEPLOYMENTS):
        for found in store.list(resource, STAGING):
            store.change(resource, STAGING, found["metadata"]["name"], lambda o: o["spec"].update(replicas=0))
    await place.box.kubernetes.stopped(STAGING)
    answer = words_of(await place.types("carol", "stop staging"))
    assert "already stopped" in answer
    assert "not by this bot" in answer
    assert "<@U0CAROL>" not in answer


async def test_a_killed_database_is_a_warning_in_the_thread(place: Town) -> None:
    break_workload(place.box, "mysql-set-0", "slow-stop", STAGING)
    live = await place.orders("carol", "stop staging", "ops")
    await place.until_says(live, "Stopped staging")
    assert "was KILLED (exit 137)" in place.thread(live)


SECONDS = 10.0
"""Trouble may cost so much, far less than `unhurried`'s deadline."""


@pytest.fixture
async def unhurried(tmp_path: Path) -> AsyncIterator[Town]:
    """A start has ten real minutes, not the sandbox's few seconds: what is late is not failed."""
    async with sandbox.start(tmp_path, time_scale=SCALE, limits=None) as box:
        configuration = box.write_configuration()
        configuration.write_text(re.sub(r"up: \d+s", "up: 10m", configuration.read_text()))
        async with bot(box, configuration):
            yield Town(box)


WATCH_FAULTS = [
    Fault("silent", verb="watch", times=4),
    Fault("drop_watch", verb="watch", after_events=2, times=8),
    Fault("expired", verb="watch", times=4),
    Fault("status", verb="list", status=503, times=3),
    Fault("status", verb="patch", status=429, retry_after=1, times=2),
    Fault("drop_after", verb="patch", times=2),
]


@pytest.mark.parametrize("fault", WATCH_FAULTS, ids=lambda fault: f"{fault.kind}-{fault.verb}")
async def test_trouble_on_the_wire_costs_seconds_and_not_the_start(fault: Fault, unhurried: Town) -> None:
    place, fault = unhurried, replace(fault)  # a rule counts, and the list is shared
    await place.until_says(await place.orders("carol", "stop staging", "ops"), "Stopped staging")
    answer = await place.types("carol", "start staging")
    begun = time.monotonic()
    place.box.kubernetes.faults.add(fault)
    assert "Starting staging" in words_of(answer)
    live = await place.box.slack.until(
        lambda _: next((m for m in place.posted("ops") if "staging" in m.text and m.text.startswith("Start")), None),
        PATIENCE,
        "the live message",
    )
    await place.until_says(live, "Started staging")
    assert time.monotonic() - begun < SECONDS
    assert fault.met == fault.times, "all of the trouble came"


async def test_reading_commands_answer_privately_and_change_nothing(place: Town) -> None:
    expected = {
        "help": "stop CLUSTER",
        "": "stop CLUSTER",
        "list": "staging",
        "status prod": "prod is running",
        "plan stop prod": "nothing was changed",
        "plan restart staging cm": "cm ×1",
        "history": "Nothing was done yet",
        "history prod": "Nothing was done yet",
        "whoami": "look at: prod and staging",
        "stpo prod": "Did you mean: /tml stop prod",
        "stop “prd”": "Did you mean: /tml stop prod",
        "stop <!channel>": "no cluster",
    }
    for words, answer in expected.items():
        message = await place.types("dave", words)
        assert answer in words_of(message), words
        assert message.only_for == "U0DAVE"
        assert "<!channel>" not in words_of(message)
    writes = [write for write in place.box.kubernetes.writes if "review" not in write.resource]
    assert not [write for write in writes if "tml-bot" in write.user_agent]
    assert await place.audit(kinds={"begun"}) == ()


async def test_a_context_that_cannot_be_loaded_keeps_no_other_cluster_from_being_served(tmp_path: Path) -> None:
    async with sandbox.start(tmp_path, time_scale=SCALE, limits=None) as box:
        configuration = box.write_configuration()
        configuration.write_text(configuration.read_text().replace("context: sandbox", "context: elsewhere", 1))
        async with bot(box, configuration):
            place = Town(box)
            assert "staging is running" in words_of(await place.types("dave", "status staging"))
            answer = words_of(await place.types("alice", "stop prod"))
            assert "cannot ask Kubernetes: context elsewhere of the kubeconfig cannot be loaded" in answer
            assert "Nothing was changed" in answer


async def test_the_sandbox_is_what_the_command_prints(tmp_path: Path) -> None:
    async with sandbox.start(tmp_path, time_scale=0.002, limits=None) as box:
        assert box.write_configuration().exists()
        assert box.kubeconfig.exists()
