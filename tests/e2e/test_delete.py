"""Delete needs two people, and nothing it removes is gone: asked, approved, done and undone through both sandboxes."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from sandbox import Sandbox, tml
from sandbox.kubernetes.faults import Fault
from sandbox.kubernetes.resources import CLAIMS, DEPLOYMENTS, PODS, STORAGE_CLASSES
from sandbox.kubernetes.writes import Write
from sandbox.slack import Message
from tests.e2e.belongings import (
    assert_no_secret_in,
    bytes_of,
    captures,
    comparable,
    fill,
    objects,
    policies,
    shared,
    uids,
    versions,
    volumes,
)
from tests.e2e.served import Tripwire, served
from tests.e2e.town import PATIENCE, Town, approval_in, bot, town, unhurried, words_of

PROD = tml.PROD_NAMESPACE
STAGING = tml.STAGING_NAMESPACE
PULL_SECRET = f"Secret/{'tmgc-registry-key'}"
ADDRESSES = {"Service/tm-svc", "Service/cm-svc-0"}
"""What stays in production, and elsewhere only with --keep-services."""


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Town]:
    async with town(tmp_path, configured=unhurried, filled=(PROD, STAGING)) as made:
        yield made


async def deleted(
    place: Town, cluster: str = "staging", channel: str = "ops", asks: str = "alice", says_yes: str = "carol"
) -> Message:
    """Asked for, approved and done; its live message."""
    _, card = await place.asks(asks, f"delete {cluster} because it moves", channel)
    live = await place.operation(await place.says_yes(says_yes, card, cluster), channel)
    await place.until_says(live, f"Deleted {cluster}: it moves")
    return live


async def restored(place: Town, cluster: str = "staging", channel: str = "ops") -> Message:
    answer = await place.types("alice", f"restore {cluster}")
    if "confirm" in str(answer.blocks):
        answer = await place.presses("alice", "confirm", answer)
    live = await place.operation(words_of(answer), channel)
    await place.until_says(live, f"Restored {cluster}")
    return live


def writes_of_the_bot(box: Sandbox) -> list[str]:
    """What changed something; Leases and questions about rights are no part of a cluster."""
    quiet = {"leases", "selfsubjectaccessreviews"}
    return [
        f"{write.verb} {write.resource}/{write.name}"
        for write in box.kubernetes.writes
        if write.changed and write.resource not in quiet
    ]


FOREIGN: list[dict[str, Any]] = [
    {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "portal-secret", "namespace": PROD},
        "data": {"key": "djE="},
    },
    {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "portal", "namespace": PROD},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": "portal"}},
            "template": {
                "metadata": {"labels": {"app": "portal"}},
                "spec": {
                    "containers": [
                        {
                            "name": "portal",
                            "image": "registry.example.com/portal:1",
                            "envFrom": [{"secretRef": {"name": "portal-secret"}}],
                        }
                    ]
                },
            },
        },
    },
    {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "portal", "namespace": PROD},
        "spec": {"selector": {"app": "portal"}, "ports": [{"port": 80}]},
    },
]
"""Somebody else's, in the cluster's namespace."""
THEIRS = {"Secret/portal-secret", "Deployment/portal", "Service/portal"}


async def test_a_delete_asked_by_one_and_approved_by_another_takes_only_the_clusters_own_and_undo_brings_all_back(
    place: Town,
) -> None:
    box = place.box
    box.kubernetes.apply(FOREIGN)
    await box.kubernetes.ready(PROD)
    before, whole, others = objects(box, PROD), bytes_of(box, PROD), uids(box, STAGING)
    ours, kept, common = uids(box, PROD), policies(box, PROD), shared(box)
    assert {policy for _, policy, _ in kept.values()} == {"Delete"}
    elsewhere = (bytes_of(box, STAGING), policies(box, STAGING))

    _, card = await place.asks("alice", "delete prod because it moves away")
    assert writes_of_the_bot(box) == [], "what waits for a yes changes nothing"
    assert "Delete prod? Needs a second person's yes" in card.text
    assert card.only_for is None
    notice = await box.slack.until(lambda _: box.slack.person("carol").direct_messages, PATIENCE, "a direct message")
    assert "Open the card" in words_of(notice[0])
    page = await place.says_yes("carol", card, "prod", "checked with the customer")
    live = await place.operation(page)
    await place.until_says(live, "Deleted prod: it moves away")

    assert set(objects(box, PROD)) == {PULL_SECRET, *THEIRS, *ADDRESSES, "Service/reporting-app-0"}
    assert uids(box, PROD) == {name: uid for name, uid in ours.items() if name in objects(box, PROD)}, "not touched"
    assert comparable(objects(box, PROD)) == {name: comparable(before)[name] for name in objects(box, PROD)}
    assert policies(box, PROD) == {claim: (uid, "Retain", "Released") for claim, (uid, _, _) in kept.items()}
    assert bytes_of(box, PROD) == whole
    assert shared(box) == common
    assert len(captures(box, PROD)) == 1
    thread = place.thread(live)
    assert "every database container ended by itself" in thread
    assert "Stays* service tm-svc" in thread
    await box.slack.until(lambda _: "begun" in place.thread(card), PATIENCE, "the card's thread")
    assert "said yes: checked with the customer" in place.thread(card)
    assert "'actions'" not in str(card.blocks), "no button is left"

    for words in ("status prod", "start prod", "stop prod", "restart prod", "delete prod", "plan stop prod"):
        answer = words_of(await place.types("bob", words))
        assert "deleted" in answer, words
        assert "/tml restore prod" in answer, words
    assert "restorable" in words_of(await place.types("dave", "list"))

    summary = next(message for message in reversed(box.slack.thread("prod", live.ts)) if "undo" in str(message.blocks))
    question = await place.presses("bob", "undo", summary)
    back = await place.operation(words_of(await place.presses("bob", "confirm", question)))
    await place.until_says(back, "Restored prod")
    assert comparable(objects(box, PROD)) == comparable(before)
    assert bytes_of(box, PROD) == whole
    assert policies(box, PROD) == kept
    assert (await box.kubernetes.traffic(PROD))[0] == 200
    assert "traffic answers" in place.thread(back)
    assert "prod is running" in words_of(await place.types("dave", "status prod"))
    assert uids(box, STAGING) == others
    assert (bytes_of(box, STAGING), policies(box, STAGING)) == elsewhere
    again = words_of(await place.types("alice", "restore prod"))
    assert "nothing is missing" in again
    assert [entry.data["state"] for entry in await place.audit(kinds={"finished"})] == ["done", "done"]


async def test_all_of_it_goes_by_typed_words_and_twice_in_a_row(place: Town) -> None:
    box = place.box
    before, whole, kept = objects(box, STAGING), bytes_of(box, STAGING), policies(box, STAGING)
    assert "waits for an approval" in words_of(await place.types("bob", "approvals"))
    first, card = await place.asks("alice", "delete staging because too big", "ops")
    listed = words_of(await place.types("bob", "approvals"))
    assert f"/tml approve {first} staging" in listed
    assert f"`/tml deny {first}`" in listed
    assert "denied" in words_of(await place.types("bob", f"deny {first} not today"))
    await box.slack.until(lambda _: card.text.startswith("Denied"), PATIENCE, "the card says so")
    assert "not today" in words_of(card)
    second, card = await place.asks("alice", "delete staging because too big", "ops")
    assert second in words_of(await place.types("alice", "delete staging because it is too big")), "one at a time"
    assert "withdrawn" in words_of(await place.types("alice", f"withdraw {second}"))
    await box.slack.until(lambda _: card.text.startswith("Withdrawn"), PATIENCE, "the card says so")
    assert writes_of_the_bot(box) == []
    for _ in range(2):
        identity, _ = await place.asks("alice", "delete staging because too big", "ops")
        live = await place.operation(words_of(await place.types("carol", f"approve {identity} staging")), "ops")
        await place.until_says(live, "Deleted staging")
        assert set(objects(box, STAGING)) == {PULL_SECRET}
        assert bytes_of(box, STAGING) == whole
        await restored(place)
        assert comparable(objects(box, STAGING)) == comparable(before)
        assert bytes_of(box, STAGING) == whole
        assert policies(box, STAGING) == kept
    assert "waits for an approval" in words_of(await place.types("bob", "approvals"))


async def forged(place: Town, person: str, button: str, card: Message) -> str:
    """A press by somebody who does not see the card, or cannot press anything."""
    payload = place.box.slack.person("carol").press_payload(button, card)
    user = place.box.slack.person(person).user
    payload["user"] = {"id": user.id, "username": user.name, "name": user.name, "team_id": user.team_id}
    reply = await place.box.slack.person(person).sends(payload)
    return words_of((await reply.answers(1, timeout=PATIENCE))[-1])


async def test_everybody_but_an_approver_is_refused_in_private_and_nothing_changes(place: Town) -> None:
    box = place.box
    untouched = versions(box, STAGING)
    identity, card = await place.asks("bob", "delete staging because too big", "ops")
    shown = card.blocks
    refused = {
        "bob": "You asked for",
        "alice": "This is for approvers of a delete of staging",
        "dave": "This is for approvers",
        "greta": "Guests may not do this",
    }
    for person, why in refused.items():
        for answer in (
            await place.presses(person, "approve", card),
            await place.types(person, f"approve {identity} staging"),
            await place.presses(person, "deny", card),
        ):
            assert why in words_of(answer), person
            assert answer.only_for == f"U0{person.upper()}"
        assert box.slack.person(person).modal is None
    for person, why in (("otto", "Deactivated"), ("mallory", "other workspaces"), ("deploybot", "Bots")):
        for button in ("approve", "deny", "withdraw"):
            assert why in await forged(place, person, button, card), person
    assert "Only U0BOB can withdraw" in words_of(await place.presses("carol", "withdraw", card))
    assert "no approval ap-000000" in words_of(await place.types("carol", "approve ap-000000 staging"))
    assert "not the name" in words_of(await place.types("carol", f"approve {identity} stagin"))
    view = await box.slack.person("carol").opens("approve", card)
    reply = await box.slack.person("carol").submits(view, {"name": "prod"})
    assert "not the name" in reply.errors["name"]

    assert card.blocks == shown, "the card is still good"
    assert writes_of_the_bot(box) == []
    assert versions(box, STAGING) == untouched
    told = await place.audit(kinds={"refused"})
    assert {entry.actor.user for entry in told if entry.actor} >= {
        *(f"U0{name.upper()}" for name in (*refused, "otto", "mallory", "deploybot", "carol"))
    }
    codes = [entry.data["code"] for entry in told]
    assert {"own-request", "not-allowed", "wrong-name", "no-such-approval", "not-the-requester"} <= set(codes)
    assert len(told) == 3 * len(refused) + 3 * 3 + 4
    assert [entry.kind for entry in await place.audit(subject=identity)] == ["approval-asked"]
    assert "This is for operators" in words_of(await place.types("dave", "delete staging because why not"))


def scale_tm(box: Sandbox) -> None:
    box.kubernetes.store.change(DEPLOYMENTS, STAGING, "tm-deploy-0", lambda one: one["spec"].update(replicas=2))


def add_secret(box: Sandbox) -> None:
    metadata = {"name": "extra", "namespace": STAGING}
    box.kubernetes.apply([{"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {"key": "djE="}}])

    def mount(one: dict[str, Any]) -> None:
        one["spec"]["template"]["spec"]["volumes"].append({"name": "extra", "secret": {"secretName": "extra"}})

    box.kubernetes.store.change(DEPLOYMENTS, STAGING, "cm-deploy-0", mount)


async def replace_claim(box: Sandbox) -> None:
    """As people do it who want an empty cache: claim and pod away, and the set makes both anew."""
    store = box.kubernetes.store
    old = store.get(CLAIMS, STAGING, "cachevol-cache-set-0-0")["metadata"]["uid"]
    store.delete(CLAIMS, STAGING, "cachevol-cache-set-0-0")
    store.delete(PODS, STAGING, "cache-set-0-0")

    def is_new(_store: object) -> bool:
        found = store.find(CLAIMS, STAGING, "cachevol-cache-set-0-0")
        return bool(found and found["metadata"]["uid"] != old and found["status"].get("phase") == "Bound")

    await box.kubernetes.until(is_new, PATIENCE)


async def test_a_cluster_that_changed_since_it_was_asked_for_is_shown_and_asked_for_anew(place: Town) -> None:
    box = place.box
    identity, card = await place.asks("alice", "delete staging because too big", "ops")
    replaced = replace_claim(box)
    for change, told in (
        (scale_tm, "deployment/tm-deploy-0: 1 replicas before, 2 now"),
        (add_secret, "secret/extra is new"),
        (None, "persistentvolumeclaim/cachevol-cache-set-0-0 is another object now"),
    ):
        if change is None:
            await replaced
        else:
            change(box)
        await box.kubernetes.ready(STAGING)
        page = await place.says_yes("carol", card, "staging")
        assert "a new approval is needed" in page
        assert told in page
        fresh = next(one for one in (approval_in(line) for line in page.splitlines() if "anew" in line))
        await box.slack.until(lambda _, old=card: old.text.startswith("Void"), PATIENCE, "the old card says so")
        assert told in words_of(card)
        assert "'actions'" not in str(card.blocks)
        before, identity, card = identity, fresh, await place.card(fresh, "ops")
        assert f"in place of {before}" in words_of(card)
        assert writes_of_the_bot(box) == []
    was, whole = objects(box, STAGING), bytes_of(box, STAGING)
    live = await place.operation(await place.says_yes("bob", card, "staging"), "ops")
    await place.until_says(live, "Deleted staging")
    assert set(objects(box, STAGING)) == {PULL_SECRET}, "the new Secret belongs to it, too"
    await restored(place)
    assert comparable(objects(box, STAGING)) == comparable(was)
    assert bytes_of(box, STAGING) == whole


async def test_a_restart_between_request_yes_and_execution_forgets_nothing(tmp_path: Path) -> None:
    async with town(tmp_path, serve=False) as place:
        box, configuration = place.box, unhurried(place.box)
        async with bot(box, configuration):
            _, card = await place.asks("alice", "delete staging because too big", "ops")
        async with bot(box, configuration):
            away = [box.kubernetes.faults.add(Fault("status", verb=verb, status=503)) for verb in ("list", "create")]
            page = await place.says_yes("carol", card, "staging")
            assert "is approved, but could not begin" in page
            assert "The yes counts" in page
            await box.slack.until(lambda _: card.text.startswith("Approved, not begun"), PATIENCE, "the card says so")
            assert writes_of_the_bot(box) == []
            for fault in away:
                box.kubernetes.faults.remove(fault)
        async with bot(box, configuration):
            refused = words_of(await place.presses("dave", "run", card))
            assert "This is for operators" in refused
            live = await place.operation(words_of(await place.presses("bob", "run", card)), "ops")
            await place.until_says(live, "Deleted staging")
            assert set(objects(box, STAGING)) == {PULL_SECRET}
        async with bot(box, configuration):
            summary = box.slack.thread("ops", live.ts)[-1]
            back = await place.operation(words_of(await place.presses("carol", "undo", summary)), "ops")
            await place.until_says(back, "Restored staging")


async def test_a_volume_that_may_not_be_kept_lets_a_running_cluster_come_up_again_before_anything_is_said(
    place: Town,
) -> None:
    box = place.box
    before, running = uids(box, STAGING), comparable(objects(box, STAGING))
    fault = box.kubernetes.faults.add(Fault("status", verb="patch", resource="persistentvolumes", status=403))
    _, card = await place.asks("alice", "delete staging because it moves", "ops")
    live = await place.operation(await place.says_yes("carol", card, "staging"), "ops")
    await place.until_says(live, "FAILED to delete staging")
    assert (await box.kubernetes.traffic(STAGING))[0] == 200, "up again before it was called failed"
    thread = place.thread(live)
    assert "not deleted, and nothing was removed" in thread
    assert "persistentvolume" in thread
    assert "was started again" in thread
    assert "undo" not in str([message.blocks for message in box.slack.thread("ops", live.ts)])
    assert uids(box, STAGING) == before
    assert comparable(objects(box, STAGING)) == running
    assert "nothing to restore" in words_of(await place.types("alice", "restore staging"))
    assert "staging is running" in words_of(await place.types("dave", "status staging"))
    box.kubernetes.faults.remove(fault)
    await deleted(place)
    await restored(place)
    assert {policy for _, policy, _ in policies(box, STAGING).values()} == {"Delete"}


MOUNTED = "sqlvol-mysql-set-0-0"
BACKUP = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "backup", "namespace": STAGING},
    "spec": {
        "containers": [{"name": "backup", "image": "registry.example.com/backup:1"}],
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": MOUNTED}}],
    },
}
"""Somebody's pod that has one of the cluster's claims."""


class AtRemoval(list[Any]):
    """The record of writes; the first delete of the claim lets somebody's pod mount it at that very moment."""

    def __init__(self, box: Sandbox) -> None:
        super().__init__()
        self._box = box
        self._done = False

    def append(self, entry: Any) -> None:
        super().append(entry)
        if not self._done and (entry.verb, entry.resource, entry.name) == ("delete", CLAIMS.plural, MOUNTED):
            self._done = True
            self._box.kubernetes.apply([{**BACKUP, "spec": {**BACKUP["spec"], "nodeName": "node-1"}}])


async def test_a_claim_that_a_pod_of_somebody_else_holds_is_named_and_all_comes_back_when_the_pod_is_gone(
    tmp_path: Path,
) -> None:
    async with town(tmp_path, serve=False) as place:
        box, configuration = place.box, unhurried(place.box)
        written = configuration.read_text()
        configuration.write_text(written.replace("deadlines: {", "deadlines: {remove-claims: 3s, "))
        fill(box, STAGING)
        before, whole, kept = objects(box, STAGING), bytes_of(box, STAGING), policies(box, STAGING)
        async with bot(box, configuration):
            box.kubernetes.apply([BACKUP])
            early = words_of(await place.types("alice", "delete staging because it moves"))
            assert f"claim {MOUNTED} is mounted by pod/backup" in early, "known before anything is taken down"
            box.kubernetes.store.delete(PODS, STAGING, "backup")
            await box.kubernetes.until(lambda store: store.find(PODS, STAGING, "backup") is None, PATIENCE)
            box.kubernetes.server.writes = AtRemoval(box)
            _, card = await place.asks("alice", "delete staging because it moves", "ops")
            live = await place.operation(await place.says_yes("carol", card, "staging"), "ops")
            await place.until_says(live, "FAILED to delete staging")
            thread = place.thread(live)
            assert "pod/backup" in thread
            assert "Terminating" in thread
            assert f"not done: claim {MOUNTED}" in thread
            assert "/tml restore staging" in thread
            assert "goes by itself when nothing mounts it" in thread
            assert bytes_of(box, STAGING) == whole
            box.kubernetes.store.delete(PODS, STAGING, "backup")
            await restored(place)
            assert comparable(objects(box, STAGING)) == comparable(before)
            assert bytes_of(box, STAGING) == whole
            assert policies(box, STAGING) == kept


def is_capture(write: Write) -> bool:
    return write.changed and write.verb == "create" and write.resource == "secrets"


def is_removal_of_a_claim(write: Write) -> bool:
    return write.changed and write.verb == "delete" and write.resource == CLAIMS.plural


def is_freeing(write: Write) -> bool:
    return write.changed and write.verb == "patch" and write.resource == "persistentvolumes"


def is_making_a_claim(write: Write) -> bool:
    return write.changed and write.verb == "create" and write.resource == CLAIMS.plural


KILLS = [
    (is_capture, 1, is_freeing, 2),
    (is_removal_of_a_claim, 2, is_making_a_claim, 2),
]
"""The write at which the delete's process is killed and its number, then those of the restore's.

Where else it may be cut off is tried in the lifecycle's own tests, at every write.
"""


@pytest.mark.parametrize("kills", KILLS, ids=lambda kills: f"{kills[0].__name__}-{kills[2].__name__}")
async def test_a_delete_and_a_restore_whose_process_is_killed_go_on_in_the_next_one(
    kills: tuple[Callable[[Write], bool], int, Callable[[Write], bool], int], tmp_path: Path
) -> None:
    in_delete, count, in_restore, later = kills
    async with town(tmp_path, filled=[STAGING], serve=False) as place:
        box, configuration = place.box, unhurried(place.box)
        before, whole, kept = objects(box, STAGING), bytes_of(box, STAGING), policies(box, STAGING)
        async with served(box, configuration) as first:
            identity, _ = await place.asks("alice", "delete staging because it moves", "ops")
            box.kubernetes.server.writes = Tripwire(first.process, in_delete, count)
            await box.slack.person("carol").types(f"/tml approve {identity} staging", "ops")
            assert await first.ended() == -9
        async with served(box, configuration) as second:
            live = await place.the_one("Deleted staging: it moves")
            assert "taken up by" in place.thread(live)
            assert set(objects(box, STAGING)) == {PULL_SECRET}
            assert bytes_of(box, STAGING) == whole
            assert {policy for _, policy, _ in policies(box, STAGING).values()} == {"Retain"}
            assert len(captures(box, STAGING)) == 1
            box.kubernetes.server.writes = Tripwire(second.process, in_restore, later)
            await box.slack.person("alice").types("/tml restore staging", "ops")
            assert await second.ended() == -9
        async with served(box, configuration):
            back = await place.the_one("Restored staging")
            assert "taken up by" in place.thread(back)
        assert comparable(objects(box, STAGING)) == comparable(before)
        assert bytes_of(box, STAGING) == whole
        assert policies(box, STAGING) == kept
        assert [entry.data["state"] for entry in await place.audit(kinds={"finished"})] == ["done", "done"]


async def test_no_value_of_a_secret_is_seen_anywhere_but_in_secrets(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Through a capture that Kubernetes does not take, a delete and a restore; as text and as base64."""
    caplog.set_level("DEBUG")
    async with town(tmp_path, configured=unhurried) as place:
        box = place.box
        unwritten = box.kubernetes.faults.add(Fault("status", verb="create", resource="secrets", status=422))
        _, card = await place.asks("alice", "delete staging because it moves", "ops")
        failed = await place.operation(await place.says_yes("carol", card, "staging"), "ops")
        await place.until_says(failed, "FAILED to delete staging")
        assert "was started again" in place.thread(failed)
        box.kubernetes.faults.remove(unwritten)
        await deleted(place)
        unmade = box.kubernetes.faults.add(Fault("status", verb="create", resource="secrets", status=422, times=3))
        live = await place.operation(words_of(await place.types("alice", "restore staging")), "ops")
        await place.until_says(live, "FAILED to restore staging")
        assert unmade.met
        box.kubernetes.faults.clear()
        await restored(place)
    assert_no_secret_in(caplog.text + "".join(capfd.readouterr()))


STORAGE = {
    "nfs": dict.fromkeys(("nosql", "sql", "log", "cache"), "cluster.local/nfs-subdir-external-provisioner"),
    "mixed": {
        "nosql": "cluster.local/nfs-subdir-external-provisioner",
        "sql": "kubernetes.io/aws-ebs",
        "log": "hostpath.csi.sandbox",
        "cache": "cluster.local/nfs-subdir-external-provisioner",
    },
}


@pytest.mark.parametrize("storage", STORAGE.values(), ids=STORAGE)
async def test_the_same_bytes_come_back_on_storage_that_knows_no_snapshots(
    storage: dict[str, str], tmp_path: Path
) -> None:
    def move(box: Sandbox) -> None:
        made = tml.manifests("elsewhere", cluster_name="elsewhere", reporting=False)
        for one in made:
            component = one["metadata"]["name"].partition("-")[0]
            if one["kind"] == "StorageClass" and component in storage:
                box.kubernetes.store.delete(STORAGE_CLASSES, None, one["metadata"]["name"])
                one["provisioner"] = storage[component]
        box.kubernetes.apply(made)

    async with town(tmp_path, before=move, serve=False) as place:
        box = place.box
        await box.kubernetes.ready("elsewhere")
        fill(box, "elsewhere")
        configuration = unhurried(box)
        configuration.write_text(configuration.read_text().replace(STAGING, "elsewhere"))
        before, whole, kept = objects(box, "elsewhere"), bytes_of(box, "elsewhere"), policies(box, "elsewhere")
        sources = {
            tuple(one["spec"].keys() & {"nfs", "csi", "awsElasticBlockStore"})
            for one in volumes(box, "elsewhere").values()
        }
        assert len(sources) == len({provisioner.split("/")[-1] for provisioner in storage.values()})
        async with bot(box, configuration):
            await deleted(place)
            assert bytes_of(box, "elsewhere") == whole
            await restored(place)
        assert comparable(objects(box, "elsewhere")) == comparable(before)
        assert bytes_of(box, "elsewhere") == whole
        assert policies(box, "elsewhere") == kept


async def test_a_delete_that_could_not_remove_all_is_undone_and_not_asked_for_again(tmp_path: Path) -> None:
    """A second delete would write down only what the first one left, and a restore would bring back only that."""
    async with town(tmp_path, configured=unhurried, filled=[STAGING]) as place:
        box = place.box
        before, whole = objects(box, STAGING), bytes_of(box, STAGING)
        box.kubernetes.faults.add(
            Fault("status", verb="delete", resource="statefulsets", name="cass-set-0", status=403)
        )
        _, card = await place.asks("alice", "delete staging because it moves", "ops")
        live = await place.operation(await place.says_yes("carol", card, "staging"), "ops")
        await place.until_says(live, "FAILED to delete staging")
        assert "StatefulSet/cass-set-0" in objects(box, STAGING)
        assert len(objects(box, STAGING)) < len(before)
        box.kubernetes.faults.clear()
        for words in ("delete staging because it moves", "start staging", "status staging", "list"):
            answer = words_of(await place.types("alice", words))
            assert "restore" in answer, words
        await restored(place)
        assert comparable(objects(box, STAGING)) == comparable(before)
        assert bytes_of(box, STAGING) == whole
        await deleted(place)
