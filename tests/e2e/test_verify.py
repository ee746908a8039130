"""Restore tests through both sandboxes: what passes and what does not; nothing is left, and nothing was touched."""

import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from sandbox import Sandbox, tml
from sandbox.kubernetes import FAULT_ANNOTATION
from sandbox.kubernetes.controllers.storage_faults import StorageFault
from sandbox.kubernetes.resources import (
    CLAIMS,
    CONFIGMAPS,
    DEPLOYMENTS,
    PODS,
    SECRETS,
    SERVICES,
    SNAPSHOT_CONTENTS,
    SNAPSHOTS,
    STATEFULSETS,
    STORAGE_CLASSES,
    VOLUMES,
)
from sandbox.kubernetes.writes import Write
from sandbox.slack import Message
from tests.e2e.belongings import fill
from tests.e2e.served import Tripwire, served
from tests.e2e.test_snapshot import order
from tests.e2e.town import PATIENCE, Town, operation_in, town, unhurried, words_of

STAGING = tml.STAGING_NAMESPACE
SCRATCH = "tml-op-"
OWN = (STATEFULSETS, DEPLOYMENTS, SERVICES, SECRETS, CONFIGMAPS, CLAIMS, PODS, SNAPSHOTS)
SHARED = (VOLUMES, SNAPSHOT_CONTENTS, STORAGE_CLASSES)


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Town]:
    async with town(tmp_path, configured=unhurried, filled=[STAGING]) as made:
        yield made


async def take_set(place: Town) -> str:
    live = await order(place, "snapshot staging hot because of the upgrade", "Cut a snapshot set of staging")
    await place.until_thread(live, "*Volumes*")
    return operation_in(words_of(live))


def scratch(box: Sandbox) -> list[str]:
    """Names of claims and pods of restore tests, and of the volumes behind them."""
    found = [one["metadata"]["name"] for kind in (CLAIMS, PODS) for one in box.kubernetes.store.list(kind, STAGING)]
    behind = [(one["spec"].get("claimRef") or {}).get("name", "") for one in box.kubernetes.store.list(VOLUMES)]
    return [name for name in (*found, *behind) if name.startswith(SCRATCH)]


def everything(box: Sandbox) -> dict[str, Any]:
    """Every object of the cluster and of the storage, byte for byte: only what is as it was is equal."""
    store = box.kubernetes.store
    found = [one for kind in OWN for one in store.list(kind, STAGING)] + [
        one for kind in SHARED for one in store.list(kind)
    ]
    return {f"{one['kind']}/{one['metadata']['name']}": one for one in found}


def volumes_on_disk(box: Sandbox) -> set[str]:
    return {one.name for one in (box.folder / "volumes").iterdir()}


async def verify(place: Town, words: str = "verify staging") -> Message:
    """Typed by alice; the live message, once its thread has come to its end."""
    live = await place.operation(words_of(await place.types("alice", words)), "ops")
    await place.until_thread(live, "was touched")
    await place.box.slack.until(lambda _: not live.text.startswith("Verifying"), PATIENCE, "the verdict")
    return live


async def test_a_good_set_passes_and_everything_is_as_it_was_byte_for_byte(place: Town) -> None:
    box = place.box
    taken = await take_set(place)
    assert "never verified" in words_of(await place.types("dave", "snapshots staging"))
    before, disk = everything(box), volumes_on_disk(box)
    live = await verify(place)
    thread = place.thread(live)
    assert live.text.startswith("Verified a snapshot set of staging")
    assert f"Snapshot set {taken} passed" in thread
    assert "nosqlvol-cass-set-0-0 passed" in thread
    assert f"snapshot set {taken} can be restored" in thread
    assert scratch(box) == []
    assert everything(box) == before
    assert volumes_on_disk(box) == disk
    listed = words_of(await place.types("dave", "snapshots staging"))
    assert "last verified" in listed
    assert operation_in(words_of(live)) in listed
    (entry,) = await place.audit(kinds={"verified"})
    assert entry.data["set"] == taken
    assert {one["result"] for one in entry.data["verdicts"]} == {"passed"}


def pods_made(box: Sandbox) -> list[Any]:
    writes = box.kubernetes.server.writes
    return [one.body for one in writes if one.verb == "create" and one.resource == "pods" and one.changed]


async def test_the_pod_of_a_check_has_the_components_image_and_nothing_else_of_the_cluster(place: Town) -> None:
    box = place.box
    await take_set(place)
    await verify(place)
    images = {
        one["spec"]["template"]["spec"]["containers"][0]["image"]
        for one in box.kubernetes.store.list(STATEFULSETS, STAGING)
    }
    found = [one for one in pods_made(box) if one["metadata"]["name"].startswith(SCRATCH)]
    assert len(found) == 3
    for pod in found:
        spec, (container,) = pod["spec"], pod["spec"]["containers"]
        assert container["image"] in images
        assert spec["imagePullSecrets"] == [{"name": "tmgc-registry-key"}]
        assert spec["automountServiceAccountToken"] is False
        assert (spec["restartPolicy"], spec["activeDeadlineSeconds"] > 60) == ("Never", True)
        assert not {"env", "envFrom"} & set(container)
        (mount,), (volume,) = container["volumeMounts"], spec["volumes"]
        assert mount["readOnly"] is True
        assert volume["persistentVolumeClaim"] == {"claimName": pod["metadata"]["name"]}
        assert list(pod["metadata"]["labels"]) == ["tml-bot/scratch"]


async def test_a_set_that_holds_nothing_fails_is_named_as_bad_and_a_delete_says_so(place: Town) -> None:
    box = place.box
    assert "no snapshot set of staging was ever taken" in words_of(
        await place.types("alice", "plan delete staging because")
    )
    box.kubernetes.storage_fault(STAGING, "sqlvol-mysql-set-0-0", StorageFault.SNAPSHOT_EMPTY)
    taken = await take_set(place)
    box.kubernetes.storage_fault(STAGING, "sqlvol-mysql-set-0-0", None)
    _, card = await place.asks("alice", "delete staging because it moves", "ops")
    assert f"the newest snapshot set {taken} was never verified" in words_of(card)
    before, disk = everything(box), volumes_on_disk(box)
    live = await verify(place, f"verify staging {taken}")
    thread = place.thread(live)
    assert live.text.startswith("FAILED to verify staging: not every check passed")
    assert f"Snapshot set {taken} is bad" in thread
    assert "sqlvol-mysql-set-0-0 failed (exit 1)" in thread
    assert "nosqlvol-cass-set-0-0 passed" in thread
    assert "nothing of the test is left" in thread
    assert scratch(box) == []
    assert everything(box) == before
    assert volumes_on_disk(box) == disk
    assert "*bad*: sqlvol-mysql-set-0-0 failed its verification" in words_of(
        await place.types("dave", "snapshots staging")
    )
    assert "FAILED its verification" in words_of(await place.types("alice", "plan delete staging"))


async def test_the_button_of_a_set_tests_that_one_and_viewers_may_not(place: Town) -> None:
    first = await take_set(place)
    second = await take_set(place)
    listed = await place.types("alice", "snapshots staging")
    assert listed.blocks[1]["text"]["text"].startswith(f":camera_with_flash: *{second}*")
    buttons = [one["block_id"] for one in listed.blocks if one["type"] == "actions"]
    asked = await place.box.slack.person("alice").presses("verify", listed, buttons[1])
    live = await place.operation(words_of((await asked.answers(1, timeout=20))[-1]), "ops")
    assert f"snapshot set {first} can be restored" in await place.until_thread(live, "was touched")
    listed = await place.types("dave", "snapshots staging")
    buttons = [one["block_id"] for one in listed.blocks if one["type"] == "actions"]
    refused = await place.box.slack.person("dave").presses("verify", listed, buttons[0])
    assert "Nothing was changed" in words_of((await refused.answers(1, timeout=20))[-1])


class Sabotage(list[Any]):
    """Does something the moment a write that fits is made, before it is answered."""

    def __init__(self, fits: Callable[[Write], bool], act: Callable[[Write], None]) -> None:
        super().__init__()
        self._fits = fits
        self._act = act

    def append(self, entry: Write) -> None:
        super().append(entry)
        if self._fits(entry):
            self._act(entry)


def is_check(write: Write) -> bool:
    return write.changed and (write.verb, write.resource) == ("create", "pods") and write.name.startswith(SCRATCH)


def impatient(box: Sandbox) -> Path:
    """The pod's own deadline is in simulated seconds and comes first, as if the bot were away."""
    path = unhurried(box)
    path.write_text(path.read_text().replace("up: 60s", "up: 60s, check: 2400s"))
    return path


async def test_a_pod_whose_image_cannot_be_pulled_fails_at_the_deadline_and_everything_is_removed(
    tmp_path: Path,
) -> None:
    async with town(tmp_path, configured=impatient) as place:
        box = place.box
        taken = await take_set(place)
        before = everything(box)

        def break_it(write: Write) -> None:
            box.kubernetes.annotate(PODS, STAGING, write.name, FAULT_ANNOTATION, "image-pull")

        box.kubernetes.server.writes = Sabotage(lambda one: is_check(one) and "mysql" in one.name, break_it)
        live = await verify(place)
        thread = place.thread(live)
        assert live.text.startswith("FAILED to verify staging")
        assert "the pod was ended (DeadlineExceeded)" in thread
        assert re.search("ErrImagePull|ImagePullBackOff|Failed to pull image", thread), "whichever Warning came last"
        assert f"Snapshot set {taken} could not be verified" in thread
        assert "sqlvol-mysql-set-0-0 not checked" in thread
        assert "nothing of the test is left" in thread
        assert scratch(box) == []
        assert everything(box) == before
        assert "could not be verified" in words_of(await place.types("dave", "snapshots staging"))


async def test_a_class_that_says_retain_leaves_no_volume_of_a_clone_behind(place: Town) -> None:
    box = place.box
    for one in box.kubernetes.store.list(STORAGE_CLASSES):
        name = one["metadata"]["name"]
        box.kubernetes.store.delete(STORAGE_CLASSES, None, name)
        fresh = {key: value for key, value in one.items() if key != "metadata"}
        box.kubernetes.apply([{**fresh, "reclaimPolicy": "Retain", "metadata": {"name": name}}])
    await take_set(place)
    before, disk = everything(box), volumes_on_disk(box)
    live = await verify(place)
    assert live.text.startswith("Verified a snapshot set")
    assert "being let go with its claim" in place.thread(live)
    assert scratch(box) == []
    assert everything(box) == before
    assert volumes_on_disk(box) == disk


async def test_a_check_of_the_configurations_own_runs_in_place_of_the_default_one(tmp_path: Path) -> None:
    def configured(box: Sandbox) -> Path:
        path = unhurried(box)
        own = "components: {sql: {verify: [sh, -c, 'echo looking; test -s /var/lib/mysql/nothing || exit 7']}}"
        path.write_text(re.sub(r"(\n +)(namespace: ml550-staging)", rf"\1\2\1{own}", path.read_text()))
        return path

    async with town(tmp_path, configured=configured) as place:
        fill(place.box, STAGING)
        await take_set(place)
        thread = place.thread(await verify(place))
        assert "sqlvol-mysql-set-0-0 failed (exit 7)" in thread
        assert "looking" in thread
        assert scratch(place.box) == []


async def test_a_set_of_a_deleted_cluster_is_tested_with_the_image_of_its_capture(place: Town) -> None:
    box = place.box
    _, card = await place.asks("alice", "delete staging because it moves", "ops")
    live = await place.operation(await place.says_yes("carol", card, "staging"), "ops")
    await place.until_says(live, "Deleted staging")
    assert not box.kubernetes.store.list(STATEFULSETS, STAGING)
    before = everything(box)
    live = await verify(place)
    assert live.text.startswith("Verified a snapshot set of staging")
    assert everything(box) == before
    assert "CANARY" not in place.thread(live)
    assert "Deleted staging" not in words_of(await place.types("alice", "plan restore staging"))
    back = await place.operation(words_of(await place.types("alice", "restore staging")), "ops")
    await place.until_says(back, "Restored staging")


def is_clone(write: Write) -> bool:
    return write.changed and (write.verb, write.resource) == ("create", "persistentvolumeclaims") and is_scratch(write)


def is_cleaned(write: Write) -> bool:
    return write.changed and write.verb == "delete" and is_scratch(write)


def is_scratch(write: Write) -> bool:
    return write.name.startswith(SCRATCH)


@pytest.mark.parametrize("at", [is_clone, is_cleaned])
async def test_a_process_killed_in_the_middle_of_a_test_leaves_it_to_the_next_one_and_nothing_behind(
    at: Callable[[Write], bool], tmp_path: Path
) -> None:
    async with town(tmp_path, filled=[STAGING], serve=False) as place:
        box = place.box
        configuration = unhurried(box)
        async with served(box, configuration) as first:
            await box.slack.person("alice").types("/tml snapshot staging hot", "ops")
            await box.slack.until(
                lambda _: [one for one in place.posted("ops") if one.text.startswith("Cut a")], 30.0, ""
            )
            before = everything(box)
            box.kubernetes.server.writes = Tripwire(first.process, at, 2)
            await box.slack.person("alice").types("/tml verify staging", "ops")
            assert await first.ended() == -9
        box.kubernetes.server.writes = []
        async with served(box, configuration):

            def ended(_slack: object) -> Message | None:
                return next((one for one in place.posted("ops") if one.text.startswith("Verified")), None)

            live = await box.slack.until(ended, 30.0, "the end")
            await place.until_thread(live, "was touched")
        assert scratch(box) == []
        assert everything(box) == before
        assert len(await place.audit(kinds={"verified"})) == 1
        assert place.thread(live).count("taken up by") == 1


async def test_what_a_test_left_that_nobody_goes_on_with_is_named_with_the_sets(place: Town) -> None:
    box = place.box
    await take_set(place)
    found = box.kubernetes.store.list(CLAIMS, STAGING)[0]
    name = "tml-op-gone00-sqlvol-mysql-set-0-0"
    metadata = {"name": name, "namespace": STAGING, "labels": {"tml-bot/scratch": "op-gone00"}}
    box.kubernetes.apply(
        [{"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": found["spec"]}]
    )
    listed = words_of(await place.types("dave", "snapshots staging"))
    assert "*Left of the restore test op-gone00*, which does not run: claim " + name in listed
    assert "kubectl -n ml550-staging delete pods,persistentvolumeclaims -l tml-bot/scratch=op-gone00" in listed


async def test_nothing_to_verify_is_an_answer_and_production_asks_first(place: Town) -> None:
    assert "staging has no snapshot set yet. `/tml snapshot staging` takes one." in words_of(
        await place.types("alice", "verify staging")
    )
    await take_set(place)
    assert "staging has no snapshot set op-000000" in words_of(await place.types("alice", "verify staging op-000000"))
    plan = words_of(await place.types("alice", "plan verify staging"))
    assert "API traffic is not touched" in plan
    assert "look at each in one of 3 Pods, mounted for reading only" in plan
    assert "nothing of the cluster is touched" in plan
    assert scratch(place.box) == []
